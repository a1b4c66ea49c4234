"""Stages 1 and 2 of the paper as the engine runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Variant
from .cache import fingerprint
from .conditioned import ConditionedTraining
from .export import MOTION, export_networks, export_pairs
from .lora import freeze_all_but_pairs
from .sample_sheet import SampleSheet
from .samples import SampleSource
from .trainable import freeze_all_but_trainable

TIMESTEPS = (100, 300, 500, 700, 900)  # of the validation loss
VALIDATED = 16  # samples of each timestep
COMPONENTS = ("reference_unet", "denoising_unet", "landmark_encoder")  # all but motion modules
FIRST_VALIDATED = 2**40  # their numbers, which training does not reach


@dataclass(frozen=True)
class HeldOut:
    """Samples to validate with, and how many of them the memory for training holds."""

    source: SampleSource
    at_once: int


@dataclass(frozen=True)
class Origin:
    """What a stage stands on: digests, and what the files that components begin from say."""

    digests: Mapping[str, str]
    notes: Mapping[str, Mapping[str, Any]]


class DiffusionStage:
    """Stage 1 (single frames, all but motion modules) or stage 2 (clips, motion modules only)."""

    def __init__(
        self,
        name: str,
        module: ConditionedTraining,
        source: SampleSource,
        held_out: HeldOut | None,
        sheet: SampleSheet | None,
        variant: Variant,
        notes: Mapping[str, Any],
        origin: Origin,
    ) -> None:
        self.name, self.module = name, module
        self._trainable = freeze_all_but_pairs(module) or freeze_all_but_trainable(name, module)
        self._source, self._held_out, self._sheet = source, held_out, sheet
        self._variant, self.notes, self._began = variant, notes, origin.notes
        self.stands_on = dict(origin.digests)
        if name == "stage2" or notes["lora"]:
            self.stands_on["frozen"] = self._frozen_digest()

    def trainable(self) -> dict[str, nn.Parameter]:
        return self._trainable

    def fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples of these numbers (`samples.SampleSource`)."""
        return self._source(indices)

    def describe(self, index: int) -> str:
        return f"clip {self._source.clip_of(index).name}"

    @torch.no_grad()
    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Losses of held-out samples at fixed timesteps with fixed noise, and a sheet of clips."""
        figures: dict[str, float] = {}
        if self._held_out is not None:
            for t in TIMESTEPS:
                losses = self._held_out_losses(t)
                figures |= {f"{key}_{t}": float(loss.mean()) for key, loss in losses.items()}
        if self._sheet is not None:
            networks = self.module
            figures |= self._sheet.write(
                folder / f"{self.name}-{step:06d}.png",
                reference_unet=networks.reference_unet,
                denoising_unet=networks.denoising_unet,
                landmark_encoder=networks.landmark_encoder,
                vae=networks.vae,
            )
        return figures

    def _held_out_losses(self, t: int) -> dict[str, Tensor]:
        """Losses of the held-out samples (b,), in batches that the memory for training holds."""
        parts: dict[str, list[Tensor]] = {}
        numbers = range(FIRST_VALIDATED, FIRST_VALIDATED + VALIDATED)
        for first in range(0, VALIDATED, self._held_out.at_once):
            drawn = self._held_out.source(numbers[first : first + self._held_out.at_once])
            batch = {key: tensor.to(self.module.vae.device) for key, tensor in drawn.items()}
            for key, loss in self.module(batch | {"t": torch.full_like(batch["t"], t)}).items():
                parts.setdefault(key, []).append(loss)
        return {key: torch.cat(losses) for key, losses in parts.items()}

    def _frozen_digest(self) -> str:
        """Of all weights that are used but not saved in checkpoints, other than the VAE's."""
        return fingerprint({
            name: parameter
            for name, parameter in self.module.named_parameters()
            if name not in self._trainable and not name.startswith(("vae.", "perceptual."))
        })  # fmt: skip

    def _notes_of_untrained(self) -> dict[str, Mapping[str, Any]]:
        """Those of the stage that trained a component; but a model is at its best where the last
        stage was, in size and frame rate."""
        last = {key: self.notes[key] for key in ("size", "fps")}
        trained = {name.split(".")[0] for name in self._trainable if MOTION not in name}
        return {c: {**self._began.get(c, {}), **last} for c in COMPONENTS if c not in trained}

    def export(self, folder: Path) -> list[Path]:
        """The networks, pairs merged; pairs in files of their own as well."""
        networks = self.module
        written = export_networks(
            folder,
            self._variant,
            reference_unet=networks.reference_unet,
            denoising_unet=networks.denoising_unet,
            landmark_encoder=networks.landmark_encoder,
            notes=self.notes,
            notes_of=self._notes_of_untrained(),
        )
        trained = self._variant.motion_module if self.name == "stage2" else None
        return written + export_pairs(folder, self._variant, self.notes, {
            trained or self._variant.denoising_unet: networks.denoising_unet,
            self._variant.reference_unet: networks.reference_unet,
        })  # fmt: skip

"""Stages 1 and 2 of the paper as the engine runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Variant
from .conditioned import ConditionedTraining
from .export import export_networks, export_pairs
from .lora import freeze_all_but_pairs
from .sample_sheet import SampleSheet
from .samples import SampleSource
from .trainable import freeze_all_but_trainable

TIMESTEPS = (100, 300, 500, 700, 900)  # of the validation loss
VALIDATED = 16  # samples of each timestep
FIRST_VALIDATED = 2**40  # their numbers, which training does not reach


class DiffusionStage:
    """Stage 1 (single frames, all but motion modules) or stage 2 (clips, motion modules only)."""

    def __init__(
        self,
        name: str,
        module: ConditionedTraining,
        source: SampleSource,
        held_out: SampleSource | None,
        sheet: SampleSheet | None,
        variant: Variant,
        notes: Mapping[str, Any],
    ) -> None:
        self.name, self.module = name, module
        self._trainable = freeze_all_but_pairs(module) or freeze_all_but_trainable(name, module)
        self._source, self._held_out, self._sheet = source, held_out, sheet
        self._variant, self._notes = variant, notes

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
            drawn = self._held_out(range(FIRST_VALIDATED, FIRST_VALIDATED + VALIDATED))
            batch = {key: tensor.to(self.module.vae.device) for key, tensor in drawn.items()}
            for t in TIMESTEPS:
                losses = self.module(batch | {"t": torch.full_like(batch["t"], t)})
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

    def export(self, folder: Path) -> list[Path]:
        """The networks, pairs merged; pairs in files of their own as well."""
        networks = self.module
        written = export_networks(
            folder,
            self._variant,
            reference_unet=networks.reference_unet,
            denoising_unet=networks.denoising_unet,
            landmark_encoder=networks.landmark_encoder,
            notes=dict(self._notes),
        )
        trained = self._variant.motion_module if self.name == "stage2" else None
        return written + export_pairs(folder, self._variant, self._notes, {
            trained or self._variant.denoising_unet: networks.denoising_unet,
            self._variant.reference_unet: networks.reference_unet,
        })  # fmt: skip

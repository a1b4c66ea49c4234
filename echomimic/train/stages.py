"""From a recipe to the stages that the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..audio.whisper import AudioEncoder
from ..config import (
    AudioEncoderConfig,
    LandmarkEncoderConfig,
    SamplingOptions,
    UNetConfig,
    Variant,
    variant,
)
from ..errors import OptionsError, WeightsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..models.vae import VAE_CONFIG, make_vae
from ..weights.load import load_audio_encoder, load_vae
from ..weights.read import read_state
from .audio_stage import AudioSettings, AudioStage
from .augmentation import AudioAugmentation
from .cache import AudioCache, LatentCache
from .clips import Clip, Dataset
from .conditioned import ConditionedTraining, Objective
from .diffusion_stage import DiffusionStage
from .export import AUDIO_ENCODER, MOTION, VAE
from .perceptual import make_perceptual
from .recipe import Recipe, StageOptions, strict
from .sample_sheet import SampleSheet
from .samples import SampleSettings, SampleSource, check_length
from .stage import Stage
from .vae_stage import VAESettings, VAEStage

OnProgress = Callable[[str, int, int], None]  # what is computed, done, total
SHEET_CLIPS = 3


@dataclass(frozen=True)
class DiffusionSettings:
    """Settings of stages 1 and 2."""

    samples: SampleSettings = field(default_factory=SampleSettings)
    objective: Objective = field(default_factory=Objective)
    augmentation: AudioAugmentation = field(default_factory=AudioAugmentation)
    voice_variants: int = 4
    lpips: str = ""  # file or folder of LPIPS' network; "": features of the VAE stand in for it
    motion_module: str = ""  # file that motion modules begin from, e.g. AnimateDiff's; "": new
    bf16_cache: bool = False  # encode the clips in half precision, for speed on CPUs


def make_stage(
    name: str, recipe: Recipe, data: Path, models: Path, on_progress: OnProgress | None = None
) -> Stage:
    """A stage of a recipe, on the clips of `data` and the networks that lie in `models` so far.

    What frozen networks say of the clips is computed first. Raises `OptionsError` for settings
    that do not exist, `WeightsError` for networks that an earlier stage should have made.
    """
    torch.manual_seed(recipe.seed)  # of new weights; samples have random numbers of their own
    maker = _Maker(name, recipe, recipe.stages[name], Dataset(data), models, on_progress)
    return getattr(maker, name if name in ("vae", "audio") else "diffusion")()


@dataclass(frozen=True)
class _Maker:
    name: str
    recipe: Recipe
    options: StageOptions
    data: Dataset
    models: Path
    on_progress: OnProgress | None

    def vae(self) -> Stage:
        model = make_vae(VAE_CONFIG | self.recipe.model.get("vae", {}))
        settings = self._settings(VAESettings)
        train, held_out = self.data.clips("train"), self.data.clips("validate")
        return VAEStage(model, train, held_out, settings, self.recipe.seed)

    def audio(self) -> Stage:
        config = self._config(AudioEncoderConfig, "audio_encoder")
        return AudioStage(
            AudioEncoder(config), self.data.clips("train"), self.data.clips("validate"),
            self._settings(AudioSettings), self.recipe.seed,
        )  # fmt: skip

    def diffusion(self) -> Stage:
        settings, row = self._settings(DiffusionSettings), variant(self.recipe.variant)
        vae = load_vae(self._made(VAE, "vae"), dtype="float32").model
        encoder = load_audio_encoder(self._made(AUDIO_ENCODER, "audio"), dtype="float32")
        train, held_out = self.data.clips("train"), self.data.clips("validate")
        if self.name == "stage2":
            check_length(train + held_out, settings.samples.targets)
        latents = LatentCache(self.data.folder, vae, bf16=settings.bf16_cache)
        voices = AudioCache(
            self.data.folder, encoder, settings.augmentation,
            variants=settings.voice_variants, seed=self.recipe.seed,
        )  # fmt: skip
        latents.fill(train + held_out, self._progress("latents"))
        voices.fill(train + held_out, self._progress("voices"))
        networks = self._networks(settings, row)
        reduction = networks["landmark_encoder"].config.drawing

        def source(clips: list[Clip]) -> SampleSource:
            return SampleSource(
                clips, latents, voices, settings.samples,
                stage=self.name, seed=self.recipe.seed, reduction=reduction,
            )  # fmt: skip

        perceptual, metric = make_perceptual(settings.lpips, vae)
        module = ConditionedTraining(
            **networks, vae=vae, objective=settings.objective, perceptual=perceptual,
            gradient_checkpointing=self.options.gradient_checkpointing,
        )  # fmt: skip
        notes = {
            "recipe": self.recipe.name,
            "seed": self.recipe.seed,
            "stage": self.name,
            "steps": self.options.steps,
            "size": list(train[0].size),
            "fps": train[0].fps,
            "condition": settings.samples.condition,
            "motion_frames": 0,
            "spatial_weight": settings.objective.spatial_weight,
            "perceptual": metric,
        }
        shown = held_out[:SHEET_CLIPS]
        sheet = SampleSheet(
            shown, [voices.get(clip) for clip in shown], row,
            SamplingOptions.for_variant(row, windows="open"),
        )  # fmt: skip
        has_held_out = len(held_out) > 0
        return DiffusionStage(
            self.name, module, source(train), source(held_out) if has_held_out else None,
            sheet if row.landmarks_optional and has_held_out else None, row, notes,
        )  # fmt: skip

    def _networks(self, settings: DiffusionSettings, row: Variant) -> dict[str, nn.Module]:
        """The networks that train, new or as an earlier stage, or `start`, left them."""
        config = self._unet_config()
        single = replace(config, motion=None)
        start = Path(self.recipe.model["start"]) if "start" in self.recipe.model else None
        folder = self.models if self.name == "stage2" else start
        networks: dict[str, nn.Module] = {
            "reference_unet": UNet(config.as_reference()),
            "denoising_unet": UNet(config if self.name == "stage2" else single),
            "landmark_encoder": LandmarkEncoder(
                self._config(LandmarkEncoderConfig, "landmark_encoder")
            ),
        }
        if folder is not None:
            names = {
                "reference_unet": row.reference_unet,
                "denoising_unet": row.denoising_unet,
                "landmark_encoder": row.landmark_encoder,
            }
            for component, network in networks.items():
                _fill(network, _find(folder, names[component]))
        if self.name == "stage2" and settings.motion_module:
            _fill(networks["denoising_unet"], Path(settings.motion_module), MOTION)
        return networks

    def _unet_config(self) -> UNetConfig:
        values = self.recipe.model.get("unet", {})
        try:
            return UNetConfig.from_dict({**UNetConfig().to_dict(), **values})
        except TypeError as error:
            raise OptionsError(f"The unet of {self.recipe.name} is not valid: {error}.") from None

    def _config(self, kind: Any, key: str) -> Any:
        return strict(kind, self.recipe.model.get(key, {}), f"{key} of {self.recipe.name}")

    def _settings(self, kind: Any) -> Any:
        where = f"the settings of stage {self.name} of {self.recipe.name}"
        return strict(kind, self.options.settings, where)

    def _made(self, file: str, stage: str) -> Path:
        start = self.recipe.model.get("start")
        for folder in (self.models, Path(start) if start else None):
            if folder is not None and (folder / file).is_file():
                return folder / file
        raise WeightsError(
            f"{self.models / file} is missing; run stage {stage!r} first, or give a folder of "
            "model files as `start` in the recipe."
        )

    def _progress(self, what: str) -> Callable[[int, int], None] | None:
        if self.on_progress is None:
            return None
        return lambda done, total: self.on_progress(what, done, total)


def _find(folder: Path, name: str) -> Path:
    for suffix in (".safetensors", ".pth"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise WeightsError(f"{folder} holds no {name}; run stage 'stage1' first, or correct `start`.")


def _fill(network: nn.Module, path: Path, only: str = "") -> None:
    """Give a network the weights of a file: all that are not motion modules, or `only` those."""
    state: Mapping[str, torch.Tensor] = read_state(path)[0]
    wanted = {
        name for name in network.state_dict() if (only in name if only else MOTION not in name)
    }
    missing = sorted(wanted - set(state))
    if missing:
        raise WeightsError(
            f"{path} does not fit the {type(network).__name__} of the recipe: {missing[0]} and "
            f"{len(missing) - 1} more are missing; correct the recipe's model or the file."
        )
    chosen = {name: state[name].float() for name in wanted}
    try:
        network.load_state_dict(chosen, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} does not fit the recipe's model ({reason}).") from None

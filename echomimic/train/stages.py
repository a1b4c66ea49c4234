"""From a recipe to the stages that the engine runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..audio.whisper import AudioEncoder
from ..config import (
    AudioEncoderConfig,
    LandmarkEncoderConfig,
    MotionConfig,
    SamplingOptions,
    UNetConfig,
    Variant,
    variant,
)
from ..errors import OptionsError, WeightsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..models.vae import VAE_CONFIG, make_vae
from ..weights.files import holds_motion_modules, look_up
from ..weights.load import load_audio_encoder, load_vae
from ..weights.read import read_state
from ..weights.settings import file_note
from .audio_stage import AudioSettings, AudioStage
from .augmentation import AudioAugmentation
from .cache import AudioCache, LatentCache
from .clips import Clip, Dataset
from .conditioned import ConditionedTraining, Objective
from .diffusion_stage import COMPONENTS, DiffusionStage, HeldOut, Origin
from .initial import initialise_landmark_encoder, initialise_motion
from .lora import LoRASettings, add_pairs
from .perceptual import make_perceptual
from .processes import this_process
from .recipe import Recipe, StageOptions, strict
from .sample_sheet import SampleSheet
from .samples import SampleSettings, SampleSource, check_length
from .stage import Stage
from .start import fill_motion, fill_spatial, find_start
from .stopping import explained, making_advice
from .vae_stage import VAESettings, VAEStage

log = logging.getLogger(__name__)

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

    def __post_init__(self) -> None:
        changes = self.augmentation.enabled and self.augmentation.probability > 0
        if self.voice_variants < (2 if changes else 1):
            raise OptionsError(
                f"voice_variants ({self.voice_variants}) must be 2 or more, the voice as it is and "
                "changed ones; or switch augmentation off (enabled: false)."
            )


def make_stage(
    name: str, recipe: Recipe, data: Path, models: Path, on_progress: OnProgress | None = None
) -> Stage:
    """A stage of a recipe, on the clips of `data` and the networks that lie in `models` so far.

    What frozen networks say of the clips is computed first. Raises `OptionsError` for settings
    that do not exist, `WeightsError` for networks that an earlier stage should have made.
    """
    torch.manual_seed(recipe.seed)  # of new weights; samples have random numbers of their own
    maker = _Maker(name, recipe, recipe.stages[name], Dataset(data), models, on_progress)
    make = {"vae": maker.vae, "decoder": maker.vae, "audio": maker.audio}
    advice = making_advice(name, recipe.stages[name], this_process().device)
    with explained(recipe.stages[name], advice):
        return make.get(name, maker.diffusion)()


@dataclass(frozen=True)
class _Maker:
    name: str
    recipe: Recipe
    options: StageOptions
    data: Dataset
    models: Path
    on_progress: OnProgress | None

    def vae(self) -> Stage:
        begun = self._started("vae") if self.name == "vae" else self._made("vae", "vae")
        if begun is not None:
            model = load_vae(begun, dtype="float32").model
        else:
            model = make_vae(VAE_CONFIG | self.recipe.model.get("vae", {}))
        settings = self._settings(VAESettings)
        train, held_out = self.data.clips("train"), self.data.clips("validate")
        return VAEStage(self.name, model, train, held_out, settings, self.recipe.seed)

    def audio(self) -> Stage:
        begun = self._started("audio_encoder")
        if begun is not None:
            encoder = load_audio_encoder(begun, dtype="float32")
        else:
            encoder = AudioEncoder(self._config(AudioEncoderConfig, "audio_encoder"))
        return AudioStage(
            encoder, self.data.clips("train"), self.data.clips("validate"),
            self._settings(AudioSettings), self.recipe.seed,
        )  # fmt: skip

    def diffusion(self) -> Stage:
        settings, row = self._settings(DiffusionSettings), variant(self.recipe.variant)
        self._check_condition(settings.samples.condition, row)
        vae = load_vae(self._made("vae", "vae"), dtype="float32").model.to(this_process().device)
        encoder = load_audio_encoder(self._made("audio_encoder", "audio"), dtype="float32")
        train, held_out = self.data.clips("train"), self.data.clips("validate")
        motion_frames, workers = 0, self.options.workers
        if self.name == "stage2":
            motion_frames = (self._unet_config().motion or MotionConfig()).motion_frames
            check_length(train + held_out, settings.samples.targets + motion_frames)
        latents = LatentCache(self.data.folder, vae, bf16=settings.bf16_cache)
        voices = AudioCache(
            self.data.folder, encoder, settings.augmentation,
            variants=settings.voice_variants, seed=self.recipe.seed,
        )  # fmt: skip
        latents.fill(train + held_out, self._progress("latents"), workers=workers)
        voices.fill(train + held_out, self._progress("voices"), workers=workers)
        networks = self._networks(settings, row)
        reduction = networks["landmark_encoder"].config.drawing

        def source(clips: list[Clip]) -> SampleSource:
            return SampleSource(
                clips, latents, voices, settings.samples,
                stage=self.name, seed=self.recipe.seed, reduction=reduction,
                motion_frames=motion_frames,
            )  # fmt: skip

        weight = settings.objective.spatial_weight
        perceptual, metric = make_perceptual(settings.lpips, vae) if weight else (None, "none")
        if this_process().is_main_process:
            log.info(
                "%s: spatial loss of weight %g, perceptual term: %s.", self.name, weight, metric
            )
        module = ConditionedTraining(
            **networks, vae=vae, objective=settings.objective, perceptual=perceptual,
            gradient_checkpointing=self.options.gradient_checkpointing,
        )  # fmt: skip
        if self._lora is not None:
            add_pairs(self.name, module, self._lora, self.recipe.seed)
        notes = {
            "recipe": self.recipe.name,
            "seed": self.recipe.seed,
            "stage": self.name,
            "steps": self.options.steps,
            "size": list(train[0].size),
            "fps": train[0].fps,
            "condition": settings.samples.condition,
            "motion_frames": motion_frames,
            "spatial_weight": weight,
            "perceptual": metric,
            "lora": self._lora and asdict(self._lora),
        }
        shown = held_out[:SHEET_CLIPS]
        sheet = SampleSheet(
            shown, [voices.get(clip) for clip in shown], row,
            SamplingOptions.for_variant(row, windows="open"),
        )  # fmt: skip
        has_held_out = len(held_out) > 0
        at_once = self.options.micro_batch or self.options.batch_size
        digests = {"latents": latents.folder.name, "voices": voices.folder.name}
        origin = Origin(digests, self._began(row))
        return DiffusionStage(
            self.name, module, source(train),
            HeldOut(source(held_out), at_once) if has_held_out else None,
            sheet if has_held_out else None, row, notes, origin,
        )  # fmt: skip

    def _check_condition(self, condition: str, row: Variant) -> None:
        """Raise `OptionsError` if the variant's landmark encoder does not take such pictures."""
        config = self._config(LandmarkEncoderConfig, "landmark_encoder")
        needed = 1 if condition == "mask" else 3
        if not needed == config.in_channels == row.landmark_channels:
            raise OptionsError(
                f"condition: {condition} in stage {self.name} of {self.recipe.name} makes pictures "
                f"of {needed} channels, but the landmark encoder takes {config.in_channels} and "
                f"the variant {row.name} gives {row.landmark_channels}; make all three agree."
            )

    def _networks(self, settings: DiffusionSettings, row: Variant) -> dict[str, nn.Module]:
        """The networks that train, new or as an earlier stage, or `start`, left them."""
        config, is_temporal = self._unet_config(), self.name == "stage2"
        networks: dict[str, nn.Module] = {
            "reference_unet": UNet(config.as_reference()),
            "denoising_unet": UNet(config if is_temporal else replace(config, motion=None)),
            "landmark_encoder": LandmarkEncoder(
                self._config(LandmarkEncoderConfig, "landmark_encoder")
            ),
        }
        initialise_landmark_encoder(networks["landmark_encoder"])
        initialise_motion(networks["denoising_unet"])
        for component, path in self._begin_files(row).items():
            fill_spatial(networks[component], path)
        if is_temporal and settings.motion_module:
            fill_motion(networks["denoising_unet"], Path(settings.motion_module))
        elif is_temporal and self._lora is not None:
            fill_motion(networks["denoising_unet"], self._published_motion(row))
        return networks

    def _begin_files(self, row: Variant) -> dict[str, Path]:
        """The files that networks begin from: an earlier stage's, the start's, or none."""
        begun = self.name == "stage2" and ("stage1" in self.recipe.stages or self._start is None)
        folder = self.models if begun else self._start
        return {} if folder is None else {c: find_start(folder, row, c) for c in COMPONENTS}

    def _began(self, row: Variant) -> dict[str, dict[str, Any]]:
        """What those files say of their training."""
        files = self._begin_files(row).items()
        return {c: file_note(path, read_state(path)[1], c).get("training", {}) for c, path in files}

    def _published_motion(self, row: Variant) -> Path:
        """Motion modules beside the weights that LoRA begins from."""
        merged = look_up([self._start], row, "denoising_unet")
        if merged is not None and holds_motion_modules(merged):
            return merged
        return find_start(self._start, row, "motion_module")

    @property
    def _start(self) -> Path | None:
        start = self.recipe.model.get("start")
        return Path(start) if start else None

    @property
    def _lora(self) -> LoRASettings | None:
        if "lora" not in self.recipe.model:
            return None
        if self._start is None:
            raise OptionsError(
                f"The lora of {self.recipe.name} needs weights to begin from; give a folder of "
                "model files as `start` beside it."
            )
        return self._config(LoRASettings, "lora")

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

    def _started(self, component: str) -> Path | None:
        """The file that the start has of a component."""
        start = self._start
        return start and look_up([start], variant(self.recipe.variant), component)

    def _made(self, component: str, stage: str) -> Path:
        path = look_up([self.models], variant(self.recipe.variant), component)
        path = path or self._started(component)
        if path:
            return path
        raise WeightsError(
            f"{self.models} holds no {component.replace('_', ' ')}; run stage {stage!r} first, or "
            "give a folder of model files as `start` in the recipe."
        )

    def _progress(self, what: str) -> Callable[[int, int], None] | None:
        if self.on_progress is None:
            return None
        return lambda done, total: self.on_progress(what, done, total)

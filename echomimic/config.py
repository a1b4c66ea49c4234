"""Everything that can be chosen: network shapes, variants, sampling options, compatibility."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .errors import OptionsError

LATENT_SCALE = 0.18215  # latents are multiplied by this, spec 3.3
LATENT_STRIDE = 8  # pixels per latent cell along each axis
AUDIO_RATE = 16_000  # Hz, of the audio encoder's input
STATES_PER_SECOND = 50  # audio encoder states, spec 5.4
MAX_SEED = 2**64 - 1
MAX_LAYERS, MAX_WIDTH = 64, 2**16  # of any network, as a guard against files that lie


@dataclass(frozen=True)
class MotionConfig:
    """Temporal attention (spec 2.6)."""

    num_heads: int = 8
    max_frames: int = 32  # length of the position table, hence the longest window
    motion_frames: int = 0  # finished frames that a window sees before its own (paper 3.3), or 0

    def __post_init__(self) -> None:
        if self.motion_frames not in (0, 2):
            raise OptionsError(f"motion_frames must be 0 or 2, not {self.motion_frames!r}.")

    @property
    def longest_window(self) -> int:
        """Frames for which there are positions."""
        return self.max_frames - self.motion_frames


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a UNet (spec 2.3). The defaults are the official denoising UNet."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)  # one entry per resolution level
    attention: tuple[bool, ...] = (True, True, True, False)  # levels with transformer blocks
    layers_per_level: int = 2
    num_heads: int = 8
    norm_groups: int = 32
    audio_dim: int | None = 384  # width of audio_tokens; None: no audio attention
    motion: MotionConfig | None = field(default_factory=MotionConfig)  # None: no motion modules
    in_channels: int = 4
    out_channels: int | None = 4  # None: the last block's features are the output
    feed_forward: int = 4  # inner width of the feed-forward layers, in widths of the level
    position_code: bool = False  # tells each cell where it lies; small models profit
    audio_position_code: bool = False  # tells which audio token is how far from the frame, likewise
    # Layers with a transformer on each level's way up, first ones first; None: as `attention` says.
    up_transformers: tuple[int, ...] | None = None
    # Whether the reference UNet ends where its last feature is read. The official one goes on.
    trimmed_reference: bool = False

    def __post_init__(self) -> None:
        places = 1 if self.motion is None else self.motion.max_frames
        _check_size("UNet", (*self.channels, self.audio_dim or 1, places), self.layers_per_level)
        if len(self.channels) != len(self.attention):
            raise OptionsError(
                f"A UNet needs one attention flag per level: {self.channels=}, {self.attention=}."
            )
        counts = self.up_transformers
        if counts is not None and (
            len(counts) != len(self.channels)
            or not all(type(n) is int and 0 <= n <= self.layers_per_level + 1 for n in counts)
        ):
            raise OptionsError(
                f"up_transformers has one number per level, of 0 to {self.layers_per_level + 1} "
                f"layers, not {counts}."
            )
        if self.trimmed_reference and not any(map(self.transformers_up, range(len(self.channels)))):
            raise OptionsError("trimmed_reference needs a transformer on the way up.")
        for width in self.channels:
            if width % self.norm_groups or width % self.num_heads:
                raise OptionsError(
                    f"UNet width {width} must be divisible by norm_groups={self.norm_groups} "
                    f"and num_heads={self.num_heads}."
                )

    @property
    def motion_frames(self) -> int:
        """How many finished frames before a window the motion modules see."""
        return 0 if self.motion is None else self.motion.motion_frames

    def transformers_up(self, level: int) -> int:
        """How many layers of a level's way up have a transformer."""
        if self.up_transformers is not None:
            return self.up_transformers[level]
        return self.layers_per_level + 1 if self.attention[level] else 0

    def as_reference(self) -> UNetConfig:
        """The reference UNet that belongs to this denoising UNet (spec 3.1)."""
        return replace(self, audio_dim=None, motion=None, out_channels=None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> UNetConfig:
        """Inverse of `to_dict`, also after a trip through JSON."""
        values = dict(values)
        values["channels"] = tuple(values["channels"])
        values["attention"] = tuple(values["attention"])
        if values.get("up_transformers") is not None:
            values["up_transformers"] = tuple(values["up_transformers"])
        if values.get("motion") is not None:
            values["motion"] = MotionConfig(**values["motion"])
        return cls(**values)


@dataclass(frozen=True)
class LandmarkEncoderConfig:
    """Shape of the landmark encoder (spec 6)."""

    in_channels: int = 1  # 1: face mask, 3: landmark image
    channels: tuple[int, ...] = (16, 32, 96, 256)
    out_channels: int = 320  # width of the UNet's first level
    # How drawings of 512x512 are reduced: "linear", as the official code does, skips thin lines
    # at an eighth of the size and less; "area" averages them.
    drawing: Literal["linear", "area"] = "linear"

    def __post_init__(self) -> None:
        _check_size("landmark encoder", (*self.channels, self.out_channels), len(self.channels))


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Shape of the Whisper encoder (spec 5.4). The defaults are whisper-tiny."""

    num_mels: int = 80
    width: int = 384
    num_heads: int = 6
    num_layers: int = 4
    max_states: int = 1500

    def __post_init__(self) -> None:
        widths = (self.width, self.num_mels, self.max_states, self.num_heads)
        _check_size("audio encoder", widths, self.num_layers)


def _check_size(network: str, widths: tuple[int, ...], layers: int) -> None:
    """Raise `OptionsError` for sizes that no network has, which would take forever to build."""
    whole = all(type(number) is int for number in (layers, *widths))
    if (
        not whole
        or not 1 <= layers <= MAX_LAYERS
        or not 1 <= min(widths) <= max(widths) <= MAX_WIDTH
    ):
        raise OptionsError(
            f"The {network} has 1 to {MAX_LAYERS} layers and widths of 1 to {MAX_WIDTH}, all "
            f"whole numbers, not {layers} and {widths}."
        )


@dataclass(frozen=True)
class Variant:
    """Files and rules of a model family: the published ones (spec 1.2, 10.8) and our joint one."""

    name: str
    denoising_unet: str
    motion_module: str
    reference_unet: str
    landmark_encoder: str
    landmark_channels: int  # 1: driven by audio and a face mask, 3: by landmark images
    num_inference_steps: int
    guidance_scale: float
    window_shift: int  # frames that the windows move per step
    noise_clamp: float | None
    divides_overlaps_always: bool  # D1: the official code forgets it without guidance
    context_overlap: int = 3  # frames that windows share
    official_length: int = 1200  # most frames the official script makes
    landmarks_optional: bool = False  # trained on voice, landmarks, and both (the paper's claim)
    published: bool = True  # whether there are official weights

    @property
    def takes_landmarks(self) -> bool:
        return self.landmark_channels == 3

    @property
    def needs_landmarks(self) -> bool:
        return self.takes_landmarks and not self.landmarks_optional


# fmt: off
_ROWS = (
    Variant("audio", "denoising_unet", "motion_module", "reference_unet", "face_locator",
            landmark_channels=1, num_inference_steps=30, guidance_scale=2.5, window_shift=2,
            noise_clamp=1.5, divides_overlaps_always=False),
    Variant("audio_acc", "denoising_unet_acc", "motion_module_acc", "reference_unet",
            "face_locator",
            landmark_channels=1, num_inference_steps=6, guidance_scale=1.0, window_shift=2,
            noise_clamp=1.5, divides_overlaps_always=True),
    Variant("landmark", "denoising_unet_pose", "motion_module_pose", "reference_unet_pose",
            "face_locator_pose",
            landmark_channels=3, num_inference_steps=30, guidance_scale=2.5, window_shift=3,
            noise_clamp=None, divides_overlaps_always=False, official_length=240),
    Variant("landmark_acc", "denoising_unet_pose_acc", "motion_module_pose_acc",
            "reference_unet_pose", "face_locator_pose",
            landmark_channels=3, num_inference_steps=6, guidance_scale=1.0, window_shift=3,
            noise_clamp=None, divides_overlaps_always=True),
    Variant("joint", "denoising_unet_joint", "motion_module_joint", "reference_unet_joint",
            "face_locator_joint",
            landmark_channels=3, num_inference_steps=8, guidance_scale=1.5, window_shift=2,
            noise_clamp=None, divides_overlaps_always=True, landmarks_optional=True,
            published=False,
            context_overlap=0),  # as good as 3 in less time (docs/evaluation.md, section 4)
)
# fmt: on
VARIANTS: dict[str, Variant] = {row.name: row for row in _ROWS}
PUBLISHED: dict[str, Variant] = {row.name: row for row in _ROWS if row.published}


def variant(name: str) -> Variant:
    """Look a variant up by name; raises `OptionsError` that lists the names there are."""
    try:
        return VARIANTS[name]
    except KeyError:
        names = ", ".join(VARIANTS)
        raise OptionsError(f"There is no variant {name!r}; choose one of {names}.") from None


@dataclass(frozen=True)
class Compatibility:
    """Where the official code differs from ours, one switch each (spec 12). Defaults are ours.

    `Compatibility.parity()` sets every switch to the official behaviour, except those whose
    official behaviour is a crash (D2, D3, D5, D7, D19).
    """

    official_previous_timestep: bool = False  # D14: step to t - 1000 // n, not to the next entry
    rotate_single_window: bool = False  # D13: shift even when one window covers the clip
    sum_overlaps: bool = False  # D1: without guidance, some variants add up overlapping windows
    clip_noise: bool = False  # D15: one draw for the whole clip instead of one per frame
    reference_dtype: Literal["model", "float16"] = "model"  # D17: reference features rounded
    latents_dtype: Literal["float32", "model"] = "float32"  # what the sampler accumulates in
    hard_audio_windows: bool = False  # D9, D10: 30 s cuts without overlap, odd mel frame lost
    int16_audio: bool = False  # 5.1: the waveform rounded to 16 bit
    official_num_frames: bool = False  # D8: about two frames more than the audio lasts
    bgr_detector: bool = False  # D6: the face detector sees blue and red swapped
    official_crop: bool = False  # 7.4-7.7: stretched to the output; D4: mask may be lost
    truncate_frames: bool = False  # D28: pixels cut, not rounded, to 8 bit

    @classmethod
    def parity(cls) -> Compatibility:
        """Every switch as the official code has it."""
        return cls(
            official_previous_timestep=True,
            rotate_single_window=True,
            sum_overlaps=True,
            clip_noise=True,
            reference_dtype="float16",
            latents_dtype="model",
            hard_audio_windows=True,
            int16_audio=True,
            official_num_frames=True,
            bgr_detector=True,
            official_crop=True,
            truncate_frames=True,
        )


@dataclass(frozen=True)
class SamplingOptions:
    """How a clip is denoised. Checked at birth; raises `OptionsError`."""

    num_inference_steps: int = 30
    guidance_scale: float = 2.5  # 1: no guidance
    seed: int = 420
    scheduler: str = "ddim"  # a key of sampling.schedule.SCHEDULERS
    windows: Literal["open", "looped"] = "open"
    context_frames: int = 12
    context_overlap: int = 3
    overlap_weights: Literal["flat", "pyramid"] = "flat"
    window_batch: int | None = None  # windows per model call; None: as many as memory allows
    legacy_fp16_noise: bool = False  # noise of torch <= 2.2 in half precision (spec 10.3)
    compatibility: Compatibility = Compatibility()

    def __post_init__(self) -> None:
        if not 1 <= self.num_inference_steps <= 1000:
            raise OptionsError(f"steps must be between 1 and 1000, not {self.num_inference_steps}.")
        if not 1 <= self.guidance_scale < math.inf:
            raise OptionsError(f"cfg must be 1 (no guidance) or more, not {self.guidance_scale}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionsError(f"seed must be between 0 and {MAX_SEED}, not {self.seed}.")
        if self.context_frames < 1:
            raise OptionsError(f"context_frames must be 1 or more, not {self.context_frames}.")
        if not 0 <= self.context_overlap < self.context_frames:
            raise OptionsError(
                f"context_overlap ({self.context_overlap}) must be smaller than "
                f"context_frames ({self.context_frames})."
            )
        if self.window_batch is not None and self.window_batch < 1:
            raise OptionsError(f"window_batch must be 1 or more, not {self.window_batch}.")
        for name, allowed in (
            ("windows", ("open", "looped")),
            ("overlap_weights", ("flat", "pyramid")),
        ):
            if getattr(self, name) not in allowed:
                raise OptionsError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}."
                )

        official = self.compatibility.official_previous_timestep
        if official and self.scheduler != "ddim":
            raise OptionsError(
                f"The official previous timestep exists for ddim only, not {self.scheduler}; "
                "choose ddim or switch parity off."
            )

    @classmethod
    def parity(cls, row: Variant, **changes: Any) -> SamplingOptions:
        """The official behaviour of a variant, looped windows included (D12)."""
        official = {"windows": "looped", "compatibility": Compatibility.parity()}
        given = {name: value for name, value in changes.items() if value is not None}
        return cls.for_variant(row, **official | given)

    @classmethod
    def for_variant(cls, row: Variant, **changes: Any) -> SamplingOptions:
        """The variant's own steps, guidance and overlap, with `changes` on top (None: none)."""
        own = ("num_inference_steps", "guidance_scale", "context_overlap")
        values = {name: getattr(row, name) for name in own}
        values |= {name: value for name, value in changes.items() if value is not None}
        return cls(**values)

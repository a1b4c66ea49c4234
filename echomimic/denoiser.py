"""Where the model and sampling meet: conditions bound to the UNet, and one clip denoised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from .conditions import Conditions
from .config import MotionConfig, SamplingOptions, UNetConfig, Variant
from .errors import OptionsError, WeightsError
from .frame_conditions import FrameConditions, frame_memory
from .frame_memory import FrameMemory, Values
from .models.attention import AttentionFunction
from .models.landmark_encoder import LandmarkEncoder
from .models.memory import free_memory, release_cached_memory
from .models.unet import UNet
from .sampling.context import (
    WindowRule,
    check_window,
    overlap_weights,
    window_rule,
    windows_in_turn,
)
from .sampling.guidance import Denoise, guided
from .sampling.noise import initial_noise
from .sampling.samplers import After, OnStep, Predict, sample, sample_in_turn, windowed
from .sampling.schedule import make_schedule
from .sampling.sparing import sparing

MAX_WINDOW_BATCH = 4  # more fills no GPU better
ACTIVATION_FACTOR = 30  # peak activations in units of (row, pixel, first width), see docs/speed.md


class Denoiser:
    """The denoising UNet with the conditions of one clip.

    What does not change between steps is computed once: reference keys and values (kept at
    batch 1), audio keys and values, landmark features (spec 12.2, E4). Those of single frames
    are kept within a budget and computed again beyond it, which costs about 1 % of a step.
    """

    @torch.inference_mode()
    def __init__(
        self,
        unet: UNet,
        conditions: Conditions,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
        landmark_encoder: LandmarkEncoder | None = None,  # for a face driven by landmarks
        attention: AttentionFunction | None = None,
        memory: int | None = None,  # bytes for what is kept; None: a share of the free memory
    ) -> None:
        _check_widths(unet, conditions)
        self.unet, self.conditions = unet, conditions
        self.device, self.dtype = torch.device(device), dtype
        self._options = {} if attention is None else {"attention": attention}
        features = {k: v.to(self.device, dtype) for k, v in conditions.reference.items()}
        self._reference = unet.project_reference(features)
        memory = frame_memory(self.device, memory)
        self._audio = FrameMemory(
            self._project_audio, conditions.num_frames, [(self.device, memory)], device=self.device
        )
        self._frames = FrameConditions(
            conditions,
            device=self.device,
            dtype=dtype,
            landmark_encoder=landmark_encoder,
            memory=memory,
        )

    def predict_v(
        self,
        latents: Tensor,
        t: Tensor | float,
        windows: Sequence[Sequence[int]],
        conditional: Sequence[bool],
        motion: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """v of several windows at once: (n, f, c, h, w) → (n, f, c, h, w).

        `windows` are the frames of each row, `conditional` says which rows see the conditions.
        `motion` are features of the frames before them (`encode_motion`), which all rows see.
        """
        num_frames = latents.shape[1]
        shown = [f for window, on in zip(windows, conditional, strict=True) if on for f in window]
        rows = latents.flatten(0, 1).to(self.device, self.dtype)  # (n f, c, h, w)
        v = self.unet(
            rows,
            t,
            num_frames=num_frames,
            conditional=conditional,
            reference=self._reference,
            audio=self._audio(shown) if shown else None,
            face=self._frames.face(shown) if shown else None,
            **({"motion": motion} if motion else {}),
            **self._options,
        )
        return v.unflatten(0, (-1, num_frames)).to(latents)

    def encode_motion(self, reference_unet: UNet, finished: Tensor) -> dict[str, Tensor] | None:
        """Features of the motion frames that follow finished latents (f, c, h, w), as trained.

        (1, n, m, d) by block name; None at the start of a clip, where there are none.
        """
        count = self.unet.motion_frames
        if len(finished) < count:
            return None
        latents = finished[-count:].to(self.device, self.dtype)
        features, _ = reference_unet.reference_features(latents)
        return {name: feature[None] for name, feature in features.items()}

    def _project_audio(self, frames: Sequence[int]) -> Values:
        tokens = self._frames.audio_tokens(frames, self.unet.config.audio_dim)  # (f, m, d)
        return self.unet.project_audio(tokens)


def _check_widths(unet: UNet, conditions: Conditions) -> None:
    if conditions.audio is None:
        return
    width = conditions.audio.states.shape[-1]
    if width != unet.config.audio_dim:
        raise WeightsError(
            f"The audio encoder's states are {width} wide but the denoising UNet takes "
            f"{unet.config.audio_dim}; use the audio encoder that belongs to the model."
        )


def activation_bytes(
    config: UNetConfig, rows: int, latent_size: tuple[int, int], dtype: torch.dtype
) -> int:
    """Estimate of the peak memory of a UNet call beyond its weights, in bytes."""
    height, width = latent_size
    values = rows * height * width * config.channels[0]
    return ACTIVATION_FACTOR * values * dtype.itemsize


def choose_window_batch(
    options: SamplingOptions,
    config: UNetConfig,
    latent_size: tuple[int, int],
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> int:
    """Windows per model call: the option, else as many as fit in half of the free memory.

    On the CPU one: a larger batch is not faster there and takes memory. Models with motion frames
    take one in any case, because a window waits for the one before it.
    """
    if config.motion_frames:
        return 1
    if options.window_batch is not None:
        return options.window_batch
    if device.type == "cpu":
        return 1
    rows = options.context_frames * (2 if options.guidance_scale > 1 else 1)
    one = activation_bytes(config, rows, latent_size, dtype)
    return max(1, min(MAX_WINDOW_BATCH, free_memory(device) // (2 * one)))


@torch.inference_mode()
def sample_clip(
    denoiser: Denoiser,
    variant: Variant,
    options: SamplingOptions,
    *,
    reference_unet: UNet | None = None,
    first: int = 0,
    known: Tensor | None = None,
    on_window: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Denoise a whole clip: latents (f, 4, h, w), scaled, on the CPU.

    Models with motion frames need `reference_unet`, and denoise one window after another.
    If the clip is part of a longer one, `first` is its first frame's number there and `known`
    (k, 4, h, w) are finished latents that it goes on from. After the memory ran out, fewer
    windows go together.

    on_window(done, total) counts windows over all steps; on_step(step, latents, clean estimate)
    is called after each step. Raising in either cancels. Raises `OptionsError` for windows that
    are longer than the motion modules can count, `SamplingError` for values that are not numbers
    and for a window that does not fit into the memory.
    """
    config, compatibility = denoiser.unet.config, options.compatibility
    check_windows(config, options, whole=known is None and not first)
    num_frames, latent_size = denoiser.conditions.num_frames, denoiser.conditions.latent_size
    latents_dtype = denoiser.dtype if compatibility.latents_dtype == "model" else torch.float32
    noise = initial_noise(
        options,
        num_frames,
        (config.in_channels, *latent_size),
        clamp=variant.noise_clamp,
        dtype=denoiser.dtype,
        first=first,
    )
    schedule = make_schedule(
        options.scheduler,
        options.num_inference_steps,
        official_previous_timestep=compatibility.official_previous_timestep,
    )
    place = {"device": _latents_device(noise, denoiser.device), "dtype": latents_dtype}
    noise, known = noise.to(**place), None if known is None else known.to(**place)
    if not denoiser.unet.motion_frames:
        predict = _together(denoiser, variant, options, on_window)
        return sample(predict, noise, schedule, on_step, known=known).float().cpu()
    after, length = _after(denoiser, reference_unet, options), options.context_frames
    counter = _counter(on_window, [sum(count_windows(config, variant, options, num_frames))])
    latents = sample_in_turn(after, noise, schedule, length, on_window=counter, on_step=on_step)
    return latents.float().cpu()


def count_windows(
    config: UNetConfig, variant: Variant, options: SamplingOptions, num_frames: int
) -> list[int]:
    """Windows of this model in each step of a clip of so many frames."""
    if config.motion_frames:
        windows = len(windows_in_turn(num_frames, options.context_frames))
        return [windows] * options.num_inference_steps
    rule = clip_windows(variant, options, num_frames)
    return [len(rule(step)) for step in range(options.num_inference_steps)]


def clip_windows(variant: Variant, options: SamplingOptions, num_frames: int) -> WindowRule:
    """The windows that a variant's clip of so many frames is denoised in, step by step."""
    return window_rule(
        options.windows,
        num_frames,
        options.context_frames,
        options.context_overlap,
        variant.window_shift,
        rotate_single=options.compatibility.rotate_single_window,
    )


def _together(
    denoiser: Denoiser,
    variant: Variant,
    options: SamplingOptions,
    on_window: Callable[[int, int], None] | None,
) -> Predict:
    """All windows in every step, overlapping."""
    conditions = denoiser.conditions
    rule = clip_windows(variant, options, conditions.num_frames)
    release = partial(release_cached_memory, denoiser.device)
    length = min(conditions.num_frames, options.context_frames)
    return windowed(
        sparing(guided(denoiser.predict_v, options.guidance_scale), release),
        rule,
        weights=overlap_weights(options.overlap_weights, length),
        batch=choose_window_batch(
            options,
            denoiser.unet.config,
            conditions.latent_size,
            device=denoiser.device,
            dtype=denoiser.dtype,
        ),
        divide=not _sums_overlaps(variant, options),
        on_window=_counter(
            on_window,
            count_windows(denoiser.unet.config, variant, options, conditions.num_frames),
        ),
    )


def _after(denoiser: Denoiser, reference_unet: UNet | None, options: SamplingOptions) -> After:
    """What denoises the frames that follow finished ones. Both halves of guidance see those."""
    if reference_unet is None:
        raise OptionsError(
            "This model reads the frames before each window with the reference UNet; give it one."
        )

    def after(finished: Tensor) -> Denoise:
        motion = denoiser.encode_motion(reference_unet, finished)
        return guided(partial(denoiser.predict_v, motion=motion), options.guidance_scale)

    return after


def check_windows(config: UNetConfig, options: SamplingOptions, *, whole: bool = True) -> None:
    """Raise `OptionsError` for windows that this model cannot have, of a `whole` clip or a part."""
    if config.motion is not None:
        check_window(options.context_frames, config.motion.longest_window)
    if config.motion_frames and options.windows == "looped":
        raise OptionsError(
            f"This model sees {config.motion_frames} finished frames before each window, so "
            "its windows cannot be looped; choose open."
        )
    if config.motion_frames and not whole:
        raise OptionsError(
            "This model sees the frames before each window, so its clips cannot be rendered in "
            "segments; render them whole."
        )


def check_sampling(options: SamplingOptions, max_frames: int = MotionConfig.max_frames) -> None:
    """Raise `OptionsError` for what can be known to fail before anything is loaded."""
    check_window(options.context_frames, max_frames)
    make_schedule(options.scheduler, options.num_inference_steps)


def _sums_overlaps(variant: Variant, options: SamplingOptions) -> bool:
    """Whether the official code would forget to divide by the number of windows (D1)."""
    forgets = not variant.divides_overlaps_always and options.guidance_scale == 1
    return options.compatibility.sum_overlaps and forgets


def _counter(
    on_window: Callable[[int, int], None] | None, windows_per_step: Sequence[int]
) -> Callable[[int], None] | None:
    """From windows done in a step to windows done in all steps."""
    if on_window is None:
        return None
    total, finished, rest = sum(windows_per_step), 0, iter(windows_per_step)
    in_step = next(rest)
    on_window(0, total)  # so that a clock starts before the first window

    def count(done: int) -> None:
        nonlocal finished, in_step
        on_window(finished + done, total)
        if done == in_step:
            finished, in_step = finished + done, next(rest, 0)

    return count


def _latents_device(noise: Tensor, device: torch.device) -> torch.device:
    """The compute device, unless the clip is so long that its latents would crowd the UNet out."""
    return device if 8 * noise.nbytes < 0.1 * free_memory(device) else torch.device("cpu")

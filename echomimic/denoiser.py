"""Where the model and sampling meet: conditions bound to the UNet, and one clip denoised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .conditions import Conditions, DrawnFace
from .config import MotionConfig, SamplingOptions, UNetConfig, Variant
from .errors import WeightsError
from .frame_memory import FrameMemory, Place, Values
from .models.attention import AttentionFunction
from .models.landmark_encoder import LandmarkEncoder
from .models.memory import free_memory
from .models.unet import UNet
from .sampling.context import WindowRule, check_window, overlap_weights, window_rule
from .sampling.guidance import guided
from .sampling.noise import initial_noise
from .sampling.samplers import OnStep, sample, windowed
from .sampling.schedule import make_schedule

MEMORY_SHARE = 0.1  # of the device's free memory, for audio keys and values, and for the face
MAX_MEMORY = 2 * 2**30  # bytes
MAIN_MEMORY_SHARE = 0.25  # of the free main memory, for the face where the device's is too small
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
        if memory is None:
            memory = min(MAX_MEMORY, int(MEMORY_SHARE * free_memory(self.device)))
        here = (self.device, memory)
        self._audio = self._remembered(self._project_audio, [here])
        self._face, self._landmark_encoder = conditions.face, landmark_encoder
        if isinstance(self._face, DrawnFace):
            self._moving = self._remembered(self._encode_face, [here, *_main_memory(self.device)])
        elif len(self._face) == 1:  # the standing face mask; others are fetched by window
            self._face = self._face.to(self.device, dtype)

    def predict_v(
        self,
        latents: Tensor,
        t: Tensor | float,
        windows: Sequence[Sequence[int]],
        conditional: Sequence[bool],
    ) -> Tensor:
        """v of several windows at once: (n, f, c, h, w) → (n, f, c, h, w).

        `windows` are the frames of each row, `conditional` says which rows see the conditions.
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
            face=self._face_of(shown) if shown else None,
            **self._options,
        )
        return v.unflatten(0, (-1, num_frames)).to(latents)

    def _face_of(self, frames: Sequence[int]) -> Tensor:
        if isinstance(self._face, DrawnFace):
            return self._moving(frames)["face"][0]
        if len(self._face) == 1:
            return self._face
        return self._face[list(frames)].to(self.device, self.dtype)

    def _remembered(
        self, compute: Callable[[Sequence[int]], Values], places: Sequence[Place]
    ) -> FrameMemory:
        return FrameMemory(compute, self.conditions.num_frames, places, device=self.device)

    def _project_audio(self, frames: Sequence[int]) -> Values:
        audio = self.conditions.audio
        if audio is None:
            tokens = torch.zeros(len(frames), 1, self.unet.config.audio_dim)
        else:
            tokens = audio.tokens(frames)  # (f, m, d)
        return self.unet.project_audio(tokens.to(self.device, self.dtype))

    def _encode_face(self, frames: Sequence[int]) -> Values:
        images = self._face.images(frames).to(self.device, self.dtype)  # (f, 3, H, W)
        return {"face": (self._landmark_encoder(images),)}


def _check_widths(unet: UNet, conditions: Conditions) -> None:
    if conditions.audio is None:
        return
    width = conditions.audio.states.shape[-1]
    if width != unet.config.audio_dim:
        raise WeightsError(
            f"The audio encoder's states are {width} wide but the denoising UNet takes "
            f"{unet.config.audio_dim}; use the audio encoder that belongs to the model."
        )


def _main_memory(device: torch.device) -> list[Place]:
    if device.type == "cpu":
        return []
    cpu = torch.device("cpu")
    return [(cpu, int(MAIN_MEMORY_SHARE * free_memory(cpu)))]


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

    On the CPU one: a larger batch is not faster there and takes memory.
    """
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
    on_window: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Denoise a whole clip: latents (f, 4, h, w), scaled, on the CPU.

    on_window(done, total) counts windows over all steps; on_step(step, latents, clean estimate)
    is called after each step. Raising in either cancels. Raises `OptionsError` for windows that
    are longer than the motion modules can count, `SamplingError` for values that are not numbers.
    """
    config, compatibility = denoiser.unet.config, options.compatibility
    if config.motion is not None:
        check_window(options.context_frames, config.motion.max_frames)
    num_frames, latent_size = denoiser.conditions.num_frames, denoiser.conditions.latent_size
    rule = clip_windows(variant, options, num_frames)
    latents_dtype = denoiser.dtype if compatibility.latents_dtype == "model" else torch.float32
    noise = initial_noise(
        options,
        num_frames,
        (config.in_channels, *latent_size),
        clamp=variant.noise_clamp,
        dtype=denoiser.dtype,
    )
    guidance = options.guidance_scale
    windows_per_step = [len(rule(step)) for step in range(options.num_inference_steps)]
    predict = windowed(
        guided(denoiser.predict_v, guidance),
        rule,
        weights=overlap_weights(options.overlap_weights, min(num_frames, options.context_frames)),
        batch=choose_window_batch(
            options, config, latent_size, device=denoiser.device, dtype=denoiser.dtype
        ),
        divide=not _sums_overlaps(variant, options),
        on_window=_counter(on_window, windows_per_step),
    )
    schedule = make_schedule(
        options.scheduler,
        options.num_inference_steps,
        official_previous_timestep=compatibility.official_previous_timestep,
    )
    home = _latents_device(noise, denoiser.device)
    return sample(predict, noise.to(home, latents_dtype), schedule, on_step).float().cpu()


def clip_windows(variant: Variant, options: SamplingOptions, num_frames: int) -> WindowRule:
    """The windows of every step of a clip; raises `OptionsError` where there can be none."""
    return window_rule(
        options.windows,
        num_frames,
        options.context_frames,
        options.context_overlap,
        variant.window_shift,
        rotate_single=options.compatibility.rotate_single_window,
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

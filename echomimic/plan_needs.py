"""What a clip needs: its segments and windows, and bytes on the device, in RAM and on disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from .config import (
    LATENT_STRIDE,
    STATES_PER_SECOND,
    AudioEncoderConfig,
    SamplingOptions,
    UNetConfig,
)
from .denoiser import activation_bytes, check_windows, choose_window_batch
from .models.memory import free_memory
from .render_folder import Segment
from .segments import plan_segments, space_needed

LATENT_COPIES = 4  # noise, sum, weights, result
BITS_PER_PIXEL = 0.25  # of H.264 at crf 18; a filmed face took 0.15 at 512x512, 0.19 at 256x256
SOUND_BYTES = 24_000  # a second


@dataclass(frozen=True)
class Clip:
    """What is to be made."""

    num_frames: int
    fps: float
    size: tuple[int, int]  # width, height

    @property
    def latent_size(self) -> tuple[int, int]:
        return self.size[1] // LATENT_STRIDE, self.size[0] // LATENT_STRIDE

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def video_bytes(self) -> int:
        pixels = self.num_frames * self.size[0] * self.size[1]
        return int(pixels * BITS_PER_PIXEL / 8 + self.seconds * SOUND_BYTES)


@dataclass(frozen=True)
class Machine:
    """What it is made on, and what is free there, in bytes."""

    device: torch.device
    dtype: torch.dtype
    free_device: int
    free_main: int
    free_disk: int | None = None  # None: not known

    @classmethod
    def here(
        cls, device: torch.device, dtype: torch.dtype, folder: Path | str | None = None
    ) -> Machine:
        """This machine as it is now; `folder` is where the video will be written."""
        disk = None if folder is None else shutil.disk_usage(folder).free
        return cls(device, dtype, free_memory(device), free_memory("cpu"), disk)


@dataclass(frozen=True)
class Plan:
    """What a clip needs. Bytes beyond what is in use already, weights that are loaded included."""

    clip: Clip
    options: SamplingOptions
    machine: Machine
    segment_windows: int
    segments: tuple[Segment, ...]  # each kept on disk when it is finished; none: rendered whole
    window_batch: int
    weight_bytes: int  # of the denoising UNet that still have to be brought to the device
    work_bytes: int  # on the device, while sampling
    main_bytes: int
    disk_bytes: int
    windows: tuple[tuple[int, ...], ...] = ()  # of each segment, or the clip, in each step
    more_windows: int = 0  # than if it were rendered whole
    seconds_per_window: float | None = None  # None: not measured
    seconds_per_decoded_frame: float | None = None
    change: str | None = None  # what would make it fit; None: it fits

    @property
    def total_windows(self) -> int:
        return sum(map(sum, self.windows))

    @property
    def model_calls(self) -> int:
        return sum(-(-count // self.window_batch) for steps in self.windows for count in steps)

    @property
    def sampling_seconds(self) -> float | None:
        if self.seconds_per_window is None:
            return None
        return self.seconds_per_window * self.total_windows

    @property
    def segment_seconds(self) -> float | None:
        """Sampling of the longest segment, which is what a crash costs at most."""
        if self.seconds_per_window is None or not self.segments:
            return None
        return self.seconds_per_window * max(map(sum, self.windows))

    @property
    def decoding_seconds(self) -> float | None:
        if self.seconds_per_decoded_frame is None:
            return None
        return self.seconds_per_decoded_frame * self.clip.num_frames

    @property
    def device_bytes(self) -> int:
        return self.weight_bytes + self.work_bytes

    @property
    def image_bytes(self) -> int:
        """Of all pictures at once, as VAE Decode returns them."""
        return 12 * self.clip.num_frames * self.clip.size[0] * self.clip.size[1]

    @property
    def fits_memory(self) -> bool:
        machine = self.machine
        on_cpu = machine.device.type == "cpu"
        return self.main_bytes <= machine.free_main and (
            on_cpu or self.device_bytes <= machine.free_device
        )

    @property
    def fits_disk(self) -> bool:
        return self.machine.free_disk is None or self.disk_bytes <= self.machine.free_disk

    @property
    def fits(self) -> bool:
        return self.fits_memory and self.fits_disk


def clip_segments(
    config: UNetConfig, options: SamplingOptions, num_frames: int, segment_windows: int | None
) -> tuple[Segment, ...]:
    """The segments that a clip is rendered in; none if `segment_windows` is 0 or None.

    Raises `OptionsError` for windows and segments that the model cannot have.
    """
    check_windows(config, options, whole=not segment_windows)
    if not segment_windows:
        return ()
    return tuple(plan_segments(num_frames, options, segment_windows))


def needs(
    config: UNetConfig,
    options: SamplingOptions,
    clip: Clip,
    machine: Machine,
    *,
    weight_bytes: int,
    segment_windows: int = 0,
) -> Plan:
    """A plan without its windows, which take longer to count. Raises as `clip_segments`."""
    segments = clip_segments(config, options, clip.num_frames, segment_windows)
    batch = choose_window_batch(
        options, config, clip.latent_size, device=machine.device, dtype=machine.dtype
    )
    rows = batch * min(options.context_frames, clip.num_frames) + config.motion_frames
    rows *= 2 if options.guidance_scale > 1 else 1
    work = activation_bytes(config, rows, clip.latent_size, machine.dtype)
    main = _latent_bytes(config, clip, segments) + _voice_bytes(config, clip)
    if machine.device.type == "cpu":
        main += work + weight_bytes
    disk = space_needed(segments, clip.latent_size) if segments else clip.video_bytes
    return Plan(
        clip, options, machine, segment_windows, segments, batch, weight_bytes, work, main, disk
    )


def _latent_bytes(config: UNetConfig, clip: Clip, segments: tuple[Segment, ...]) -> int:
    """Of what is denoised together: the longest segment, or all of the clip."""
    frames = max((s.stop - s.start for s in segments), default=clip.num_frames)
    height, width = clip.latent_size
    return LATENT_COPIES * 4 * config.in_channels * frames * height * width


def _voice_bytes(config: UNetConfig, clip: Clip) -> int:
    """Of the audio encoder's states, which are those of the whole clip."""
    layers = AudioEncoderConfig().num_layers + 1
    return int(4 * clip.seconds * STATES_PER_SECOND * layers * (config.audio_dim or 0))

"""What a clip will cost, before anybody waits for it: model calls, time, memory, disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .audio.tokens import AudioTrack
from .bench import time_window
from .conditions import Conditions, no_face, reference_features
from .config import (
    LATENT_STRIDE,
    STATES_PER_SECOND,
    AudioEncoderConfig,
    SamplingOptions,
    UNetConfig,
    Variant,
)
from .denoiser import Denoiser, activation_bytes, choose_window_batch, clip_windows
from .models.attention import AttentionFunction
from .models.memory import free_memory
from .models.unet import UNet

LATENT_COPIES = 4  # noise, sum, weights, result
PATIENCE = 5.0  # seconds; a first call that takes longer is measurement enough
BITS_PER_PIXEL = 0.25  # of H.264 at crf 18; a filmed face took 0.15 at 512x512, 0.19 at 256x256
SOUND_BYTES = 24_000  # a second
SMALLEST_CONTEXT, SMALLEST_SIDE = 8, 256  # below, the picture suffers more than it is worth


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
    windows: tuple[int, ...]  # in each step
    window_batch: int
    weight_bytes: int  # of the denoising UNet that still have to be brought to the device
    work_bytes: int  # on the device, while sampling
    main_bytes: int
    disk_bytes: int
    seconds_per_window: float | None = None  # None: not measured
    seconds_per_decoded_frame: float | None = None
    change: str | None = None  # what would make it fit; None: it fits

    @property
    def total_windows(self) -> int:
        return sum(self.windows)

    @property
    def model_calls(self) -> int:
        return sum(-(-windows // self.window_batch) for windows in self.windows)

    @property
    def sampling_seconds(self) -> float | None:
        if self.seconds_per_window is None:
            return None
        return self.seconds_per_window * self.total_windows

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
    def fits(self) -> bool:
        return self.change is None


def make_plan(
    config: UNetConfig,
    row: Variant,
    options: SamplingOptions,
    clip: Clip,
    machine: Machine,
    *,
    weight_bytes: int,
    **seconds: float | None,
) -> Plan:
    """The plan of a clip; `seconds` are those of `Plan` that were measured.

    `weight_bytes` are those of the denoising UNet that are not on the device yet. Raises
    `OptionsError` for windows that cannot be.
    """
    rule = clip_windows(row, options, clip.num_frames)
    plan = _plan(config, options, clip, machine, weight_bytes)
    windows = tuple(len(rule(step)) for step in range(options.num_inference_steps))
    return replace(plan, windows=windows, change=_change(config, plan), **seconds)


def measure_window(
    unet: UNet,
    options: SamplingOptions,
    clip: Clip,
    machine: Machine,
    *,
    attention: AttentionFunction | None = None,
) -> float:
    """Seconds of one window of this clip on this machine, with random content."""
    frames = min(options.context_frames, clip.num_frames)
    conditions = random_conditions(unet.config, replace(clip, num_frames=frames))
    denoiser = Denoiser(
        unet, conditions, device=machine.device, dtype=machine.dtype, attention=attention
    )
    guided = options.guidance_scale > 1
    return time_window(denoiser, frames, guided=guided, patience=PATIENCE)[0]


def random_conditions(config: UNetConfig, clip: Clip) -> Conditions:
    """Conditions of the right shapes for a denoising UNet, made without any other network."""
    reference_unet = UNet(config.as_reference(), device="meta")
    latents = torch.empty(1, config.in_channels, *clip.latent_size, device="meta")
    shapes = reference_features(reference_unet, latents)
    reference = {name: torch.randn(value.shape) for name, value in shapes.items()}
    states = int(clip.seconds * STATES_PER_SECOND) + STATES_PER_SECOND
    layers = AudioEncoderConfig().num_layers + 1
    voice = AudioTrack(torch.randn(states, layers, config.audio_dim), clip.fps, clip.num_frames)
    return Conditions(reference, voice, no_face(config.channels[0], clip.size))


def _plan(
    config: UNetConfig, options: SamplingOptions, clip: Clip, machine: Machine, weight_bytes: int
) -> Plan:
    batch = choose_window_batch(
        options, config, clip.latent_size, device=machine.device, dtype=machine.dtype
    )
    rows = batch * min(options.context_frames, clip.num_frames)
    rows *= 2 if options.guidance_scale > 1 else 1
    work = activation_bytes(config, rows, clip.latent_size, machine.dtype)
    pixels = clip.num_frames * clip.size[0] * clip.size[1]
    latents = LATENT_COPIES * 4 * config.in_channels * pixels // LATENT_STRIDE**2
    sound = 4 * STATES_PER_SECOND * (AudioEncoderConfig().num_layers + 1) * (config.audio_dim or 0)
    main = latents + int(clip.seconds * sound)
    if machine.device.type == "cpu":
        main += work + weight_bytes
    disk = int(pixels * BITS_PER_PIXEL / 8 + clip.seconds * SOUND_BYTES)
    return Plan(clip, options, machine, (), batch, weight_bytes, work, main, disk)


def _change(config: UNetConfig, plan: Plan) -> str | None:
    """The first setting that makes it fit; None if it does as it is."""
    if _fits(plan):
        return None
    for name, options, clip in _smaller(plan):
        if _fits(_plan(config, options, clip, plan.machine, plan.weight_bytes)):
            return name
    if plan.machine.free_disk is not None and plan.disk_bytes > plan.machine.free_disk:
        return "free disk space, or choose another output folder"
    return "close other programs, or take a device with more memory"


def _smaller(plan: Plan) -> Iterator[tuple[str, SamplingOptions, Clip]]:
    """Settings that need less memory, the least harmful first."""
    options, clip = plan.options, plan.clip
    if plan.window_batch > 1:
        options = replace(options, window_batch=1)
        yield "set window_batch to 1", options, clip
    if options.context_frames > SMALLEST_CONTEXT:
        overlap = min(options.context_overlap, SMALLEST_CONTEXT // 4)
        short = replace(options, context_frames=SMALLEST_CONTEXT, context_overlap=overlap)
        name = f"set context_frames to {SMALLEST_CONTEXT} and context_overlap to {overlap}"
        yield name, short, clip
    for share in (0.75, 0.5):
        width, height = (int(side * share) // 8 * 8 for side in clip.size)
        if min(width, height) >= SMALLEST_SIDE:
            yield f"choose a size of {width}x{height}", options, replace(clip, size=(width, height))
    if options.guidance_scale > 1:
        yield "set cfg to 1", replace(options, guidance_scale=1.0), clip
    half = max(1, clip.num_frames // 2)
    yield f"make the clip in parts of {half} frames", options, replace(clip, num_frames=half)


def _fits(plan: Plan) -> bool:
    machine = plan.machine
    if machine.free_disk is not None and plan.disk_bytes > machine.free_disk:
        return False
    on_cpu = machine.device.type == "cpu"
    return plan.main_bytes <= machine.free_main and (
        on_cpu or plan.device_bytes <= machine.free_device
    )

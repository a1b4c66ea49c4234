"""What a clip will cost, before anybody waits for it: model calls, time, memory, disk."""

from __future__ import annotations

from dataclasses import replace

import torch

from .audio.tokens import AudioTrack
from .bench import time_window
from .conditions import Conditions, no_face, reference_features
from .config import (
    STATES_PER_SECOND,
    AudioEncoderConfig,
    SamplingOptions,
    UNetConfig,
    Variant,
)
from .denoiser import Denoiser, check_windows, count_windows
from .models.attention import AttentionFunction
from .models.unet import UNet
from .plan_change import needed_change
from .plan_needs import Clip, Machine, Plan, needs
from .segments import windows_of

PATIENCE = 5.0  # seconds; a first call that takes longer is measurement enough


def make_plan(
    config: UNetConfig,
    row: Variant,
    options: SamplingOptions,
    clip: Clip,
    machine: Machine,
    *,
    weight_bytes: int,
    segment_windows: int | None = None,
    **seconds: float | None,
) -> Plan:
    """The plan of a clip; `seconds` are those of `Plan` that were measured.

    `weight_bytes` are those of the denoising UNet that are not on the device yet.
    `segment_windows` are the windows of a segment, as `segments.Segments` has them; 0 or None: the
    clip is rendered whole. Raises `OptionsError` for windows and segments that cannot be.
    """
    if config.motion_frames:  # they are read by the reference UNet, while sampling
        weight_bytes += _reader_bytes(config, machine.dtype)
    plan = needs(
        config,
        options,
        clip,
        machine,
        weight_bytes=weight_bytes,
        segment_windows=segment_windows or 0,
    )
    whole = count_windows(config, row, options, clip.num_frames)
    windows = windows_of(plan.segments, row, options) if plan.segments else [whole]
    return replace(
        plan,
        windows=tuple(map(tuple, windows)),
        more_windows=sum(map(sum, windows)) - sum(whole),
        change=needed_change(config, plan),
        **seconds,
    )


def measure_window(
    unet: UNet,
    options: SamplingOptions,
    clip: Clip,
    machine: Machine,
    *,
    attention: AttentionFunction | None = None,
) -> float:
    """Seconds of one window of this clip on this machine, with random content.

    Raises `OptionsError` for windows that the model cannot have.
    """
    check_windows(unet.config, options)
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


def _reader_bytes(config: UNetConfig, dtype: torch.dtype) -> int:
    """Of the weights of the reference UNet that belongs to a denoising UNet."""
    parameters = UNet(config.as_reference(), device="meta").parameters()
    return dtype.itemsize * sum(parameter.numel() for parameter in parameters)

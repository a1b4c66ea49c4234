"""`echomimic plan`: what a clip will cost, before anybody waits for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_options import add_model_options, add_sampling_options, size
from .config import SamplingOptions
from .errors import OptionsError

if TYPE_CHECKING:
    from .pipeline import EchoMimic
    from .plan import Plan

MakeModel = Callable[[argparse.Namespace], "EchoMimic"]
MakeOptions = Callable[[argparse.Namespace], SamplingOptions]


def add_plan(
    commands: argparse._SubParsersAction, make_model: MakeModel, make_options: MakeOptions
) -> None:
    """The command `plan`; the two functions read the options that it shares with `animate`."""
    command = commands.add_parser("plan", help="time, memory and disk that a clip will take")
    command.set_defaults(
        run=lambda options: _plan(options, make_model, make_options),
        parity=False,
        legacy_fp16_noise=False,
    )
    add_model_options(command)
    length = command.add_mutually_exclusive_group(required=True)
    length.add_argument("--audio", type=Path, help="the voice, whose length counts")
    length.add_argument("--landmarks", type=Path, help="landmarks, whose length and rate count")
    length.add_argument("--length", type=int, help="frames")
    command.add_argument("--fps", type=float, help="frames per second; default: the model's")
    command.add_argument("--size", type=size, help="512 or WIDTHxHEIGHT; default: the model's")
    command.add_argument(
        "--out", type=Path, default=Path(), help="folder of the video, or of segments (here)"
    )
    command.add_argument(
        "--segment-windows",
        type=int,
        help="as of animate --resume-folder, windows that are finished together; default: whole",
    )
    command.add_argument("--no-time", action="store_true", help="do not run a window to time it")
    add_sampling_options(command)


def _plan(options: argparse.Namespace, make_model: MakeModel, make_options: MakeOptions) -> None:
    from .plan_text import plan_text

    if not options.out.is_dir():
        raise OptionsError(f"There is no folder {options.out} to write to; create it.")
    plan = _planned(make_model(options), options, make_options(options))
    sys.stdout.write(plan_text(plan) + "\n")


def _planned(model: EchoMimic, options: argparse.Namespace, sampling: SamplingOptions) -> Plan:
    from .bench import time_decoding
    from .denoiser import check_sampling
    from .landmarks.portrait import check_size
    from .plan import Clip, Machine, make_plan, measure_window
    from .plan_needs import clip_segments

    check_sampling(sampling)
    num_frames, fps = _length(options, options.fps or model.native.fps)
    clip = Clip(num_frames, fps, options.size or model.native.size)
    check_size(*clip.size)
    machine = Machine.here(model.device, model.dtype, options.out)
    seconds = {}
    with model.networks.use("denoising_unet") as unet:
        weights = sum(parameter.nbytes for parameter in unet.parameters())
        config = unet.config
        clip_segments(config, sampling, num_frames, options.segment_windows)  # may be refused
        if not options.no_time:
            seconds["seconds_per_window"] = measure_window(unet, sampling, clip, machine)
    if not options.no_time:
        with model.networks.use("vae") as vae:
            decoding = time_decoding(vae, clip.latent_size, model.device)
        seconds["seconds_per_decoded_frame"] = decoding
    return make_plan(
        config, model.variant, sampling, clip, machine,
        weight_bytes=weights, segment_windows=options.segment_windows, **seconds,
    )  # fmt: skip


def _length(options: argparse.Namespace, fps: float) -> tuple[int, float]:
    """Frames of the clip, and their rate."""
    if options.length is not None:
        if options.length < 1:
            raise OptionsError(f"A clip needs at least 1 frame, not {options.length}.")
        return options.length, fps
    if options.landmarks is not None:
        from .landmarks.pose_files import import_landmarks

        track = import_landmarks(options.landmarks)
        return track.num_frames, track.fps
    from .audio.tokens import num_frames
    from .media.audio import read_speech

    return num_frames(len(read_speech(options.audio)), fps), fps

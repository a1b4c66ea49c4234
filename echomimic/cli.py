"""The `echomimic` command."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_evaluate import add_evaluate
from .cli_info import add_info
from .cli_landmarks import add_driving_options, add_landmarks, driving
from .cli_options import (
    DEFAULT_MODELS,
    DTYPES,
    MINI_MODELS,
    add_face_box,
    add_model_options,
    add_sampling_options,
    face_points,
    size,
    usable_device,
)
from .cli_plan import add_plan
from .cli_prepare import add_prepare
from .cli_progress import Progress
from .cli_report import add_report
from .cli_train import add_puppets, add_quality, add_train
from .config import PUBLISHED, VARIANTS, SamplingOptions, variant
from .errors import EchoMimicError, OptionsError

if TYPE_CHECKING:
    from .pipeline import EchoMimic
    from .segments import Segments

log = logging.getLogger(__name__)

CANCELLED = 130  # exit status of a program stopped by Ctrl-C
MINI_NOTICE = (
    "This is the built-in model, which has seen cartoon people only: of a photo it makes a cartoon "
    "of sorts. Get the models for real faces with `echomimic models download`."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 0 only if everything was done."""
    options = _parser().parse_args(arguments)
    from .models.memory import is_out_of_memory  # imports torch, which takes a second

    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        options.run(options)
    except EchoMimicError as error:
        sys.stderr.write(f"echomimic: {error}\n")
        return 1
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write(
            "echomimic: the memory ran out; choose a smaller --size, --window-batch 1 or "
            "--dtype bfloat16, or close other programs.\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("echomimic: cancelled; no half-written file is left.\n")
        return CANCELLED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echomimic", description="Make a portrait talk: one picture and a voice → a video."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_animate(commands)
    _add_demo(commands)
    add_landmarks(commands)
    add_info(commands)
    add_plan(commands, _model, _sampling_options)
    add_report(commands)
    add_evaluate(commands)
    add_prepare(commands)
    add_train(commands)
    add_puppets(commands)
    add_quality(commands)
    _add_models(commands)
    _add_bench(commands)
    return parser


def _add_animate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("animate", help="portrait and voice → video")
    command.set_defaults(run=_animate)
    command.add_argument("--portrait", type=Path, required=True, help="picture with one face")
    command.add_argument("--audio", type=Path, help="voice, in any audio file")
    command.add_argument("--out", type=Path, required=True, help="video to write, .mp4")
    add_model_options(command, variant=None)
    command.add_argument(
        "--fps", type=float, help="frames per second; default: the model's; landmarks alone: theirs"
    )
    command.add_argument("--length", type=int, help="most frames; default: the whole voice")
    command.add_argument("--size", type=size, help="512 or WIDTHxHEIGHT; default: the model's")
    add_driving_options(command)
    command.add_argument(
        "--paste-back", action="store_true", help="show the whole picture, not the crop alone"
    )
    add_sampling_options(command)
    add_face_box(command)
    command.add_argument(
        "--resume-folder", type=Path, help="keep what is finished of a long clip here, and go on"
    )
    command.add_argument(
        "--segment-windows", type=int, help="windows that are finished together there (12)"
    )
    command.add_argument(
        "--parity", action="store_true", help="every official behaviour, see docs/compatibility.md"
    )
    command.add_argument(
        "--legacy-fp16-noise", action="store_true", help="the noise of torch 2.2 and older"
    )


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("demo", help="a first video, without any download")
    command.set_defaults(run=_demo)
    command.add_argument("--out", type=Path, default=Path("echomimic-demo"), help="folder")


def _add_models(commands: argparse._SubParsersAction) -> None:
    models = commands.add_parser("models", help="look at, fetch and convert model files")
    actions = models.add_subparsers(required=True, metavar="ACTION")

    status = actions.add_parser("status", help="which files are there, and which are missing")
    status.set_defaults(run=_models_status)
    status.add_argument("--models", type=Path, action="append", help="folder, may be repeated")

    download = actions.add_parser("download", help="fetch the published files")
    download.set_defaults(run=_models_download)
    download.add_argument("folder", type=Path, nargs="?", default=DEFAULT_MODELS)
    download.add_argument("--variant", choices=tuple(PUBLISHED), action="append")
    download.add_argument("--face", action="store_true", help="only the face landmarker")

    convert = actions.add_parser("convert", help="half the size, faster start: fp16 safetensors")
    convert.set_defaults(run=_models_convert)
    convert.add_argument("folder", type=Path, help="folder of published files")
    convert.add_argument("out", type=Path, help="folder for the converted files")
    convert.add_argument("--variant", choices=tuple(VARIANTS), action="append")
    convert.add_argument("--dtype", choices=DTYPES, default="float16")

    random = actions.add_parser("make-random", help="random weights, for tests and first tries")
    random.set_defaults(run=_models_make_random)
    random.add_argument("folder", type=Path)
    random.add_argument("--size", choices=("tiny", "full"), default="tiny")
    random.add_argument("--variant", choices=tuple(VARIANTS), action="append")
    random.add_argument("--dtype", choices=DTYPES, default="float32")


def _add_bench(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("bench", help="speed, memory and FLOPs on this machine")
    command.set_defaults(run=_bench)
    add_model_options(command)
    command.add_argument("--size", type=size, default=(512, 512), help="512 or WIDTHxHEIGHT")
    command.add_argument("--context-frames", type=int, default=12)
    command.add_argument("--flops-only", action="store_true", help="count, without running")
    command.add_argument("--json", type=Path, help="also write the figures to this file")


def _animate(options: argparse.Namespace) -> None:
    from .pipeline import ClipOptions

    moved = driving(options)
    if options.audio is None and moved is None:
        raise OptionsError("Nothing moves the face: give --audio, --driving or --landmarks.")
    if options.variant is None:
        options.variant = _variant(options, driven=moved is not None)
    clip = ClipOptions(
        size=options.size,
        fps=options.fps,
        length=_length(options),
        face_box=tuple(options.face_box) if options.face_box else None,
        face_points=face_points(options),
        paste_back=options.paste_back,
    )
    sampling = _sampling_options(options)
    with Progress(sampling.num_inference_steps) as progress:
        _model(options).animate(
            options.portrait, options.audio, options.out, clip, sampling, progress,
            driving=moved, segments=_segments(options),
        )  # fmt: skip
    sys.stderr.write(f"{options.out}\n")


def _segments(options: argparse.Namespace) -> Segments | None:
    from .segments import WINDOWS, Segments

    windows = options.segment_windows
    if options.resume_folder is not None:
        return Segments(options.resume_folder, WINDOWS if windows is None else windows)
    if windows is not None:
        raise OptionsError("Give --resume-folder, in which --segment-windows are kept.")
    return None


def _variant(options: argparse.Namespace, *, driven: bool) -> str:
    """The family of weights that suits what is given."""
    if _is_mini(options):
        return "joint"
    return "landmark" if driven else "audio"


def _is_mini(options: argparse.Namespace) -> bool:
    """Whether the built-in model is meant: by name, or because there are no model files yet."""
    if options.models is None:
        return options.variant in (None, "joint") and not DEFAULT_MODELS.is_dir()
    return options.models == [MINI_MODELS] and not MINI_MODELS.is_dir()


def _length(options: argparse.Namespace) -> int | None:
    if options.length is None and options.parity:
        return variant(options.variant).official_length
    return options.length


def _sampling_options(options: argparse.Namespace) -> SamplingOptions:
    make = SamplingOptions.parity if options.parity else SamplingOptions.for_variant
    return make(
        variant(options.variant),
        num_inference_steps=options.steps,
        guidance_scale=options.cfg,
        seed=options.seed,
        scheduler=options.scheduler,
        windows=options.windows,
        context_frames=options.context_frames,
        context_overlap=options.context_overlap,
        overlap_weights=options.overlap_weights,
        window_batch=options.window_batch,
        legacy_fp16_noise=options.legacy_fp16_noise,
    )


def _model(options: argparse.Namespace) -> EchoMimic:
    import torch

    from .landmarks.detect import find_landmarker
    from .pipeline import EchoMimic

    dtype = getattr(torch, options.dtype) if options.dtype else None
    place = {"device": usable_device(options.device), "dtype": dtype}
    if _is_mini(options):
        if options.variant != "joint":
            raise OptionsError(
                f"The built-in model is of the variant 'joint', not {options.variant!r}; give "
                "--variant joint."
            )
        log.info(MINI_NOTICE)
        landmarker = find_landmarker([DEFAULT_MODELS])
        return EchoMimic.mini(landmarker=landmarker, **place)
    return EchoMimic.from_folder(options.models or [DEFAULT_MODELS], options.variant, **place)


def _demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    with Progress() as progress:
        video = run_demo(options.out, progress)
    sys.stderr.write(f"{video}\n")


def _models_status(options: argparse.Namespace) -> None:
    from .weights.status import status, status_table

    rows = status(options.models or [DEFAULT_MODELS])
    sys.stdout.write(status_table(rows) + "\n")


def _models_download(options: argparse.Namespace) -> None:
    from .weights.download import download

    download(options.folder, options.variant, face_only=options.face)


def _models_convert(options: argparse.Namespace) -> None:
    from .weights.convert import convert

    for path in convert([options.folder], options.out, options.variant, dtype=options.dtype):
        sys.stdout.write(f"{path}\n")


def _models_make_random(options: argparse.Namespace) -> None:
    from .weights.random_weights import make_random

    make_random(options.folder, options.size, options.variant, dtype=options.dtype)
    sys.stdout.write(f"{options.folder}: random weights, for tests only\n")


def _bench(options: argparse.Namespace) -> None:
    from .bench import bench, table
    from .weights.write import write_text

    if options.json is not None and not options.json.parent.is_dir():
        raise OptionsError(f"The folder {options.json.parent} does not exist; create it.")
    model = None if options.flops_only else _model(options)
    figures = bench(options.variant, options.size, options.context_frames, model=model)
    sys.stdout.write(table(figures) + "\n")
    if options.json is not None:
        write_text(options.json, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

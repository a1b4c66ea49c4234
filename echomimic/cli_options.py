"""Options that several parts of the `echomimic` command have."""

from __future__ import annotations

import argparse
from pathlib import Path

from .config import VARIANTS
from .errors import OptionsError

DTYPES = ("float32", "float16", "bfloat16")
DEFAULT_MODELS = Path("models")
MINI_MODELS = Path("mini")  # stands for the model that comes with the package


def add_model_options(command: argparse.ArgumentParser, variant: str | None = "audio") -> None:
    """Which networks, from where, and on what they run; without `variant` what is given decides."""
    by_input = "" if variant else "; default: what suits the inputs and the model"
    command.add_argument(
        "--variant", choices=tuple(VARIANTS), default=variant, help=f"family of weights{by_input}"
    )
    add_models_folder(command)
    command.add_argument("--dtype", choices=DTYPES, help="default: what suits the device")
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps, xpu; default: the best there is")


def add_models_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--models",
        type=Path,
        action="append",
        help=f"folder of model files, may be repeated ({DEFAULT_MODELS}); mini: the built-in model",
    )


def add_border_every(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--border-every",
        type=int,
        default=0,
        metavar="FRAMES",
        help="where segments or windows meet, for the seam index; default: nowhere",
    )


def add_sampling_options(command: argparse.ArgumentParser) -> None:
    """How a clip is denoised; what is not given is the variant's own."""
    command.add_argument("--steps", type=int, help="denoising steps; default: the variant's")
    command.add_argument("--cfg", type=float, help="guidance, 1 for none; default: the variant's")
    command.add_argument("--seed", type=int, default=420)
    command.add_argument("--scheduler", help="ddim (default) or another sampler's name")
    command.add_argument("--windows", choices=("looped", "open"), help="default: open")
    command.add_argument("--context-frames", type=int, help="frames per window (12)")
    command.add_argument("--context-overlap", type=int, help="frames that windows share (3)")
    command.add_argument("--overlap-weights", choices=("flat", "pyramid"), help="default: flat")
    command.add_argument("--window-batch", type=int, help="windows per call; default: by memory")


def add_face_box(command: argparse.ArgumentParser) -> None:
    """Where the face is, for portraits in which it is not, or not rightly, found."""
    command.add_argument(
        "--face-box",
        type=float,
        nargs=4,
        metavar=("X0", "Y0", "X1", "Y1"),
        help="where the face is, in pixels of the portrait; default: found by MediaPipe",
    )

    command.add_argument(
        "--portrait-points",
        type=float,
        nargs=10,
        metavar="XY",
        help="a face by hand where none is found: eyes, nose tip and mouth corners, each from left "
        "to right, as x y x y … in pixels of the portrait",
    )


def face_points(options: argparse.Namespace) -> tuple[tuple[float, float], ...] | None:
    """The five points of `--portrait-points`."""
    given = options.portrait_points
    return None if given is None else tuple(zip(given[::2], given[1::2], strict=True))


def size(text: str) -> tuple[int, int]:
    """`512` or `768x512` → width, height."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 512 or 768x512")
    width, height = int(parts[0]), int(parts[-1])
    return width, height


def usable_device(name: str | None) -> str | None:
    """The named device, if this machine has it; raises `OptionsError` otherwise."""
    import torch

    if name is None:
        return None
    try:
        torch.empty(1, device=name).cpu()  # `meta` can be made but holds nothing
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise OptionsError(f"The device {name!r} cannot be used here: {reason}.") from None
    return name

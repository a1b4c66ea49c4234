"""`echomimic evaluate`: generated clips beside real ones, by all measures that have their files."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli_options import DEFAULT_MODELS, add_border_every, add_models_folder, usable_device
from .cli_progress import Progress
from .errors import EvaluationError, OptionsError

if TYPE_CHECKING:
    import numpy as np

    from .evaluation.measure import Setup
    from .evaluation.pairs import Tracker
    from .landmarks.track import LandmarkTrack

REPORT, FIGURES, PLOT = "report.md", "report.json", "report.png"


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("evaluate", help="generated clips beside the real ones")
    command.set_defaults(run=_evaluate)
    command.add_argument("--real", type=Path, required=True, help="video, or folder of videos")
    command.add_argument("--generated", type=Path, required=True, help="of the same names")
    command.add_argument("--out", type=Path, required=True, help="folder; goes on if it is there")
    command.add_argument("--fps", type=float, default=25.0, help="of the comparison (25)")
    command.add_argument("--seconds", type=float, default=20.0, help="of each clip (20)")
    add_border_every(command)
    command.add_argument(
        "--against", type=Path, help="report.json of another method, of the same clips"
    )
    command.add_argument("--device", default="cpu", help="of the networks: cpu, cuda, mps (cpu)")
    add_models_folder(command)
    _add_networks(command)


def _add_networks(command: argparse.ArgumentParser) -> None:
    """Files of others, none of which is fetched or replaced: without one, its measure is absent."""
    command.add_argument("--syncnet", type=Path, help="syncnet_v2.model, for Sync-C and Sync-D")
    command.add_argument("--inception", type=Path, help="pt_inception-2015-12-05-….pth, for FID")
    command.add_argument(
        "--inception-resize", choices=("tf1", "bilinear", "antialias"), default="tf1",
        help="whose FID: torch-fidelity's (tf1), pytorch-fid's (bilinear)",
    )  # fmt: skip
    command.add_argument("--i3d", type=Path, help="i3d_torchscript.pt, for FVD")
    command.add_argument("--i3d-sha256", default="", help="of the I3D file that you trust")
    command.add_argument("--lpips", type=Path, help="file or folder of backbone and heads")
    command.add_argument("--lpips-network", choices=("alex", "vgg"), default="alex")
    command.add_argument("--sface", type=Path, help="OpenCV's SFace .onnx, for identity")
    command.add_argument("--expressions", type=Path, nargs=2, metavar=("REAL", "GENERATED"),
                         help="coefficients (frames, n) as .npy, for E-FID")  # fmt: skip


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation.compare import compare, read_report
    from .evaluation.evaluate import evaluate
    from .evaluation.pairs import find_pairs
    from .evaluation.plot import draw_evaluation
    from .evaluation.text import report_text
    from .media.image import write_image
    from .weights.write import write_text

    _check_numbers(options)
    usable_device(options.device)
    pairs = find_pairs(options.real, options.generated)
    coefficients, read_from = _coefficients(options)  # before clips are measured, which takes long
    other = None if options.against is None else read_report(options.against)
    setup, tracked_by = _setup(options)
    with Progress() as progress:
        found = evaluate(
            pairs, setup, options.out, tracked_by=tracked_by, coefficients=coefficients,
            on_progress=lambda done, total: progress("evaluate", done, total),
        )  # fmt: skip
    found.protocol.update(read_from)
    differences = [] if other is None else compare(found, other)
    text = report_text(found, differences)
    figures = found.figures() | {"against": [one.figures() for one in differences]}
    write_text(options.out / FIGURES, json.dumps(figures, indent=2) + "\n")
    write_text(options.out / REPORT, text)
    write_image(options.out / PLOT, draw_evaluation(found))
    sys.stdout.write(text)
    sys.stderr.write(f"{options.out / REPORT}\n")


def _check_numbers(options: argparse.Namespace) -> None:
    positive = (options.fps, options.seconds)
    if not all(0 < number < math.inf for number in positive) or options.border_every < 0:
        raise OptionsError("Give --fps and --seconds above 0, and --border-every of 0 or more.")


def _setup(options: argparse.Namespace) -> tuple[Setup, str]:
    """Networks for which there are files, and what finds the landmarks."""
    from .evaluation.measure import Setup
    from .evaluation.networks import sha256_of
    from .landmarks.detect import find_landmarker

    landmarker = find_landmarker(options.models or [DEFAULT_MODELS])
    networks, weights = _networks(options)
    setup = Setup(
        fps=options.fps,
        seconds=options.seconds,
        border_every=options.border_every,
        device=options.device,
        tracker=None if landmarker is None else _tracker(landmarker, options.fps),
        weights=weights,
        **networks,
    )
    if landmarker is None:
        sys.stderr.write(
            "No face landmarker was found, so nothing that needs landmarks is measured; get it "
            "with `echomimic models download --face`.\n"
        )
        return setup, ""
    return setup, f"{landmarker.name} {sha256_of(landmarker)[:16]}"


def _networks(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    from .evaluation import syncnet
    from .evaluation.networks import known_file

    networks, weights = {}, {}
    if options.syncnet is not None:
        weights["syncnet"] = known_file(options.syncnet, syncnet.LICENCE)
        networks["syncnet"] = syncnet.read_syncnet(options.syncnet).to(options.device)
    if options.lpips is not None:
        networks["lpips"], weights["lpips"] = _lpips(options)
    if options.inception is not None:
        from .evaluation.inception import InceptionFeatures

        networks["images"] = InceptionFeatures(
            options.inception, resize=options.inception_resize, device=options.device
        )
    if options.i3d is not None:
        from .evaluation.i3d import I3DFeatures

        networks["clips"] = I3DFeatures(
            options.i3d, sha256=options.i3d_sha256, device=options.device
        )
    if options.sface is not None:
        from .evaluation.identity import SFace

        networks["identity"] = SFace(options.sface)
    for use in ("images", "clips", "identity"):
        if use in networks:
            weights[networks[use].name] = networks[use].weights
    return networks, weights


def _lpips(options: argparse.Namespace) -> tuple[Any, Any]:
    from .evaluation.networks import Weights
    from .fingerprint import digest
    from .train.lpips import read_lpips

    network = read_lpips(options.lpips, options.lpips_network)
    name = f"{options.lpips.name} ({network.backbone.name})"
    contents = digest(dict(network.state_dict()))
    network.to(options.device)
    return network, Weights(name, f"blake2b of the tensors {contents}", "BSD (heads BSD-2)")


def _tracker(landmarker: Path, fps: float) -> Tracker:
    """Opens the file once before, or the first clip would find out that it is damaged."""
    from .landmarks.detect import open_landmarker
    from .landmarks.extract import extract_track
    from .landmarks.metric import read_canonical

    with open_landmarker(landmarker, instead="take the file away to measure without faces"):
        read_canonical(landmarker)

    def track(frames: np.ndarray, name: str) -> LandmarkTrack:
        return extract_track(frames, fps=fps, landmarker=landmarker, source=name)

    return track


def _coefficients(
    options: argparse.Namespace,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, dict[str, Any]]:
    """Generated and real expressions, numbers (n, d), and what the report says of their files."""
    if options.expressions is None:
        return None, {}
    from .evaluation.networks import known_file
    from .landmarks.arrays import read_npy

    real, made = (read_npy(path) for path in options.expressions)
    for path, array in zip(options.expressions, (real, made), strict=True):
        _check_coefficients(path, array)
    if real.shape[1] != made.shape[1]:
        raise EvaluationError(
            f"{options.expressions[0].name} has {real.shape[1]} coefficients a frame and "
            f"{options.expressions[1].name} {made.shape[1]}; save those of one face model."
        )
    files = {
        side: f"{path.name} ({len(array)} frames), sha256 {known_file(path, '').sha256}"
        for side, path, array in zip(
            ("real", "generated"), options.expressions, (real, made), strict=True
        )
    }
    return (made, real), {"expressions": files}


def _check_coefficients(path: Path, array: np.ndarray) -> None:
    import numpy as np

    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise EvaluationError(
            f"{path.name} holds {array.dtype} {array.shape}, not numbers (frames, "
            "coefficients); save the expression coefficients alone."
        )
    if not np.isfinite(array).all():
        raise EvaluationError(
            f"{path.name} holds coefficients that are not numbers, of the frame "
            f"{int(np.isfinite(array).all(axis=1).argmin())} first; leave such frames out."
        )

"""`echomimic prepare`: folders of videos become clips to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_options import DEFAULT_MODELS, add_models_folder, usable_device
from .cli_progress import Progress
from .errors import OptionsError

if TYPE_CHECKING:
    from .pipeline import OnProgress
    from .prepare.faces import FaceSource
    from .prepare.lip_sync import LipSync
    from .prepare.options import PrepareOptions

FACES = ("mediapipe", "stored")


def add_prepare(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("prepare", help="videos → clips to train on")
    command.set_defaults(run=_prepare)
    command.add_argument(
        "videos", type=Path, nargs="*", help="folders of videos; none: work on the clips of --out"
    )
    command.add_argument("--out", type=Path, required=True, help="folder of clips")
    command.add_argument("--size", type=int, default=512, help="width and height in pixels (512)")
    command.add_argument("--fps", type=float, default=25.0, help="frames per second (25)")
    command.add_argument("--shortest", type=float, default=3.0, help="seconds of a clip (3)")
    command.add_argument("--longest", type=float, default=15.0, help="seconds of a clip (15)")
    command.add_argument(
        "--identity",
        choices=("folder", "video"),
        default="folder",
        help="a person is a folder of videos (default), or each video",
    )
    command.add_argument("--frames", choices=("jpg", "png", "npy"), default="jpg")
    command.add_argument("--quality", type=int, default=95, help="of JPEG, 1 to 100 (95)")
    command.add_argument(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what clips may be like, as docs/data.md lists it; may be repeated",
    )
    command.add_argument(
        "--faces",
        choices=FACES,
        default=FACES[0],
        help="found by MediaPipe (default), or stored beside each video",
    )
    add_models_folder(command)
    command.add_argument("--workers", type=int, help="processes; default: one per core")
    command.add_argument("--vae", type=Path, help="also encode all frames by this VAE")
    command.add_argument(
        "--syncnet",
        type=Path,
        help="syncnet_v2.model, to judge lips; default: a proxy that hears loudness only",
    )
    command.add_argument("--device", default="cpu", help="of the VAE and of SyncNet (cpu)")
    command.add_argument(
        "--shards", metavar="PLACE", help="also pack the clips into a folder or s3://… address"
    )
    command.add_argument("--clips-per-shard", type=int, default=100)


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like camera=0.01") from error


def _prepare(options: argparse.Namespace) -> None:
    if not options.videos and options.vae is None and options.shards is None:
        raise OptionsError("There is nothing to do; give folders of videos, --vae or --shards.")
    usable_device(options.device)
    with Progress() as progress:
        if options.videos:
            _clips(options, progress)
        if options.vae is not None:
            _latents(options, progress)
        if options.shards is not None:
            from .train.shards import write_shards

            write_shards(
                options.out, options.shards, clips_per_shard=options.clips_per_shard,
                on_progress=lambda done, total: progress("shards", done, total),
            )  # fmt: skip
    sys.stderr.write(f"{options.shards or options.out}\n")


def _clips(options: argparse.Namespace, progress: OnProgress) -> None:
    from .prepare.run import REJECTS, prepare

    chosen = _options(options)
    summary = prepare(
        options.videos, options.out, _faces(options), chosen,
        lip_sync=_lip_sync(options, chosen), workers=options.workers,
        on_progress=lambda done, total, note: progress("videos", done, total, note),
    )  # fmt: skip
    sys.stderr.write(f"\n{summary.text()}\n{options.out / REJECTS}\n")


def _options(options: argparse.Namespace) -> PrepareOptions:
    from .prepare.options import Limits, PrepareOptions

    return PrepareOptions(
        size=options.size,
        fps=options.fps,
        shortest=options.shortest,
        longest=options.longest,
        identity=options.identity,
        frames=options.frames,
        quality=options.quality,
        limits=Limits.with_changes(dict(options.limit)),
    )


def _faces(options: argparse.Namespace) -> FaceSource:
    from .landmarks.detect import find_landmarker
    from .prepare.faces import MediaPipeFaces, StoredFaces

    if options.faces == "stored":
        return StoredFaces()
    return MediaPipeFaces(find_landmarker(options.models or [DEFAULT_MODELS]))


def _lip_sync(options: argparse.Namespace, chosen: PrepareOptions) -> LipSync:
    """SyncNet where its weights are given; limits of the other meter would do nothing."""
    from .prepare.lip_sync import MouthVoiceProxy
    from .prepare.sync_meter import SyncNetMeter, syncnet_meter

    if options.syncnet is None:
        meter, other, change = MouthVoiceProxy(), SyncNetMeter, "give --syncnet"
    else:
        meter = syncnet_meter(options.syncnet, chosen, options.device)
        other, change = MouthVoiceProxy, "leave --syncnet out"
    for name, _ in options.limit:
        if name in other.reasons:
            raise OptionsError(
                f"The limit {name!r} is not of the {meter.name}; take it out or {change}."
            )
    return meter


def _latents(options: argparse.Namespace, progress: OnProgress) -> None:
    """Mean and deviation of every frame's latents, where training looks for them."""
    from .train.cache import LatentCache
    from .train.clips import Dataset
    from .weights.load import load_vae

    vae = load_vae(options.vae, dtype="float32", device=options.device).model
    LatentCache(options.out, vae).fill(
        Dataset(options.out).all, lambda done, total: progress("latents", done, total)
    )

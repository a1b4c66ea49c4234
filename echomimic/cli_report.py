"""`echomimic report`: how a clip moves, and whether its mouth follows a voice."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_options import DEFAULT_MODELS, add_models_folder
from .cli_progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from .landmarks.track import LandmarkTrack

TRACK_SUFFIXES = (".npz", ".npy", ".pkl")


def add_report(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("report", help="does the mouth follow the voice, does it flicker")
    command.set_defaults(run=_report)
    command.add_argument("clip", type=Path, help="video, landmark file .npz, or folder of .pkl")
    command.add_argument("--audio", type=Path, help="voice; default: the video's own sound")
    command.add_argument("--out", type=Path, help="plot to write, .png")
    command.add_argument("--json", type=Path, help="also write the figures to this file")
    command.add_argument(
        "--border-every",
        type=int,
        default=0,
        metavar="FRAMES",
        help="where segments or windows meet, for the seam index; default: nowhere",
    )
    add_models_folder(command)


def _report(options: argparse.Namespace) -> None:
    from .media.audio import read_speech
    from .report.motion_report import motion_report

    is_track = options.clip.is_dir() or options.clip.suffix.lower() in TRACK_SUFFIXES
    track = _track(options, is_track=is_track)
    sound = options.audio or (None if is_track else _own_sound(options.clip))
    report = motion_report(
        track,
        None if sound is None else read_speech(sound),
        None if is_track else _frames(options.clip),
        border_every=options.border_every,
    )
    sys.stdout.write(report.text() + "\n")
    if options.json is not None:
        from .weights.write import write_text

        write_text(options.json, json.dumps(report.figures(), indent=2) + "\n")
    if options.out is not None:
        from .media.image import write_image
        from .report.plot import draw_report

        write_image(options.out, draw_report(report))
        sys.stderr.write(f"{options.out}\n")


def _track(options: argparse.Namespace, *, is_track: bool) -> LandmarkTrack:
    if is_track:
        from .landmarks.pose_files import import_landmarks

        return import_landmarks(options.clip)
    from .landmarks.detect import find_landmarker
    from .landmarks.extract import extract_file

    with Progress() as progress:
        return extract_file(
            options.clip,
            landmarker=find_landmarker(options.models or [DEFAULT_MODELS]),
            on_progress=lambda done, total: progress("landmarks", done, total),
        )


def _own_sound(video: Path) -> Path | None:
    from .media.frames import is_picture, video_info

    return video if not is_picture(video) and video_info(video).has_audio else None


def _frames(video: Path) -> Iterator[np.ndarray]:
    from .media.frames import read_frames

    return read_frames(video)

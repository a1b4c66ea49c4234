"""`echomimic report`: how a clip moves, and whether its mouth follows a voice."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_options import DEFAULT_MODELS, add_border_every, add_models_folder
from .cli_progress import Progress
from .errors import OptionsError

if TYPE_CHECKING:
    import numpy as np

    from .evaluation.syncnet import SyncNet
    from .landmarks.track import LandmarkTrack

TRACK_SUFFIXES = (".npz", ".npy", ".pkl")


def add_report(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("report", help="does the mouth follow the voice, does it flicker")
    command.set_defaults(run=_report)
    command.add_argument("clip", type=Path, help="video, landmark file .npz, or folder of .pkl")
    command.add_argument("--audio", type=Path, help="voice; default: the video's own sound")
    command.add_argument("--out", type=Path, help="plot to write, .png")
    command.add_argument("--json", type=Path, help="also write the figures to this file")
    add_border_every(command)
    command.add_argument(
        "--syncnet", type=Path, help="syncnet_v2.model, for Sync-C and Sync-D of a video's face"
    )
    add_models_folder(command)


def _report(options: argparse.Namespace) -> None:
    from .media.audio import read_speech
    from .report.motion_report import motion_report

    is_track = options.clip.is_dir() or options.clip.suffix.lower() in TRACK_SUFFIXES
    sound = options.audio or (None if is_track else _own_sound(options.clip))
    model = _syncnet(options, sound, is_track=is_track)  # before the landmarks, which take long
    track = _track(options, is_track=is_track)
    report = motion_report(
        track,
        None if sound is None else read_speech(sound),
        None if is_track else _frames(options),
        border_every=options.border_every,
    )
    figures = report.figures()
    if model is None:
        sys.stdout.write(report.text() + "\n")
    else:
        from .evaluation.sync import score_film

        speech = read_speech(sound, int16=True).numpy()
        score = score_film(model, _frames(options), track, speech)
        figures |= score.figures()
        sys.stdout.write(report.text(score.text()) + "\n")
    if options.json is not None:
        from .weights.write import write_text

        write_text(options.json, json.dumps(figures, indent=2) + "\n")
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
            fps=_fps(options),
            landmarker=find_landmarker(options.models or [DEFAULT_MODELS]),
            on_progress=lambda done, total: progress("landmarks", done, total),
        )


def _own_sound(video: Path) -> Path | None:
    from .media.frames import is_picture, video_info

    return video if not is_picture(video) and video_info(video).has_audio else None


def _frames(options: argparse.Namespace) -> Iterator[np.ndarray]:
    from .media.frames import read_frames

    return read_frames(options.clip, fps=_fps(options))


def _fps(options: argparse.Namespace) -> float | None:
    """What SyncNet needs, or the video's own."""
    return None if options.syncnet is None else 25.0


def _syncnet(options: argparse.Namespace, sound: Path | None, *, is_track: bool) -> SyncNet | None:
    if options.syncnet is None:
        return None
    if is_track or sound is None:
        raise OptionsError("--syncnet needs a video's pictures and a voice; give both.")
    from .evaluation.syncnet import read_syncnet

    return read_syncnet(options.syncnet)

"""`echomimic landmarks`, and the options of `echomimic animate` that drive by landmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_options import DEFAULT_MODELS, add_face_box, add_models_folder, face_points, size
from .cli_progress import Progress
from .errors import OptionsError
from .motion.retime import ENDS
from .motion.smooth import STRENGTH
from .motion.sync import METHODS

if TYPE_CHECKING:
    from .driving import Driving
    from .motion.parts import PartSelection

NO_METHOD = "none"
PARTS_HELP = "all, all-but-mouth, eyes-and-brows, head-pose-only, or parts like left_eye,nose"


def add_driving_options(command: argparse.ArgumentParser) -> None:
    """What moves the face besides the voice."""
    group = command.add_mutually_exclusive_group()
    group.add_argument("--driving", type=Path, help="video whose face moves the portrait")
    group.add_argument("--landmarks", type=Path, help="landmark file .npz, or folder of .pkl")
    command.add_argument("--parts", type=parts, help=f"{PARTS_HELP}; default: by --audio")
    command.add_argument("--selection", type=Path, help="JSON with gains and edits of the parts")
    command.add_argument(
        "--sync",
        choices=(*METHODS, NO_METHOD),
        help="how the motion is fitted to the portrait; default: part_aware for a video, none "
        "for a file",
    )
    _add_smoothing(command)
    command.add_argument("--landmarks-end", choices=ENDS, default="hold", help="if they end early")


def driving(options: argparse.Namespace) -> Driving | None:
    """What `add_driving_options` was given; None where only the voice drives."""
    from .driving import Driving

    source = options.driving or options.landmarks
    if source is None:
        for name in ("parts", "selection", "sync"):
            if getattr(options, name) is not None:
                raise OptionsError(
                    f"--{name.replace('_', '-')} needs landmarks: give --driving or --landmarks."
                )
        return None
    chosen = {
        "smoothing": options.smooth,
        "selection": _selection(options),
        "end": options.landmarks_end,
    }
    if options.sync is not None:
        chosen["method"] = None if options.sync == NO_METHOD else options.sync
    return (Driving if options.driving is None else Driving.by_video)(source, **chosen)


def add_landmarks(commands: argparse._SubParsersAction) -> None:
    """The command `landmarks` and its actions."""
    landmarks = commands.add_parser("landmarks", help="extract, look at and fit landmark tracks")
    actions = landmarks.add_subparsers(required=True, metavar="ACTION")

    extract = actions.add_parser("extract", help="video or picture → landmark file")
    extract.set_defaults(run=_extract)
    extract.add_argument("video", type=Path)
    extract.add_argument("out", type=Path, help=".npz to write")
    extract.add_argument("--fps", type=float, help="frames per second; default: the video's")
    extract.add_argument("--face", type=_face, default="nearest", help="nearest, largest, or 0, 1…")
    extract.add_argument("--missing", choices=("interpolate", "hold"), default="interpolate")
    add_models_folder(extract)

    draw = actions.add_parser("draw", help="landmark file → video, or .png with some frames")
    draw.set_defaults(run=_draw)
    draw.add_argument("track", type=Path)
    draw.add_argument("out", type=Path, help=".mp4 or .png to write")
    draw.add_argument("--size", type=size, default=(512, 512), help="512 or WIDTHxHEIGHT")
    draw.add_argument("--parts", type=parts, help=f"{PARTS_HELP}; default: those of the track")

    sync = actions.add_parser("sync", help="fit the motion of a track to a portrait")
    sync.set_defaults(run=_sync)
    sync.add_argument("track", type=Path)
    sync.add_argument("portrait", type=Path)
    sync.add_argument("out", type=Path, help=".npz to write")
    sync.add_argument("--sync", choices=METHODS, default=METHODS[0])
    sync.add_argument("--size", type=size, default=(512, 512), help="of the video to be made")
    sync.add_argument("--parts", type=parts, default="all", help=f"{PARTS_HELP} (all)")
    _add_smoothing(sync)
    add_face_box(sync)
    add_models_folder(sync)

    imported = actions.add_parser("import", help="folder of .pkl, or array → landmark file")
    imported.set_defaults(run=_import)
    imported.add_argument("source", type=Path)
    imported.add_argument("out", type=Path, help=".npz to write")
    imported.add_argument("--fps", type=float, default=24.0)
    imported.add_argument("--size", type=size, default=(512, 512), help="of the pictures (512)")

    info = actions.add_parser("info", help="what is in a landmark file")
    info.set_defaults(run=_info)
    info.add_argument("track", type=Path)


def parts(text: str) -> PartSelection:
    """A preset, or names of parts with commas between them → what is drawn."""
    from .motion.parts import PRESETS, preset, selection_of

    name = text.replace("-", " ").replace("_", " ")
    try:
        return preset(name) if name in PRESETS else selection_of(text.split(","))
    except OptionsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _selection(options: argparse.Namespace) -> PartSelection | None:
    from .motion.parts import selection_from_json

    if options.selection is None:
        return options.parts
    if options.parts is not None:
        raise OptionsError("--parts and --selection both say what is drawn; give one of them.")
    try:
        return selection_from_json(options.selection.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"The selection {options.selection} cannot be read: {error}.") from None


def _add_smoothing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--smooth", type=float, default=STRENGTH, help=f"0 none, 1 strong ({STRENGTH})"
    )


def _face(text: str) -> str | int:
    if text in ("nearest", "largest"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither nearest, largest nor a number")


def _extract(options: argparse.Namespace) -> None:
    from .landmarks.extract import extract_file
    from .landmarks.track_file import save_track

    with Progress() as progress:
        track = extract_file(
            options.video,
            landmarker=_landmarker(options),
            fps=options.fps,
            face=options.face,
            missing=options.missing,
            on_progress=lambda done, total: progress("landmarks", done, total),
        )
    save_track(track, options.out)
    sys.stderr.write(f"{options.out}\n")


def _draw(options: argparse.Namespace) -> None:
    from .landmarks.pose_files import import_landmarks
    from .landmarks.sheet import contact_sheet
    from .media.image import write_image
    from .media.video import write_video
    from .motion.edit import select_parts

    track = import_landmarks(options.track)
    if options.parts is not None:
        track = select_parts(track, options.parts)
    if options.out.suffix.lower() == ".png":
        write_image(options.out, contact_sheet(track, options.size))
    else:
        from .landmarks.draw import draw_track

        frames = (draw_track(track, options.size, [frame]) for frame in range(track.num_frames))
        write_video(
            options.out, frames, fps=track.fps, num_frames=track.num_frames, size=options.size
        )
    sys.stderr.write(f"{options.out}\n")


def _sync(options: argparse.Namespace) -> None:
    from .driving import Driving, box_by_hand, driving_track
    from .landmarks.detect import find_face_box
    from .landmarks.portrait import prepare_portrait
    from .landmarks.track_file import save_track
    from .media.image import read_image

    landmarker, picture = _landmarker(options), read_image(options.portrait)
    points = face_points(options)
    if options.face_box:
        box = tuple(options.face_box)
    elif points is not None:
        box = box_by_hand(points, (picture.shape[1], picture.shape[0]), landmarker)
    else:
        box = find_face_box(picture, landmarker)
    portrait = prepare_portrait(picture, options.size, face_box=box)
    driven = Driving(
        options.track, method=options.sync, smoothing=options.smooth, selection=options.parts
    )
    track = driving_track(driven, portrait, landmarker, voiced=False, portrait_points=points)
    save_track(track, options.out)
    sys.stderr.write(f"{options.out}\n")


def _import(options: argparse.Namespace) -> None:
    from .landmarks.pose_files import import_landmarks
    from .landmarks.track_file import save_track

    save_track(import_landmarks(options.source, fps=options.fps, size=options.size), options.out)
    sys.stderr.write(f"{options.out}\n")


def _info(options: argparse.Namespace) -> None:
    from .landmarks.pose_files import import_landmarks

    track = import_landmarks(options.track)
    known = {
        "mesh": track.mesh is not None,
        "blendshapes": track.blendshapes is not None,
        "face at rest": track.neutral is not None,
    }
    lines = {
        "source": track.source or "not known",
        "frames": track.num_frames,
        "seconds": f"{track.duration:.2f} at {track.fps:g} fps",
        "picture": f"{track.size[0]}x{track.size[1]}",
        "without a face": int((~track.valid).sum()),
        "drawn": ", ".join(sorted(track.parts)) or "nothing",
        "known": ", ".join(name for name, there in known.items() if there) or "points only",
    }
    width = max(map(len, lines))
    sys.stdout.write("".join(f"{name:{width}}  {value}\n" for name, value in lines.items()))


def _landmarker(options: argparse.Namespace) -> Path | None:
    from .landmarks.detect import find_landmarker

    return find_landmarker(options.models or [DEFAULT_MODELS])

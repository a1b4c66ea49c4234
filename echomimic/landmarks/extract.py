"""Pictures or video → the landmarks of one face over time (spec 8.1).

Every picture is searched on its own, as the models' training data were. What is done once per
frame is kept small: the mesh and pose of all frames are computed at the end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..errors import LandmarkError, OptionsError, PortraitError
from ..media.frames import is_picture, read_frames, video_info
from ..media.image import read_image
from .choose_face import FaceChoice, FaceFollower
from .detect import Face, open_landmarker
from .metric import Canonical, read_canonical, with_mesh
from .search import FaceSearch
from .track import MAX_FPS, LandmarkTrack

PICTURE_FPS = 24.0  # of a track that comes from one picture
MAX_FACES = 4

Missing = Literal["interpolate", "hold"]
MISSING: tuple[Missing, ...] = get_args(Missing)
OnProgress = Callable[[int, int], None]  # frames done, frames expected
log = logging.getLogger(__name__)
_INSTEAD = "use ComfyUI's own node Detect Face Landmarks (MediaPipe) and connect its face_landmarks"


def extract_file(
    path: Path,
    *,
    landmarker: Path | None,
    fps: float | None = None,
    face: FaceChoice = "nearest",
    missing: Missing = "interpolate",
    seconds: float | None = None,
    on_progress: OnProgress | None = None,
) -> LandmarkTrack:
    """The landmarks in a video file, or in a picture file: one frame then.

    `fps` resamples the video, which else keeps its own rate; `seconds` is how much of it is
    looked at, from its start. Raises `MediaError` for files that
    cannot be read, and as `extract_track`.
    """
    path = Path(path)
    options = {"landmarker": landmarker, "face": face, "missing": missing, "source": path.name}
    if is_picture(path):
        return extract_track([read_image(path)], fps=fps or PICTURE_FPS, **options)
    info = video_info(path)
    rate = fps or info.fps
    expected = None if info.duration is None else round(info.duration * rate)
    frames: Iterable[np.ndarray] = read_frames(path, fps=fps)
    if seconds is not None:
        wanted = max(1, math.ceil(seconds * rate - 1e-6))
        frames, expected = islice(frames, wanted), min(wanted, expected or wanted)
    return extract_track(
        frames,
        fps=rate,
        num_frames=expected,
        on_progress=on_progress,
        **options,
    )


def extract_track(
    frames: Iterable[np.ndarray],
    *,
    fps: float,
    landmarker: Path | None,
    face: FaceChoice = "nearest",
    missing: Missing = "interpolate",
    num_frames: int | None = None,
    source: str = "",
    on_progress: OnProgress | None = None,
) -> LandmarkTrack:
    """The landmarks, mesh, pose and blendshapes of one face in uint8 RGB pictures `(H, W, 3)`.

    Of several faces: the `nearest` to that of the frame before (the largest at first), the
    `largest` of each frame, or a number, which counts from 0 at the left of the first frame that
    shows so many. Frames without the face are filled from those around them, `valid` tells which.
    `num_frames` is what `on_progress` is told to expect. Raises `LandmarkError` where no frame
    shows the face, pictures differ in size or MediaPipe is missing, `OptionsError` for an option
    and `WeightsError` for a missing model before the first frame is asked for.
    """
    _check_options(fps, missing)
    follower, chosen = FaceFollower(face, fps), []  # only one face of a frame is kept
    faces: list[Face] = []
    size, last = (0, 0), None
    with _landmarker(landmarker) as opened:
        canonical = read_canonical(landmarker)
        search = FaceSearch(opened)
        for picture in frames:
            size = _checked_size(picture, size, len(chosen))
            # A frame that is shown twice is the same object.
            faces = faces if picture is last else search.faces(picture)
            chosen.append(follower.choose(faces))
            last = picture
            if on_progress is not None:
                on_progress(len(chosen), max(len(chosen), num_frames or 0))
    _check_found(chosen, follower.most, source)
    return _track(chosen, size, fps, missing, canonical, source)


def track_from_faces(
    frames: Sequence[Sequence[Face]],
    *,
    size: tuple[int, int],
    fps: float,
    face: FaceChoice = "nearest",
    missing: Missing = "interpolate",
    canonical: Canonical | None = None,
    source: str = "",
) -> LandmarkTrack:
    """The track of one face out of those found in each frame; see `extract_track`.

    Without the canonical face the track has no mesh. Raises `LandmarkError`.
    """
    _check_options(fps, missing)
    follower = FaceFollower(face, fps)
    chosen = [follower.choose(faces) for faces in frames]
    _check_found(chosen, follower.most, source)
    return _track(chosen, size, fps, missing, canonical, source)


def _track(
    chosen: Sequence[Face | None],
    size: tuple[int, int],
    fps: float,
    missing: Missing,
    canonical: Canonical | None,
    source: str,
) -> LandmarkTrack:
    valid = np.array([one is not None for one in chosen], dtype=bool)
    seen = [one for one in chosen if one is not None]
    points = _filled(np.stack([one.landmarks for one in seen]), valid, missing)
    scores = [one.blendshapes for one in seen]
    known = all(score is not None for score in scores)
    if not valid.all():
        _report(valid, missing, source)
    track = LandmarkTrack(
        points,
        size,
        fps,
        blendshapes=_filled(np.stack(scores), valid, missing) if known else None,
        valid=valid,
        source=source,
    )
    return track if canonical is None else with_mesh(track, canonical)


@contextmanager
def _landmarker(path: Path | None) -> Iterator[Any]:
    try:
        with open_landmarker(path, MAX_FACES, blendshapes=True, instead=_INSTEAD) as landmarker:
            yield landmarker
    except PortraitError as error:
        raise LandmarkError(str(error)) from error


def _filled(values: np.ndarray, valid: np.ndarray, missing: Missing) -> np.ndarray:
    """Values of the valid frames (v, ...) → of all frames (f, ...)."""
    frames, gaps = np.flatnonzero(valid), np.flatnonzero(~valid)
    after = np.searchsorted(frames, gaps).clip(max=len(frames) - 1)
    before = (np.searchsorted(frames, gaps) - 1).clip(min=0)
    filled = np.empty((len(valid), *values.shape[1:]))
    filled[valid], filled[gaps] = values, values[before]
    if missing == "interpolate":
        length = np.maximum(frames[after] - frames[before], 1)
        share = ((gaps - frames[before]) / length).clip(0, 1)  # (g,)
        share = share.reshape(-1, *[1] * (values.ndim - 1))
        filled[gaps] += share * (values[after] - values[before])
    return filled


def _report(valid: np.ndarray, missing: Missing, source: str) -> None:
    lost = np.flatnonzero(~valid)
    done = "held" if missing == "hold" else "interpolated"
    log.warning(
        "%s: no face in %d of %d frames, first in frame %d; they are %s",
        source or "landmarks",
        len(lost),
        len(valid),
        lost[0],
        done,
    )


def _check_options(fps: float, missing: str) -> None:
    """Before the first of many frames is searched."""
    if not 0 < fps <= MAX_FPS:
        raise OptionsError(f"fps must be above 0 and at most {MAX_FPS:g}, not {fps}.")
    if missing not in MISSING:
        raise OptionsError(
            f"Frames without a face cannot be filled by {missing!r}; choose {' or '.join(MISSING)}."
        )


def _checked_size(picture: np.ndarray, size: tuple[int, int], number: int) -> tuple[int, int]:
    """Width and height of the picture, which are those of the pictures before it."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise LandmarkError(
            f"Frame {number} is an array {picture.shape} of {picture.dtype}, but faces are looked "
            "for in RGB pictures (height, width, 3) of uint8."
        )
    height, width = picture.shape[:2]
    if number and size != (width, height):
        raise LandmarkError(
            f"Frame {number} has {width}x{height} pixels and those before it {size[0]}x{size[1]}; "
            "bring all frames of a clip to one size."
        )
    return width, height


def _check_found(chosen: Sequence[Face | None], most: int, source: str) -> None:
    name = source or "The driving clip"
    if not chosen:
        raise LandmarkError(f"{name} has no frames to find a face in; give at least one.")
    if not most:
        raise LandmarkError(
            f"{name} shows no face in any of its {len(chosen)} frames; "
            "choose one with a face from the front that fills more of the picture."
        )
    if all(one is None for one in chosen):
        raise LandmarkError(
            f"{name} shows at most {most} of the faces at a time, which are numbered from 0; "
            "choose a lower number."
        )

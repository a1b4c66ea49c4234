"""Pictures or video → the landmarks of one face over time (spec 8.1).

Every picture is searched on its own, as the models' training data were. What is done once per
frame is kept small: the mesh and pose of all frames are computed at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ..errors import LandmarkError, PortraitError
from ..media.frames import is_picture, read_frames, video_info
from ..media.image import read_image
from .choose_face import FaceChoice, FaceFollower
from .detect import Face, look, look_in_parts, open_landmarker, tensor_from_picture
from .metric import Canonical, read_canonical, with_mesh
from .track import LandmarkTrack

PICTURE_FPS = 24.0  # of a track that comes from one picture
MAX_FACES = 4
SURROUNDINGS = 1.5  # how far around a lost face it is looked for, in sizes of the face
THOROUGH_EVERY = 24  # frames without a face until all parts of the picture are searched again

Missing = Literal["interpolate", "hold"]
OnProgress = Callable[[int, int], None]  # frames done, frames expected
_log = logging.getLogger(__name__)
_INSTEAD = "use ComfyUI's own node Detect Face Landmarks (MediaPipe) and connect its face_landmarks"


def extract_file(
    path: Path,
    *,
    landmarker: Path | None,
    fps: float | None = None,
    face: FaceChoice = "nearest",
    missing: Missing = "interpolate",
    on_progress: OnProgress | None = None,
) -> LandmarkTrack:
    """The landmarks in a video file, or in a picture file: one frame then.

    `fps` resamples the video, which else keeps its own rate. Raises `MediaError` for files that
    cannot be read, and as `extract_track`.
    """
    path = Path(path)
    options = {"landmarker": landmarker, "face": face, "missing": missing, "source": path.name}
    if is_picture(path):
        return extract_track([read_image(path)], fps=fps or PICTURE_FPS, **options)
    info = video_info(path)
    rate = fps or info.fps
    expected = None if info.duration is None else round(info.duration * rate)
    return extract_track(
        read_frames(path, fps=fps),
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
    shows the face or MediaPipe is missing, `WeightsError` without the model.
    """
    faces: list[list[Face]] = []
    size, last = (0, 0), None
    with _landmarker(landmarker) as opened:
        canonical = read_canonical(landmarker)
        search = _Search(opened)
        for picture in frames:
            # A frame that is shown twice is the same object.
            faces.append(faces[-1] if picture is last else search.faces(picture))
            size, last = (picture.shape[1], picture.shape[0]), picture
            if on_progress is not None:
                on_progress(len(faces), max(len(faces), num_frames or 0))
    return track_from_faces(
        faces, size=size, fps=fps, face=face, missing=missing, canonical=canonical, source=source
    )


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
    follower = FaceFollower(face, fps)
    chosen = [follower.choose(faces) for faces in frames]
    valid = np.array([one is not None for one in chosen], dtype=bool)
    if not valid.any():
        raise LandmarkError(_nothing_found(frames, face, source))
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


@dataclass
class _Search:
    """Faces in one picture after the other, small ones where the last was seen."""

    landmarker: Any
    last: Face | None = None  # the largest of the last frame that showed one
    empty: int = 0  # frames since then

    def faces(self, picture: np.ndarray) -> list[Face]:
        pixels = tensor_from_picture(picture)
        faces = look(self.landmarker, pixels) or self._again(pixels)
        self.empty = 0 if faces else self.empty + 1
        self.last = faces[0] if faces else self.last
        return faces

    def _again(self, pixels: Tensor) -> list[Face]:
        faces: list[Face] = []
        if self.last is not None:
            height, width = pixels.shape[:2]
            faces = look(self.landmarker, pixels, _around(self.last, width, height))
        if faces or self.empty % THOROUGH_EVERY:
            return faces
        return look_in_parts(self.landmarker, pixels)


def _around(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """The face and its surroundings in whole pixels, inside the picture."""
    x0, y0, x1, y1 = np.array(face.box) * (width, height, width, height)
    margin = SURROUNDINGS * max(x1 - x0, y1 - y0)
    left, right = np.clip((x0 - margin, x1 + margin), 0, width).astype(int)
    top, bottom = np.clip((y0 - margin, y1 + margin), 0, height).astype(int)
    return int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)


def _filled(values: np.ndarray, valid: np.ndarray, missing: Missing) -> np.ndarray:
    """Values of the valid frames (v, ...) → of all frames (f, ...)."""
    frames = np.arange(len(valid))
    seen = np.flatnonzero(valid)
    after = np.searchsorted(seen, frames).clip(max=len(seen) - 1)
    before = (np.searchsorted(seen, frames, "right") - 1).clip(min=0)
    if missing == "hold":
        return values[before]
    gap = np.maximum(seen[after] - seen[before], 1)
    share = ((frames - seen[before]) / gap).clip(0, 1).reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - share) + values[after] * share


def _report(valid: np.ndarray, missing: Missing, source: str) -> None:
    lost = np.flatnonzero(~valid)
    done = "held" if missing == "hold" else "interpolated"
    _log.warning(
        "%s: no face in %d of %d frames, first in frame %d; they are %s",
        source or "landmarks",
        len(lost),
        len(valid),
        lost[0],
        done,
    )


def _nothing_found(frames: Sequence[Sequence[Face]], face: FaceChoice, source: str) -> str:
    name = source or "The driving clip"
    if not frames:
        return f"{name} has no frames to find a face in; give at least one."
    most = max(len(faces) for faces in frames)
    if most:
        return f"{name} shows at most {most} faces at a time; choose a face below {most}."
    return (
        f"{name} shows no face in any of its {len(frames)} frames; "
        "choose one with a face from the front that fills more of the picture."
    )

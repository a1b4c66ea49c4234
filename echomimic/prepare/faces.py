"""Where faces come from: MediaPipe, or a file beside each video.

A source opens a video and gives a finder, which is asked for the faces of each picture in turn.
Sources are sent to worker processes, so they hold paths and no open model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import DatasetError, LandmarkError
from ..files import replacing
from ..landmarks.arrays import read_npz
from ..landmarks.detect import Face, open_landmarker
from ..landmarks.extract import MAX_FACES
from ..landmarks.mesh import NUM_POINTS
from ..landmarks.search import FaceSearch

FindFaces = Callable[[np.ndarray], list[Face]]  # asked for each frame in turn, uint8 (H, W, 3)
SUFFIX = ".faces.npz"  # after the name of the video without its own suffix
ARRAY = "landmarks"


class FaceSource(Protocol):
    """Finds the faces of videos. `name` goes into the record of what clips were made with."""

    name: str

    def open(self, video: Path) -> AbstractContextManager[FindFaces]:
        """A finder for the pictures of this video from the first on, at the clips' frame rate."""


@dataclass(frozen=True)
class MediaPipeFaces:
    """Faces found by MediaPipe's landmarker, in each picture on its own."""

    landmarker: Path | None
    name: str = "mediapipe"

    @contextmanager
    def open(self, video: Path) -> Iterator[FindFaces]:
        """Raises `WeightsError` or `PortraitError` where there is no landmarker."""
        instead = "keep the faces beside the videos and use --faces stored"
        with open_landmarker(
            self.landmarker, MAX_FACES, blendshapes=True, instead=instead
        ) as landmarker:
            yield _once(FaceSearch(landmarker).faces)


@dataclass(frozen=True)
class StoredFaces:
    """Faces that are known: NAME.faces.npz beside NAME.mp4 has what another detector found."""

    name: str = "stored"

    @contextmanager
    def open(self, video: Path) -> Iterator[FindFaces]:
        """Raises `DatasetError` if the file is missing or holds something else."""
        faces = iter(_read(faces_file(video)))
        yield lambda picture: next(faces, [])


def _once(find_faces: FindFaces) -> FindFaces:
    """A frame that is shown twice is the same object, and searched once."""
    last: np.ndarray | None = None
    faces: list[Face] = []

    def find(picture: np.ndarray) -> list[Face]:
        nonlocal last, faces
        if picture is not last:
            last, faces = picture, find_faces(picture)
        return faces

    return find


def faces_file(video: Path) -> Path:
    return video.with_name(video.stem + SUFFIX)


def save_faces(video: Path, frames: Sequence[Sequence[Face]]) -> None:
    """Keep the faces of each frame beside a video: float32 (f, k, 478, 3), NaN where fewer."""
    most = max((len(faces) for faces in frames), default=0)
    landmarks = np.full((len(frames), most, NUM_POINTS, 3), np.nan, np.float32)
    for row, faces in zip(landmarks, frames, strict=True):
        for number, face in enumerate(faces):
            row[number] = face.landmarks
    with replacing(faces_file(video)) as temporary:
        np.savez_compressed(temporary, **{ARRAY: landmarks})


def _read(path: Path) -> list[list[Face]]:
    try:
        landmarks = read_npz(path).get(ARRAY)
    except LandmarkError as error:
        raise DatasetError(
            f"{path} cannot be read ({error}); store the faces again or find them by MediaPipe."
        ) from error
    if landmarks is None or landmarks.ndim != 4 or landmarks.shape[2:] != (NUM_POINTS, 3):
        raise DatasetError(
            f"{path} must hold an array {ARRAY!r} of (frames, faces, {NUM_POINTS}, 3); store the "
            "faces again."
        )
    return [
        [Face(one.astype(np.float64)) for one in frame if np.isfinite(one).all()]
        for frame in landmarks
    ]

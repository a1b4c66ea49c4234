"""Faces and their landmarks, by MediaPipe's face landmarker (spec 8.1).

MediaPipe is imported where it is used: without it everything else works, and a face box given by
hand replaces the detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import PortraitError, WeightsError
from .face_box import Crop, FaceBox, box_from_landmarks, cut, largest_box
from .put_off import UNUSED, imports_put_off

LONGEST_SIDE = 1024  # pixels; larger pictures are searched on a reduced copy
LANDMARKER = "face_landmarker*.task"
LANDMARKER_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)


@dataclass(frozen=True)
class Face:
    """One face found in a picture."""

    landmarks: np.ndarray  # (478, 3) float64; x y in 0..1 of the picture, z in the unit of x
    blendshapes: np.ndarray | None = None  # (52,) scores in 0..1, MediaPipe's order

    @property
    def box(self) -> FaceBox:
        """The face box in shares of the picture, 0..1."""
        return box_from_landmarks(self.landmarks, 1, 1)

    @property
    def area(self) -> float:
        """Of the box, as a share of the picture."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


def find_landmarker(folders: Sequence[Path]) -> Path | None:
    """The first `face_landmarker*.task` in the folders or one level below; None without one."""
    for folder in folders:
        for pattern in (LANDMARKER, f"*/{LANDMARKER}"):
            for path in sorted(Path(folder).glob(pattern)):
                return path
    return None


def find_face_box(
    image: np.ndarray, model_path: Path | None, *, bgr: bool = False
) -> FaceBox | None:
    """Box in pixels of the largest face in a uint8 RGB picture `(H, W, 3)`; None without a face.

    Raises as `detect_faces` does.
    """
    height, width = image.shape[:2]
    faces = detect_faces(image, model_path, bgr=bgr)
    return largest_box(box_from_landmarks(face.landmarks, width, height) for face in faces)


def detect_faces(
    image: np.ndarray, model_path: Path | None, *, max_faces: int = 4, bgr: bool = False
) -> list[Face]:
    """Faces in a uint8 RGB picture `(H, W, 3)`, found in parts of it where the whole shows none.

    `bgr` swaps red and blue first, as the official code does by mistake (spec 12, D6). Raises
    `WeightsError` where the model file is missing or damaged, `PortraitError` without MediaPipe.
    """
    pixels = tensor_from_picture(image[..., ::-1] if bgr else image)
    with open_landmarker(model_path, max_faces) as landmarker:
        faces = look(landmarker, pixels) or look_in_parts(landmarker, pixels)
    return faces[:max_faces]


def tensor_from_picture(image: np.ndarray) -> Tensor:
    """A uint8 picture `(H, W, 3)` as a tensor of the same shape, copied where it must be."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"]))


@contextmanager
def open_landmarker(
    model_path: Path | None,
    max_faces: int = 1,
    *,
    blendshapes: bool = False,
    instead: str = "give the face box by hand",
) -> Iterator[Any]:
    """MediaPipe's landmarker for single pictures, closed at the end; raises as `detect_faces`.

    `instead` tells the user what else to do where there is none.
    """
    if model_path is None or not Path(model_path).is_file():
        raise WeightsError(
            f"The face landmarker {model_path or LANDMARKER} is missing: get {LANDMARKER_URL} "
            "(or run `echomimic models download --face`) and put it into the models folder, "
            f"or {instead}."
        )
    try:
        with imports_put_off(UNUSED):
            from mediapipe.tasks.python import BaseOptions, vision
    except (ImportError, OSError) as error:  # OSError: a system library is missing
        raise PortraitError(
            f"Finding the face needs MediaPipe, which does not load ({error}): run "
            f'`pip install "mediapipe>=0.10.30"`, or {instead}.'
        ) from error
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=Path(model_path).read_bytes()),
        num_faces=max_faces,
        output_face_blendshapes=blendshapes,
    )
    try:
        landmarker = vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{Path(model_path).name} is not a face landmarker, or damaged: download it again."
        ) from error
    with landmarker:
        yield landmarker


def look(
    landmarker: Any, pixels: Tensor, box: tuple[int, int, int, int] | None = None
) -> list[Face]:
    """Faces in a picture uint8 `(H, W, 3)` or in a box of it, largest first."""
    height, width = pixels.shape[:2]
    return _distinct(
        _search(landmarker, pixels, _window((width, height), box or (0, 0, width, height)))
    )


def look_in_parts(landmarker: Any, pixels: Tensor) -> list[Face]:
    """Faces too small for one look at everything, as `look` gives them; nine times the work."""
    height, width = pixels.shape[:2]
    windows = _quarters(width, height)
    return _distinct([face for window in windows for face in _search(landmarker, pixels, window)])


def _search(landmarker: Any, pixels: Tensor, window: Crop) -> list[Face]:
    import mediapipe

    reduced = cut(pixels.permute(2, 0, 1), window).permute(1, 2, 0).contiguous()  # (H, W, 3)
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=reduced.numpy())
    found = landmarker.detect(picture)
    return [
        _face(points, scores, window)
        for points, scores in zip_longest(found.face_landmarks, found.face_blendshapes)
    ]


def _face(points: list[Any], scores: list[Any] | None, window: Crop) -> Face:
    (width, height), (whole_width, whole_height) = window.size, window.source_size
    landmarks = np.array([(p.x, p.y, p.z) for p in points], dtype=np.float64)
    landmarks = window.to_source(landmarks * (width, height, width))
    return Face(
        landmarks / (whole_width, whole_height, whole_width),
        None if scores is None else np.array([score.score for score in scores]),
    )


def _window(source_size: tuple[int, int], box: tuple[int, int, int, int]) -> Crop:
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return Crop(source_size, box, (max(1, round(width * scale)), max(1, round(height * scale))))


def _quarters(width: int, height: int) -> list[Crop]:
    """Nine overlapping windows of half the size."""
    w, h = max(1, width // 2), max(1, height // 2)
    corners = [(x, y) for y in (0, h // 2, height - h) for x in (0, w // 2, width - w)]
    return [_window((width, height), (x, y, x + w, y + h)) for x, y in corners]


def _distinct(faces: list[Face]) -> list[Face]:
    """Largest first; a face whose middle lies in a larger one was seen in two windows."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.area):
        x0, y0, x1, y1 = face.box
        if not any(_holds(other.box, (x0 + x1) / 2, (y0 + y1) / 2) for other in kept):
            kept.append(face)
    return kept


def _holds(box: FaceBox, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]

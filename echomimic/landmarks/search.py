"""Faces in the pictures of a video, small ones where the last was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from .detect import Face, look, look_in_parts, tensor_from_picture

SURROUNDINGS = 1.5  # how far around a lost face it is looked for, in sizes of the face
THOROUGH_EVERY = 24  # frames without a face until all parts of the picture are searched again


@dataclass
class FaceSearch:
    """Looks for faces in one picture after the other."""

    landmarker: Any
    last: Face | None = None  # the largest of the last frame that showed one
    empty: int = 0  # frames since then

    def faces(self, picture: np.ndarray) -> list[Face]:
        """Those in the next picture, uint8 `(H, W, 3)`, largest first."""
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

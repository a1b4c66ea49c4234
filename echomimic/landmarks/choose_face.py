"""One face among several, kept over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import OptionsError
from .detect import Face

FaceChoice = Literal["nearest", "largest"] | int
NEAR = 1.0  # sizes of a face: what is further from where it was is another face
PATIENCE = 0.5  # seconds until another face is taken for the one that was lost


@dataclass
class FaceFollower:
    """Chooses the face of each frame in turn; see `extract.extract_track` for the choices.

    Raises `OptionsError` for a choice that is none.
    """

    choice: FaceChoice
    fps: float
    most: int = field(default=0, init=False)  # faces that a frame has shown
    _last: Face | None = field(default=None, init=False)
    _lost: int = field(default=0, init=False)  # frames since it was seen

    def __post_init__(self) -> None:
        number = isinstance(self.choice, int) and self.choice >= 0
        if not number and self.choice not in ("nearest", "largest"):
            raise OptionsError(
                f"A face is chosen as nearest, largest or by a number from 0 on, not {self.choice}."
            )

    def choose(self, faces: Sequence[Face]) -> Face | None:
        """The face among those of the next frame; None where it is not."""
        self.most = max(self.most, len(faces))
        if self.choice == "largest":
            return _largest(faces)
        chosen = self._first(faces) if self._last is None else self._next(faces)
        self._lost = 0 if chosen is not None else self._lost + 1
        self._last = chosen or self._last
        return chosen

    def _first(self, faces: Sequence[Face]) -> Face | None:
        if self.choice == "nearest":
            return _largest(faces)
        from_left = sorted(faces, key=lambda face: _centre(face)[0])
        return from_left[self.choice] if self.choice < len(from_left) else None

    def _next(self, faces: Sequence[Face]) -> Face | None:
        """The nearest; one far away only if it is alone or the right one stays away."""
        nearest = min(faces, key=self._distance, default=None)
        if nearest is None or self.most < 2 or self._lost >= PATIENCE * self.fps:
            return nearest
        return nearest if self._distance(nearest) <= NEAR else None

    def _distance(self, face: Face) -> float:
        """From where the face was, in sizes of it."""
        x0, y0, x1, y1 = self._last.box
        return float(np.linalg.norm((_centre(face) - _centre(self._last)) / (x1 - x0, y1 - y0)))


def _largest(faces: Sequence[Face]) -> Face | None:
    return max(faces, key=lambda face: face.area, default=None)


def _centre(face: Face) -> np.ndarray:
    """Of the face box, in shares of the picture."""
    x0, y0, x1, y1 = face.box
    return np.array([x0 + x1, y0 + y1]) / 2

"""Landmarks over time: one value from extraction to drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import LandmarkError
from .mesh import DRAWN_BY_DEFAULT, NUM_POINTS, PARTS

NUM_BLENDSHAPES = 52  # MediaPipe's, the neutral one first
MIN_FPS, MAX_FPS = 0.001, 1000.0


@dataclass(frozen=True)
class LandmarkTrack:
    """A face over time, or in one picture: a track of one frame.

    Points are in 0..1 of the picture they lie in (which may be reached beyond), so the track can
    be drawn at any size. Mesh and transforms say the same in space, where they are known:
    `camera.project(mesh, transforms, size)` gives x and y of the points.
    """

    points: np.ndarray  # (f, 478, 3) float64; x of the width, y of the height, z in the unit of x
    size: tuple[int, int]  # width, height in pixels of the pictures it comes from
    fps: float
    mesh: np.ndarray | None = None  # (f, 478, 3) centimetres, upright and looking along +z
    transforms: np.ndarray | None = None  # (f, 4, 4), mesh → camera space
    blendshapes: np.ndarray | None = None  # (f, 52) scores in 0..1
    valid: np.ndarray | None = None  # (f,) bool; False: no face was seen, the frame is filled in
    neutral: np.ndarray | None = None  # (478, 3), the mesh of the face at rest; None: not known
    parts: frozenset[str] = field(default=DRAWN_BY_DEFAULT)  # those that are drawn, of mesh.PARTS
    source: str = ""  # name of the file it comes from, for people

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float64)
        object.__setattr__(self, "points", points)
        if points.ndim != 3 or points.shape[1:] != (NUM_POINTS, 3):
            raise LandmarkError(
                f"A landmark track{self._of} has {NUM_POINTS} points per frame, x y z each; "
                f"this one has the shape {points.shape}."
            )
        if not len(points):
            raise LandmarkError(f"The landmark track{self._of} has no frames.")
        if self.valid is None:
            object.__setattr__(self, "valid", np.ones(len(points), dtype=bool))
        if not MIN_FPS <= self.fps <= MAX_FPS:
            raise LandmarkError(f"The landmark track{self._of} has no frame rate: {self.fps} fps.")
        if min(self.size) < 1:
            raise LandmarkError(f"The landmark track{self._of} lies in no picture: {self.size}.")
        if (self.mesh is None) != (self.transforms is None):
            raise LandmarkError(f"The landmark track{self._of} has a mesh without transforms.")
        unknown = set(self.parts) - set(PARTS)
        if unknown:
            raise LandmarkError(f"A face has no part {min(unknown)!r}; it has {', '.join(PARTS)}.")
        for name, shape in self._shapes().items():
            self._check(name, shape)

    @property
    def num_frames(self) -> int:
        return len(self.points)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_frames / self.fps

    @property
    def seen(self) -> np.ndarray:
        """Numbers of the frames in which the face was seen; of all, if it never was."""
        return np.flatnonzero(self.valid) if self.valid.any() else np.arange(self.num_frames)

    def seconds(self) -> np.ndarray:
        """When each frame begins, (f,)."""
        return np.arange(self.num_frames) / self.fps

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        f = len(self.points)
        return {
            "points": (f, NUM_POINTS, 3),
            "mesh": (f, NUM_POINTS, 3),
            "transforms": (f, 4, 4),
            "blendshapes": (f, NUM_BLENDSHAPES),
            "valid": (f,),
            "neutral": (NUM_POINTS, 3),
        }

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        array = getattr(self, name)
        if array is None:
            return
        if array.shape != shape:
            raise LandmarkError(
                f"The {name} of the landmark track{self._of} have the shape {array.shape}, "
                f"not {shape}."
            )
        finite = np.isfinite(array).reshape(len(array), math.prod(shape[1:])).all(axis=1)
        if not finite.all():
            raise LandmarkError(
                f"The {name} of the landmark track{self._of} are not numbers in frame "
                f"{int(finite.argmin())}; extract the track again."
            )

    @property
    def _of(self) -> str:
        return f" of {self.source}" if self.source else ""

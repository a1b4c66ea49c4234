"""Tracks taken apart into the face's own shape and the pose of the head, and put together again.

A track with a mesh is taken apart in space. One without is aligned in the picture by points that
no expression moves, which gives the same two halves, only seen from one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import LandmarkError
from ..landmarks.affine import apply_affine, fit_similarity
from ..landmarks.mesh import LEFT_IRIS, LINES, PARTS, RIGHT_IRIS, SYNC_PARTS, without_irises
from ..landmarks.track import LandmarkTrack
from .pose import points_of

EARS = (234, 454)  # the widest points of the face
STILL_POINTS = (33, 133, 263, 362, 168, 6, 197, 195, 127, 356, 234, 454, 10, 151)  # bone below


def _moved_points(part: str) -> tuple[int, ...]:
    if part == "pupils":
        return RIGHT_IRIS + LEFT_IRIS
    if part == "contour":
        return LINES["contour"][0].points
    return without_irises(SYNC_PARTS[part])


PART_POINTS: dict[str, tuple[int, ...]] = {part: _moved_points(part) for part in PARTS}


@dataclass(frozen=True)
class FaceSpace:
    """A track as shape and pose; `place` is the way back."""

    shape: np.ndarray  # (f, 478, 3), the face looking at us
    poses: np.ndarray  # (f, 4, 4)
    neutral: np.ndarray  # (478, 3), the shape at rest
    size: tuple[int, int]
    metric: bool  # centimetres and y up; else pixels of the picture and y down

    @property
    def face_width(self) -> float:
        """Of the face at rest, in the unit of the shape."""
        return float(np.linalg.norm(np.subtract(*self.neutral[list(EARS)])))

    def place(self, shape: np.ndarray, poses: np.ndarray) -> np.ndarray:
        """Shape (f, n, 3) and poses → points (f, n, 3) as a track has them."""
        if not self.metric:
            return apply_affine(poses, shape) / _pixels(self.size)
        return points_of(shape, poses, self.size)

    def with_motion(
        self, track: LandmarkTrack, shape: np.ndarray, poses: np.ndarray
    ) -> LandmarkTrack:
        """The track, of which this is the space, with another shape and other poses.

        What the space does not explain of the track's points stays, so that unmoved points are
        exactly what they were. Raises `LandmarkError` if a point comes to lie behind the camera.
        """
        if self.metric and (apply_affine(poses, shape)[..., 2] > -1).any():
            raise LandmarkError(
                "The landmarks were moved through the camera; use smaller gains or offsets."
            )
        moved = self.place(shape, poses) - self.place(self.shape, self.poses)
        new = {"mesh": shape, "transforms": poses} if self.metric else {}
        return replace(track, points=track.points + moved, blendshapes=None, **new)


def face_space(track: LandmarkTrack) -> FaceSpace:
    """Take a track apart; raises `LandmarkError` if its points all lie in one spot."""
    if track.mesh is not None:
        neutral = track.neutral
        if neutral is None:
            neutral = np.median(track.mesh[track.seen], axis=0)  # (478, 3)
        return FaceSpace(track.mesh, track.transforms, neutral, track.size, metric=True)
    pixels = track.points * _pixels(track.size)  # (f, 478, 3)
    first = pixels[track.seen[0]]
    upright = first - first[list(EARS)].mean(axis=0)  # about the middle of the head
    still = list(STILL_POINTS)
    _check_extent(pixels[:, still])
    poses = fit_similarity(upright[still], pixels[:, still])
    shape = apply_affine(np.linalg.inv(poses), pixels)
    neutral = np.median(shape[track.seen], axis=0)
    return FaceSpace(shape, poses, neutral, track.size, metric=False)


def _pixels(size: Sequence[int]) -> np.ndarray:
    return np.array([size[0], size[1], size[0]], dtype=np.float64)


def _check_extent(points: np.ndarray) -> None:
    """Of points (f, n, 3) in pixels."""
    extent = np.ptp(points, axis=1).max(axis=1)  # (f,)
    if not (extent > 1e-6).all():
        raise LandmarkError("All landmarks of a frame lie in one spot; extract the track again.")

"""Posed meshes: the points that they have in a picture, and averages over time."""

from __future__ import annotations

import numpy as np

from ..landmarks.affine import apply_affine
from ..landmarks.camera import FOCAL_LENGTH, project
from ..landmarks.mesh import NUM_VERTICES


def points_of(
    mesh: np.ndarray, transforms: np.ndarray, size: tuple[int, int], *, official: bool = False
) -> np.ndarray:
    """Mesh (f, 478, 3) posed by transforms (f, 4, 4) → points (f, 478, 3) of a track.

    x and y as `camera.project` gives them; z is the depth beyond the middle of the face in the
    unit of x, from which MediaPipe's geometry finds the same mesh and pose again.
    """
    depth = -apply_affine(transforms, mesh)[..., 2]  # (f, 478), the camera looks along -z
    middle = depth[:, :NUM_VERTICES].mean(axis=1, keepdims=True)
    z = (depth / middle - 1) * FOCAL_LENGTH * size[1] / (2 * size[0])
    flat = project(mesh, transforms, size, official=official)
    return np.concatenate([flat, z[..., None]], axis=-1)


def window_mean(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean (f, ...) over the frames within `radius`, fewer at the ends, of values (f, ...)."""
    num_frames = len(values)
    total, count = np.zeros_like(values), np.zeros(num_frames)
    for shift in range(-min(radius, num_frames - 1), min(radius, num_frames - 1) + 1):
        to = slice(max(0, -shift), num_frames - max(0, shift))
        total[to] += values[max(0, shift) : num_frames + min(0, shift)]
        count[to] += 1
    return total / count.reshape(-1, *[1] * (values.ndim - 1))

"""The pinhole camera of MediaPipe's face geometry: metric space ↔ picture (spec 9.4)."""

from __future__ import annotations

import math

import numpy as np

from .affine import apply_affine

FIELD_OF_VIEW = math.radians(63)  # vertical
FOCAL_LENGTH = 1 / math.tan(FIELD_OF_VIEW / 2)  # in half picture heights
OFFICIAL_DEPTH = 10_000 / (10_000 - 1)  # the official matrix is transposed: depth is off by 1e-4


def project(
    mesh: np.ndarray, transforms: np.ndarray, size: tuple[int, int], *, official: bool = False
) -> np.ndarray:
    """Mesh (..., n, 3) in centimetres, posed by transforms (..., 4, 4) → points (..., n, 2).

    Points are in 0..1 of a picture of `size` (width, height), its origin top left. The camera
    looks along -z. `official` reproduces the depth scale of the official code's matrix.
    """
    x, y, z = np.moveaxis(apply_affine(transforms, mesh), -1, 0)
    depth = -z * (OFFICIAL_DEPTH if official else 1)
    aspect = size[0] / size[1]
    u = (FOCAL_LENGTH * x / (depth * aspect) + 1) / 2
    v = (1 - FOCAL_LENGTH * y / depth) / 2
    return np.stack([u, v], axis=-1)

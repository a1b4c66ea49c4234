"""Affine maps between point sets."""

from __future__ import annotations

import numpy as np


def fit_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The affine map (4, 4) that takes points `source` (n, 3) to `target` (n, 3) (spec 9.2).

    Total least squares on normalised coordinates, errors on both sides, which is what the
    official code does; ordinary least squares differs by up to 0.2 pixels on a face.
    """
    from_source, from_target = _normaliser(source), _normaliser(target)
    s, t = apply_affine(from_source, source), apply_affine(from_target, target)
    rows = np.concatenate([s, np.ones((len(s), 1))], axis=1)  # (n, 4)
    system = np.zeros((3, len(s), 13))  # 12 coefficients, then -1 times the target
    for axis in range(3):
        system[axis, :, 4 * axis : 4 * axis + 4] = rows
        system[axis, :, 12] = -t[:, axis]
    _, _, v = np.linalg.svd(system.reshape(-1, 13), full_matrices=True)
    matrix = np.eye(4)
    matrix[:3] = (v[-1, :12] / v[-1, 12]).reshape(3, 4)
    return np.linalg.inv(from_target) @ matrix @ from_source


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., n, 3) through a map (..., 4, 4)."""
    linear, shift = matrix[..., :3, :3], matrix[..., :3, 3]
    return points @ np.swapaxes(linear, -1, -2) + shift[..., None, :]


def _normaliser(points: np.ndarray) -> np.ndarray:
    """The map that centres points and divides them by their root mean square."""
    centre = points.mean(axis=0)
    scale = np.sqrt(np.mean((points - centre) ** 2))
    matrix = np.diag([1 / scale, 1 / scale, 1 / scale, 1.0])
    matrix[:3, 3] = -centre / scale
    return matrix

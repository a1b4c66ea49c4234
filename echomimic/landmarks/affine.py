"""Affine maps between point sets, rotations and similarities among them."""

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


def fit_similarity(
    source: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Rotation, scale and shift (f, 4, 4) that take points (n, 3) closest to each of (f, n, 3).

    Orthogonal Procrustes, with `weights` (n,) of the points where they do not count the same:
    https://en.wikipedia.org/wiki/Kabsch_algorithm.
    """
    weights = np.ones(len(source)) if weights is None else weights
    weights = weights / weights.sum()
    source_centre, target_centres = weights @ source, weights @ targets  # (3,), (f, 3)
    source = source - source_centre
    weighted = source * weights[:, None]
    covariance = np.swapaxes(targets - target_centres[:, None], 1, 2) @ weighted  # (f, 3, 3)
    rotations = nearest_rotation(covariance)
    scales = (rotations * covariance).sum(axis=(1, 2)) / (source * weighted).sum()
    matrices = np.tile(np.eye(4), (len(targets), 1, 1))
    matrices[:, :3, :3] = scales[:, None, None] * rotations
    matrices[:, :3, 3] = target_centres - matrices[:, :3, :3] @ source_centre
    return matrices


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) nearest to any matrices, e.g. to averages of rotations."""
    u, _, v = np.linalg.svd(matrices)
    u[..., 2] *= np.sign(np.linalg.det(u @ v))[..., None]  # a mirror image is no rotation
    return u @ v


def _normaliser(points: np.ndarray) -> np.ndarray:
    """The map that centres points and divides them by their root mean square."""
    centre = points.mean(axis=0)
    scale = np.sqrt(np.mean((points - centre) ** 2))
    matrix = np.diag([1 / scale, 1 / scale, 1 / scale, 1.0])
    matrix[:3, 3] = -centre / scale
    return matrix

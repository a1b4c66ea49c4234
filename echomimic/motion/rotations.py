"""Rotations as vectors (axis times angle) and poses taken apart, for many frames at once."""

from __future__ import annotations

import numpy as np


def rotation_vectors(rotations: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) → vectors (..., 3) in radians, of at most half a turn.

    A matrix that is a rotation only nearly gives the closest one.
    """
    quaternions = _quaternions(rotations)  # (..., 4), real part last
    quaternions = quaternions * np.where(quaternions[..., 3:] < 0, -1, 1)
    axis = quaternions[..., :3]
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., 3:])
    return axis * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) in radians → rotation matrices (..., 3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    cross = cross.reshape(*cross.shape[:-1], 3, 3)
    sine, cosine = np.sinc(angle / np.pi), np.sinc(angle / (2 * np.pi)) ** 2 / 2
    return np.eye(3) + sine * cross + cosine * cross @ cross


def turned_towards(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From rotations `start` a share (...) of the shortest way to `end`, all (..., 3, 3)."""
    way = rotation_vectors(np.swapaxes(start, -1, -2) @ end)
    return start @ rotation_matrices(np.asarray(share)[..., None] * way)


def split_poses(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (..., 4, 4) → scales (...), rotations (..., 3, 3), translations (..., 3)."""
    scales = np.cbrt(np.linalg.det(poses[..., :3, :3]))
    return scales, poses[..., :3, :3] / scales[..., None, None], poses[..., :3, 3]


def join_poses(scales: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """The reverse of `split_poses`."""
    poses = np.zeros((*rotations.shape[:-2], 4, 4))
    poses[..., :3, :3] = np.asarray(scales)[..., None, None] * rotations
    poses[..., :3, 3] = translations
    poses[..., 3, 3] = 1
    return poses


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """The eigenvector of Bar-Itzhack's matrix, which is stable for every angle."""
    r = rotations
    k = np.zeros((*r.shape[:-2], 4, 4))
    k[..., :3, :3] = r + np.swapaxes(r, -1, -2)
    trace = np.trace(r, axis1=-2, axis2=-1)
    k[..., range(3), range(3)] -= trace[..., None]
    k[..., 0, 3] = r[..., 2, 1] - r[..., 1, 2]
    k[..., 1, 3] = r[..., 0, 2] - r[..., 2, 0]
    k[..., 2, 3] = r[..., 1, 0] - r[..., 0, 1]
    k[..., 3, :3] = k[..., :3, 3]
    k[..., 3, 3] = trace
    return np.linalg.eigh(k)[1][..., -1]

"""Distances between two sets of features: Fréchet's, and the unbiased one of few samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import EvaluationError

FEWEST = 2  # samples that have a covariance at all
SUBSETS, SUBSET_SIZE = 100, 1000  # of the kernel distance


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Distance of two Gaussians fitted to features (n, d) and (m, d): 0 for equal sets, no bound.

    |mean - mean'|² + tr S + tr S' - 2 tr (S S')^½ with unbiased covariances, in float64, in the
    squared unit of the features. The last trace is the sum of singular values of A A'^T, where A
    are the centred features over (n - 1)^½: no root of a singular matrix is taken, so it is exact
    for fewer samples than features too. What it measures then is biased upwards all the same.
    Source: Heusel et al. 2017, arXiv 1706.08500. Raises `EvaluationError`.
    """
    a, b = _checked(features, others)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a, b = _deviations(a - mean_a), _deviations(b - mean_b)
    shared = np.linalg.svd(_reduced(a) @ _reduced(b).T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(a).sum() + np.square(b).sum()
    return max(0.0, float(distance - 2 * shared))  # rounding may fall a little below


def kernel_distance(
    features: np.ndarray, others: np.ndarray, *, seed: int = 0, subsets: int = SUBSETS
) -> float:
    """Unbiased squared distance under (x·y / d + 1)³, known as KID; 0 on average for equal sets.

    Without unit, of no bias at few samples, and below zero by chance. Of more than 1,000 samples
    it is the mean over 100 drawn `subsets`. Source: Bińkowski et al. 2018, arXiv 1801.01401.
    Raises `EvaluationError`.
    """
    a, b = _checked(features, others)
    size = min(len(a), len(b), SUBSET_SIZE)
    if max(len(a), len(b)) == size:
        return _mmd(a, b)
    draw = np.random.default_rng(seed)
    drawn = ([draw.choice(len(x), size, replace=False) for x in (a, b)] for _ in range(subsets))
    return float(np.mean([_mmd(a[rows], b[others]) for rows, others in drawn]))


def halves(clips: Sequence[np.ndarray], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) of each clip → those of two halves of the clips, drawn by chance.

    One clip alone is halved in time. The distance of both is the floor: what two sets of the
    same kind have between them. Raises `EvaluationError` if there is nothing to halve.
    """
    if len(clips) == 1:
        middle = len(clips[0]) // 2
        parts = [clips[0][:middle]], [clips[0][middle:]]
    else:
        order = np.random.default_rng(seed).permutation(len(clips))
        middle = len(clips) // 2
        parts = [clips[i] for i in order[:middle]], [clips[i] for i in order[middle:]]
    if not all(sum(map(len, part)) for part in parts):
        raise EvaluationError(
            "Nothing is left for one of the two halves of the real clips; give at least two clips."
        )
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _checked(*sets: np.ndarray) -> list[np.ndarray]:
    arrays = [np.asarray(features, dtype=np.float64) for features in sets]
    shapes = " and ".join(str(array.shape) for array in arrays)
    if any(array.ndim != 2 for array in arrays) or len({a.shape[1] for a in arrays}) != 1:
        raise EvaluationError(
            f"Features of the shapes {shapes} cannot be compared; give two sets "
            "(samples, features) of the same network."
        )
    fewest = min(map(len, arrays))
    if fewest < FEWEST:
        raise EvaluationError(
            f"{'1 sample has' if fewest else 'No samples have'} no covariance, and so no distance; "
            f"give at least {FEWEST} of each kind, better more than {arrays[0].shape[1]}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise EvaluationError("Some features are not numbers; compute them again in float32.")
    return arrays


def _deviations(centred: np.ndarray) -> np.ndarray:
    return centred / np.sqrt(len(centred) - 1)


def _reduced(a: np.ndarray) -> np.ndarray:
    """At most d rows with the same covariance."""
    return np.linalg.qr(a, mode="r") if len(a) > a.shape[1] else a


def _mmd(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        value = x @ y.T / x.shape[1] + 1
        return value * value * value  # a power takes ten times as long

    def of_pairs(x: np.ndarray) -> float:
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return float(of_pairs(a) + of_pairs(b) - 2 * kernel(a, b).mean())

"""How far figures would move with other clips of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .frechet import frechet_distance, kernel_distance

RESAMPLES = 1000
DISTANCE_RESAMPLES = 100  # each takes a decomposition
WIDE, WIDE_RESAMPLES = 512, 20  # features, above which that takes seconds
LEVEL = 95  # per cent
DEVIATIONS = 1.96  # of a normal distribution, that hold as much

Interval = tuple[float, float]
Distance = Callable[[np.ndarray, np.ndarray], float]  # of features (n, d) and (m, d)


def mean_interval(values: Sequence[float], *, seed: int = 0) -> Interval | None:
    """Where the mean over clips lies in 95 % of 1,000 draws of clips; None for a single clip."""
    if len(values) < 2:
        return None
    draw = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = np.asarray(values, dtype=np.float64)[draw].mean(axis=1)
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def difference_interval(
    values: Sequence[float], others: Sequence[float], *, seed: int = 0
) -> Interval | None:
    """The same for how much two methods differ on the same clips: they do if 0 is outside."""
    return mean_interval(np.subtract(values, others), seed=seed)


def distance_interval(
    features: Sequence[np.ndarray], real: Sequence[np.ndarray], *, seed: int = 0
) -> Interval | None:
    """The Fréchet distance of features (n, d) of each clip, give or take 1.96 deviations.

    The deviation is that of 100 draws of clips (20 of wide features, FID's), the same of both
    sides; percentiles would be shifted, as a draw has fewer distinct samples and so a larger
    distance. None for one clip.
    """
    if len(features) < 2:
        return None
    middle = frechet_distance(np.concatenate(features), np.concatenate(real))
    reach = _reach(features, real, frechet_distance, seed)
    return max(0.0, middle - reach), middle + reach


def kernel_interval(
    middle: float, features: Sequence[np.ndarray], real: Sequence[np.ndarray], *, seed: int = 0
) -> Interval | None:
    """The same around a kernel distance, which may lie below 0. Of many samples each draw takes
    one subset, so its deviation is rather too large."""
    if len(features) < 2:
        return None
    reach = _reach(features, real, partial(kernel_distance, subsets=1), seed)
    return middle - reach, middle + reach


def _reach(
    features: Sequence[np.ndarray], real: Sequence[np.ndarray], distance: Distance, seed: int
) -> float:
    """1.96 deviations of the distance over draws of clips, the same of both sides."""
    source = np.random.default_rng(seed)
    values = []
    for _ in range(WIDE_RESAMPLES if features[0].shape[1] > WIDE else DISTANCE_RESAMPLES):
        chosen = source.integers(0, len(features), len(features))
        sets = ([side[i] for i in chosen] for side in (features, real))
        values.append(distance(*(np.concatenate(part) for part in sets)))
    return DEVIATIONS * float(np.std(values, ddof=1))

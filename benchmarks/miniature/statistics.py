"""Means with intervals, over films or over seeds, and what a difference between two says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from echomimic.evaluation.bootstrap import DEVIATIONS, DISTANCE_RESAMPLES, mean_interval
from echomimic.evaluation.frechet import frechet_distance

# Of Student's distribution: deviations that hold 95 %, by degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
HIGHER, LOWER = "higher", "lower"  # what is better
SHOWN, REVERSED, OPEN = "shown", "reversed", "open"

Rows = Sequence[np.ndarray]  # features (n, d) of each film


@dataclass(frozen=True)
class Estimate:
    """A mean and where it lies in 95 of 100 cases; None: not known."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0

    def described(self) -> dict[str, Any]:
        return {
            k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in asdict(self).items()
        }


def over_films(values: Sequence[float | None]) -> Estimate:
    """Bootstrap over films (`evaluation.bootstrap`); those without a figure do not count."""
    known = [value for value in values if value is not None]
    if not known:
        return Estimate(None)
    low, high = mean_interval(known) or (None, None)
    return Estimate(float(np.mean(known)), low, high, len(known))


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """Student's interval, as seeds are few and their figures means of films."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return Estimate(None)
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(mean, count=1)
    wide = STUDENT[min(len(known) - 2, len(STUDENT) - 1)]
    reach = wide * float(known.std(ddof=1)) / len(known) ** 0.5
    return Estimate(mean, mean - reach, mean + reach, len(known))


def differences(
    values: Sequence[float | None], others: Sequence[float | None],
    estimate: Callable[[Sequence[float | None]], Estimate] = over_films,
) -> Estimate:  # fmt: skip
    """How much the first are above the others, pair by pair."""
    pairs = zip(values, others, strict=True)
    return estimate([None if a is None or b is None else a - b for a, b in pairs])


def distance_difference(rows: Rows, others: Rows, real: Rows) -> Estimate:
    """How much further from the real films the first are than the others, by the same draws.

    As `evaluation.bootstrap.distance_interval`: give or take 1.96 deviations of 100 draws.
    """

    def difference(chosen: Sequence[int]) -> float:
        truth = np.concatenate([real[i] for i in chosen])
        made = (np.concatenate([side[i] for i in chosen]) for side in (rows, others))
        return float(np.subtract(*(frechet_distance(part, truth) for part in made)))

    middle = difference(range(len(real)))
    if len(real) < 2:
        return Estimate(middle, count=len(real))
    source = np.random.default_rng(0)
    drawn = [difference(source.integers(0, len(real), len(real)))
             for _ in range(DISTANCE_RESAMPLES)]  # fmt: skip
    reach = DEVIATIONS * float(np.std(drawn, ddof=1))
    return Estimate(middle, middle - reach, middle + reach, len(real))


def verdict(difference: Estimate, better: str) -> str:
    """Whether a difference is an advantage (`SHOWN`), the opposite, or may be chance (`OPEN`)."""
    if difference.low is None or difference.high is None:
        return OPEN
    if difference.low <= 0 <= difference.high:
        return OPEN
    return SHOWN if (difference.low > 0) == (better == HIGHER) else REVERSED

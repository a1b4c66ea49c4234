"""Figures of all pairs → one row per measure, with what it may be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import EvaluationError
from .bootstrap import Distance, Interval, distance_interval, kernel_interval, mean_interval
from .frechet import frechet_distance, halves, kernel_distance
from .measure import REAL, Measured
from .table import KERNEL, MEASURES, Measure

FEW = 2000  # samples, below which the kernel distance is given too


@dataclass(frozen=True)
class Row:
    """A measure of all clips. What is not known is None, and `note` says why."""

    name: str
    title: str
    unit: str
    better: str
    definition: str
    value: float | None = None
    interval: Interval | None = None  # 95 %, over clips
    median: float | None = None
    real: float | None = None  # the same of the real ones of these clips alone
    floor: float | None = None  # a distance between two halves of the real clips
    clips: int = 0
    samples: int = 0  # frames or clips of frames, on either side
    note: str = ""

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def summarise(
    measured: Sequence[Measured], coefficients: tuple[np.ndarray, np.ndarray] | None = None
) -> list[Row]:
    """A row for every measure, those that could not be computed included.

    `coefficients`, generated and real (n, d), are the expressions of which E-FID is the distance.
    """
    rows = []
    for measure in MEASURES:
        if measure.name == "efid":
            rows.append(_expressions(measure, coefficients))
        elif measure.kind == "distance":
            rows += _distances(measure, measured)
        else:
            rows.append(_mean(measure, measured))
    return rows


def _row(measure: Measure, **values: Any) -> Row:
    return Row(
        measure.name, measure.title, measure.unit, measure.better, measure.definition, **values
    )


def _absent(measure: Measure, measured: Sequence[Measured] = ()) -> Row:
    """What no clip has: its network was not given, or the clips are to blame, as the first is."""
    reasons = [one.missing[measure.name] for one in measured if measure.name in one.missing]
    if not reasons:
        return _row(measure, note=f"not computed ({measure.needs} absent)")
    first = f" (the first of {len(reasons)} clips)" if len(reasons) > 1 else ""
    return _row(measure, note=f"not computed: {reasons[0]}{first}")


def _mean(measure: Measure, measured: Sequence[Measured]) -> Row:
    having = [one for one in measured if measure.name in one.figures]
    if not having:
        return _absent(measure, measured)
    values = [one.figures[measure.name] for one in having]
    real = [one.figures[REAL + measure.name] for one in having
            if REAL + measure.name in one.figures]  # fmt: skip
    notes = [f"of {len(having)} of {len(measured)} clips"] if len(having) < len(measured) else []
    notes += [f"real clips: {len(real)} of them"] if 0 < len(real) < len(having) else []
    return _row(
        measure,
        value=float(np.mean(values)),
        interval=mean_interval(values),
        median=float(np.median(values)),
        real=float(np.mean(real)) if real else None,
        clips=len(values),
        samples=sum(one.num_frames for one in having),
        note="; ".join(notes),
    )


def _distances(measure: Measure, measured: Sequence[Measured]) -> list[Row]:
    """The Fréchet distance, and of FID's few samples the kernel distance."""
    having = [one for one in measured if measure.name in one.features]
    if not having:
        return [_absent(measure, measured)]
    sides = [
        [_columns(one.features[name], measure) for one in having]
        for name in (measure.name, f"{measure.name} real")
    ]
    rows = [_distance(measure, *sides)]
    if measure.name == "fid" and rows[0].samples < FEW:
        rows.append(_kernel(*sides))
    return rows


def _distance(measure: Measure, made: list[np.ndarray], real: list[np.ndarray]) -> Row:
    samples, width = sum(map(len, made)), made[0].shape[1]
    counts = {"clips": len(made), "samples": samples}
    try:
        return _row(
            measure,
            value=frechet_distance(np.concatenate(made), np.concatenate(real)),
            interval=distance_interval(made, real),
            floor=_floor(real),
            note="" if samples > width else
            f"{samples} samples of {width} features: biased upwards, compare at equal numbers only",
            **counts,
        )  # fmt: skip
    except EvaluationError as error:
        return _row(measure, note=f"not computed: {error}", **counts)


def _floor(real: list[np.ndarray], distance: Distance = frechet_distance) -> float | None:
    try:
        return distance(*halves(real))
    except EvaluationError:  # too few for two halves
        return None


def _kernel(made: list[np.ndarray], real: list[np.ndarray]) -> Row:
    counts = {"clips": len(made), "samples": sum(map(len, made))}
    try:
        value = kernel_distance(np.concatenate(made), np.concatenate(real))
        return _row(
            KERNEL,
            value=value,
            interval=kernel_interval(value, made, real),
            floor=_floor(real, kernel_distance),
            **counts,
        )
    except EvaluationError as error:
        return _row(KERNEL, note=f"not computed: {error}", **counts)


def _expressions(measure: Measure, given: tuple[np.ndarray, np.ndarray] | None) -> Row:
    """E-FID: the Fréchet distance of expression coefficients of a 3D face model, generated and
    real (n, d), in the squared unit of the coefficients; 0 for equal sets, no bound.

    Source: Tian et al. 2024 (EMO), arXiv 2402.17485, where the model is that of Deng et al. 2019,
    arXiv 1903.08527. Nobody published code or sample counts, so figures of two papers do not
    compare. The floor is of the first and the second half of the real frames.
    """
    if given is None:
        return _absent(measure)
    made, real = given
    try:
        value = frechet_distance(made, real)
    except EvaluationError as error:
        return _row(measure, note=f"not computed: {error}", samples=len(made))
    return _row(
        measure, value=value, floor=_floor([real]), samples=len(made),
        note="no interval: the coefficients do not say which clips they are of",
    )  # fmt: skip


def _columns(features: np.ndarray, measure: Measure) -> np.ndarray:
    return features if measure.columns is None else features[:, measure.columns]

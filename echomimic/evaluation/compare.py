"""Two evaluations of the same clips: which measures tell the methods apart."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EvaluationError
from .bootstrap import Interval, difference_interval
from .evaluate import CONTENTS, Evaluation
from .table import MEASURES

SAME = ("definitions", "fps", "seconds", "border_every", "landmarks", "features", "weights")


@dataclass(frozen=True)
class Difference:
    """How much higher a figure is here than in the other evaluation, on the clips of both."""

    title: str
    value: float
    interval: Interval | None  # 95 %, over clips; None: there is one clip
    clips: int

    @property
    def differs(self) -> bool:
        """Whether chance explains it in less than one of twenty cases."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    def figures(self) -> dict[str, Any]:
        return {**asdict(self), "differs": self.differs}


def read_report(path: Path) -> dict[str, Any]:
    """The figures of an evaluation that was written before; raises `EvaluationError`."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        figures["protocol"]["definitions"], figures["clips"].items()
    except (
        OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError,
    ) as error:  # fmt: skip
        raise EvaluationError(
            f"{path} is no report of an evaluation; give a report.json of `echomimic evaluate`."
        ) from error
    return figures


def compare(evaluation: Evaluation, other: dict[str, Any]) -> list[Difference]:
    """Differences of all figures that are means over clips, paired by the clips' names.

    Raises `EvaluationError` where both were not measured in the same way, of the same real clips
    and in the same size, or share no clip.
    """
    ours = json.loads(json.dumps(evaluation.protocol))  # as it would be read again
    unlike = [name for name in SAME if ours.get(name) != other["protocol"].get(name)]
    if unlike:
        raise EvaluationError(
            f"The evaluations differ in {', '.join(unlike)}, so their figures do not compare; "
            "measure both methods with the same settings and weights."
        )
    shared = sorted(evaluation.measured.keys() & other["clips"].keys())
    if not shared:
        raise EvaluationError("The evaluations share no clip; name the same clips alike.")
    _check_clips(evaluation, other, shared)
    found = (_difference(measure.name, measure.title, evaluation, other, shared)
             for measure in MEASURES if measure.kind == "mean")  # fmt: skip
    return [difference for difference in found if difference is not None]


def _check_clips(evaluation: Evaluation, other: dict[str, Any], shared: list[str]) -> None:
    """What has one name must be of one real file, and of one size."""
    clips = evaluation.figures()["clips"]
    kinds = ((CONTENTS[0], "other real clips"), ("size", "pictures of another size"))
    for name, kind in kinds:
        unlike = [clip for clip in shared if clips[clip][name] != other["clips"][clip].get(name)]
        if unlike:
            raise EvaluationError(
                f"The other evaluation is of {kind}, {unlike[0]} for one ({len(unlike)} of "
                f"{len(shared)}); measure both methods on the same clips in one size."
            )


def _difference(
    name: str, title: str, evaluation: Evaluation, other: dict[str, Any], shared: list[str]
) -> Difference | None:
    both = (
        (evaluation.measured[clip].figures.get(name), other["clips"][clip]["figures"].get(name))
        for clip in shared
    )
    pairs = [pair for pair in both if None not in pair]
    if not pairs:
        return None
    here, there = np.array(pairs).T
    return Difference(
        title, float((here - there).mean()), difference_interval(here, there), len(pairs)
    )

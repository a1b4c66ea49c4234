"""Verdicts in words, chosen by the numbers: nobody writes what a claim came to by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .statistics import OPEN, REVERSED, SHOWN

HEADINGS = {SHOWN: "Shows", REVERSED: "The opposite shows", OPEN: "Not decided"}


def counted(verdicts: Sequence[str]) -> str:
    """A claim of which several figures speak, as one sentence."""
    total = len(verdicts)
    shown, reversed_ = verdicts.count(SHOWN), verdicts.count(REVERSED)
    if not total:
        return "**Not measured.**"
    if shown == total:
        return f"**The claim shows**, in {'all ' if total > 1 else ''}{_figures(total)}."
    if not shown and not reversed_:
        return f"**The claim does not show**: no difference in {_figures(total)} excludes 0."
    if not shown:
        return (
            f"**The claim does not show**: {reversed_} of {_figures(total)} "
            f"{'says' if reversed_ == 1 else 'say'} the opposite, the others do not exclude 0."
        )
    if not reversed_:
        return (
            f"**The claim shows in part**: in {shown} of {_figures(total)}; the others do not "
            "exclude 0."
        )
    return (
        f"**The claim shows in part only**: {shown} of {_figures(total)} agree, {reversed_} "
        f"{'says' if reversed_ == 1 else 'say'} the opposite."
    )


def no_worse(verdicts: Sequence[str]) -> str:
    """A claim of equality: only the opposite speaks against it."""
    total, shown, reversed_ = len(verdicts), verdicts.count(SHOWN), verdicts.count(REVERSED)
    if not total:
        return "**Not measured.**"
    ahead = f", and is ahead in {shown}" if shown else ""
    if not reversed_:
        return (
            f"**Nothing speaks against the claim**: in none of {_figures(total)} is the joint "
            f"model worse by more than chance{ahead}."
        )
    return (
        f"**The claim does not hold here**: the joint model is worse in {reversed_} of "
        f"{_figures(total)}{ahead}."
    )


def lists(claims: Sequence[dict[str, Any]]) -> list[str]:
    """Which differences say what, a line of Markdown for each verdict."""
    lines = []
    for verdict in (SHOWN, REVERSED, OPEN):
        said = [difference_text(claim) for claim in claims if claim["verdict"] == verdict]
        if said:
            lines.append(f"- {HEADINGS[verdict]}: {'; '.join(said)}.")
    return lines


def difference_text(claim: dict[str, Any]) -> str:
    return (
        f"{claim['measure']}, {claim['first']} less {claim['second']} "
        f"{estimate_text(claim['difference'], signed=True)}"
    )


def estimate_text(found: dict[str, Any], *, signed: bool = False) -> str:
    """A mean with its interval."""
    if found["mean"] is None:
        return "–"
    mean = number(found["mean"], signed=signed)
    if found["low"] is None:
        return mean
    return f"{mean} ({number(found['low'])} to {number(found['high'])})"


def number(value: float | None, *, signed: bool = False) -> str:
    """Three digits, or one behind the point; a dash for what is not known."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 or size == 0 else 4
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.replace("-", "−")


def _figures(total: int) -> str:
    return f"{total} figure{'s' if total != 1 else ''}"


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """A table of Markdown."""
    return [
        f"| {' | '.join(heading)} |",
        f"|{'---|' * len(heading)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]

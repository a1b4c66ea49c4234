"""An evaluation for people, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .compare import Difference
from .evaluate import Evaluation
from .summary import Row

INCOMPARABLE = (
    "Figures depend on clips, their number, crop, frame rate and weights; those of other reports "
    "are comparable only where all of these are the same. A distance below its floor means nothing."
)


def report_text(evaluation: Evaluation, differences: Sequence[Difference] = ()) -> str:
    """Table, differences from another evaluation, protocol, what was left out, and notes."""
    known = [row for row in evaluation.rows if row.value is not None]
    unknown = [row for row in evaluation.rows if row.value is None]
    return "\n\n".join(
        part for part in (
            "# Evaluation",
            INCOMPARABLE,
            _table(known),
            _against(differences),
            _list("Not computed", {row.title: row.note for row in unknown}),
            _list("Definitions", {row.title: row.definition for row in known}),
            _list("Protocol", _flat(evaluation.protocol)),
            _list("Left out", evaluation.left_out),
            _list("Notes", {name: " ".join(one.notes) for name, one in evaluation.measured.items()
                            if one.notes}),
        ) if part
    ) + "\n"  # fmt: skip


def _table(rows: list[Row]) -> str:
    lines = [
        "| measure | value | 95 % | median | real clips | floor | better | clips | samples |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, rows)])


def _against(differences: Sequence[Difference]) -> str:
    """Differences that are marked are more than chance."""
    if not differences:
        return ""
    lines = [
        "## Against the other evaluation",
        "",
        "| measure | this less the other | 95 % | clips | |",
        "|---|---|---|---|---|",
    ]
    for one in differences:
        between = "" if one.interval is None else " to ".join(map(_number, one.interval))
        mark = "differs" if one.differs else ""
        lines.append(f"| {one.title} | {_number(one.value)} | {between} | {one.clips} | {mark} |")
    return "\n".join(lines)


def _line(row: Row) -> str:
    between = "" if row.interval is None else " to ".join(map(_number, row.interval))
    cells = [
        row.title,
        f"{_number(row.value)} {row.unit}".strip() + (f" ({row.note})" if row.note else ""),
        between,
        *(_number(value) for value in (row.median, row.real, row.floor)),
        row.better,
        str(row.clips or ""),
        str(row.samples),
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _list(title: str, entries: dict[str, str]) -> str:
    if not entries:
        return ""
    return f"## {title}\n\n" + "\n".join(f"- {name}: {said}" for name, said in entries.items())


def _flat(protocol: dict) -> dict[str, str]:
    """Nested values in one line each."""
    lines = {}
    for name, value in protocol.items():
        if isinstance(value, dict):
            lines |= {f"{name}, {inner}": _said(said) for inner, said in value.items()}
        else:
            lines[name] = _said(value)
    return lines


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {said}" for name, said in value.items())
    return str(value)

"""The figures of `quality` as a table, beside what a model must reach and what is aimed at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .quality import MODES, Figures

MOVING = ("SSIM, landmarks", "SSIM, audio + landmarks", "SSIM when moving, audio")
STILL = "SSIM of the still portrait, landmarks"


@dataclass(frozen=True)
class Row:
    """A measure: what it is called, what was measured, and what was wanted."""

    title: str
    value: str
    must: str
    aim: str
    holds: bool
    reaches: bool


def rows(figures: Figures) -> list[Row]:
    """Every measure that has a bound."""
    return [
        _floors("mouth correlation, audio only: mean (lowest)", figures.values["mouth r, audio"],
                (0.80, 0.65), (0.92, 0.85)),
        _number("the same against the wrong voice, mean absolute", figures.mean("wrong voice"),
                below(0.2), below(0.15)),
        _number("mouth correlation, all landmarks", figures.mean("mouth r, landmarks"),
                above(0.93), above(0.96)),
        *(_number(f"mouth amplitude relative to truth, {mode}",
                  figures.mean(f"mouth amplitude, {mode}"),
                  between(0.7, 1.3), between(0.85, 1.15)) for mode in MODES),
        *(_number(f"{part} colour error, median over all", _of_all(figures, f"{part} error"),
                  below(7), below(3)) for part in ("skin", "hair")),
        _number(f"SSIM, all landmarks, moving heads (still portrait {figures.mean(STILL):.3f})",
                figures.mean(MOVING[0]), above(max(0.80, figures.mean(STILL) + 0.08)), above(0.92)),
        _order(figures),
        *(_number(f"jitter relative to truth, {mode}", figures.mean(f"jitter, {mode}"),
                  below(4), below(2)) for mode in MODES),
        _number("VAE round trip, dB", _psnr(figures, "squared error of the VAE"),
                above(31), above(36)),
        _number("VAE round trip, eyes and mouth, dB",
                _psnr(figures, "squared error of the VAE, eyes and mouth"), above(25), above(32)),
        _number("first clip of 3 s, networks loaded on the way, s", figures.mean("seconds"),
                below(40), below(20)),
    ]  # fmt: skip


def table(figures: Figures) -> str:
    """Measures with bounds, then the others, as Markdown."""
    lines = ["| measure | value | must | aim |", "|---|---|---|---|"]
    for row in rows(figures):
        marks = ["**missed** " * (not row.holds), "" if row.reaches else "not reached: "]
        lines.append(f"| {row.title} | {row.value} | {marks[0]}{row.must} | {marks[1]}{row.aim} |")
    lines += ["", "| beside it | mean | lowest | highest |", "|---|---|---|---|"]
    for name, values in figures.values.items():
        if name.startswith(("mouth", "SSIM", "head")):
            spread = f"{np.mean(values):.3f} | {min(values):.3f} | {max(values):.3f}"
            lines.append(f"| {name} | {spread} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Bound:
    """What a figure is held against."""

    text: str
    holds: Callable[[float], bool]


def above(least: float) -> Bound:
    return Bound(f"≥ {least:.3g}", lambda value: value >= least)


def below(most: float) -> Bound:
    return Bound(f"< {most:.3g}", lambda value: value < most)


def between(least: float, most: float) -> Bound:
    return Bound(f"{least}–{most}", lambda value: least <= value <= most)


def _number(title: str, value: float, must: Bound, aim: Bound) -> Row:
    return Row(title, f"{value:.3g}", must.text, aim.text, must.holds(value), aim.holds(value))


def _floors(
    title: str, values: Iterable[float], must: tuple[float, float], aim: tuple[float, float]
) -> Row:
    """A mean and a lowest value, each with a floor."""
    mean, lowest = float(np.mean(values)), float(min(values))

    def holds(floors: tuple[float, float]) -> bool:
        return mean >= floors[0] and lowest >= floors[1]

    texts = (f"≥ {mean_floor} ({floor})" for mean_floor, floor in (must, aim))
    return Row(title, f"{mean:.3f} ({lowest:.3f})", *texts, holds(must), holds(aim))


def _order(figures: Figures) -> Row:
    """Landmarks before both before the voice alone, against the same moving clips."""
    clips = np.array([figures.values[name] for name in MOVING])  # (3, clips)
    means, ordered = clips.mean(axis=1), (clips[0] > clips[1]) & (clips[1] > clips[2])
    value = " > ".join(f"{mean:.3f}" for mean in means) + f"; {ordered.mean():.0%} of clips"
    return Row(
        "SSIM landmarks > audio + landmarks > audio, moving heads", value,
        "mean over clips", "most clips",
        bool(means[0] > means[1] > means[2]), bool(ordered.mean() > 0.5),
    )  # fmt: skip


def _of_all(figures: Figures, name: str) -> float:
    return float(np.median([v for mode in MODES for v in figures.values[f"{name}, {mode}"]]))


def _psnr(figures: Figures, name: str) -> float:
    return -10 * math.log10(figures.mean(name))

"""A comparison as a picture: curves over time, and the frames that differ most."""

from __future__ import annotations

import numpy as np

from ..media.chart import LABEL, TICK, Box, Chart, Panel, span, split
from .clip_comparison import ClipComparison

COLOURS = {"SSIM": "#2e7d6b", "PSNR": "#6a5acd", "LPIPS": "#d1495b", "landmark error": "#c77700"}
PARTS = {"face": 0, "mouth": 6, "eyes": 2}  # pixels of the dashes of their curves
DIFFERENCE = 4  # times as bright as it is
LEFT, TOP, RIGHT, BOTTOM, GAP = 52, 24, 24, 40, 40  # pixels for what stands beside the panels

Curve = tuple[str, str, dict[str, np.ndarray]]  # name, unit, values (f,) of each part


def draw_comparison(found: ClipComparison, size: tuple[int, int] = (1024, 768)) -> np.ndarray:
    """The plot, uint8 (H, W, 3)."""
    chart, (width, height), curves = Chart(size), size, _curves(found)
    rows = split(TOP, height - BOTTOM, (len(curves), *[1] * len(curves)), GAP)
    columns = split(LEFT, width - RIGHT, (1, 1, 1), LEFT // 2)
    for (left, right), (title, picture) in zip(columns, _pictures(found), strict=True):
        chart.picture((left, rows[0][0], right, rows[0][1]), picture, title)
    for (top, bottom), curve in zip(rows[1:], curves, strict=True):
        below = bottom == rows[-1][1]
        _draw(chart, (LEFT, top, width - RIGHT, bottom), found, curve, below=below)
    return chart.pixels()


def _curves(found: ClipComparison) -> list[Curve]:
    curves = [("SSIM", "", {"": found.ssim}), ("PSNR", "dB", {"": found.psnr})]
    if found.lpips is not None:
        curves.append(("LPIPS", "", {"": found.lpips}))
    if found.landmarks:
        curves.append(("landmark error", "eye distances", found.landmarks))
    return curves


def _pictures(found: ClipComparison) -> list[tuple[str, np.ndarray]]:
    ours, theirs = found.worst
    difference = np.abs(ours.astype(int) - theirs).max(axis=-1, keepdims=True) * DIFFERENCE
    shown = np.repeat(difference.clip(max=255).astype(np.uint8), 3, axis=-1)
    return [
        (f"clip, frame {found.worst_frame}", ours),
        ("reference", theirs),
        (f"difference, {DIFFERENCE} times", shown),
    ]


def _draw(chart: Chart, box: Box, found: ClipComparison, curve: Curve, *, below: bool) -> None:
    name, unit, parts = curve
    places = np.arange(found.num_frames) / (found.fps or 1)
    panel = Panel(chart, box, span(places), span(*parts.values()))
    panel.upright(places[found.worst_frame], dash=4)
    for part, values in parts.items():
        panel.line(places, values, COLOURS[name], dash=PARTS.get(part, 0))
        if found.num_frames == 1:
            panel.dots(places, values, COLOURS[name])
    time = "frame" if found.fps is None else "seconds"
    panel.frame(below=time if below else "")
    mean = np.nanmean(next(iter(parts.values())))
    chart.text(box[0], box[1] - 4, f"{name} {mean:.4g} {unit}".strip(), LABEL, "ls")
    if len(parts) > 1:
        _draw_legend(chart, box, list(parts), COLOURS[name])


def _draw_legend(chart: Chart, box: Box, parts: list[str], colour: str) -> None:
    """Above the right end of the box."""
    for number, part in enumerate(reversed(parts)):
        right, middle = box[2] - 75 * number, box[1] - 8
        chart.text(right, middle, part, TICK, "rm")
        sample = Panel(chart, (right - 64, middle - 1, right - 36, middle + 1), (0, 1), (0, 1))
        sample.line(np.array([0, 1]), np.full(2, 0.5), colour, dash=PARTS.get(part, 0))

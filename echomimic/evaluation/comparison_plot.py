"""A comparison as a picture: curves over time, and the frames that differ most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..report.plot import blank_figure
from .clip_comparison import ClipComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"SSIM": "#2e7d6b", "PSNR": "#6a5acd", "LPIPS": "#d1495b", "landmark error": "#c77700"}
PARTS = {"face": "-", "mouth": "--", "eyes": ":"}  # how their curves are drawn
DIFFERENCE = 4  # times as bright as it is


def draw_comparison(found: ClipComparison, size: tuple[int, int] = (1024, 768)) -> np.ndarray:
    """The plot, uint8 (H, W, 3); raises `MediaError` without matplotlib."""
    figure, canvas = blank_figure(size)
    curves = [("SSIM", "", {"": found.ssim}), ("PSNR", "dB", {"": found.psnr})]
    if found.lpips is not None:
        curves.append(("LPIPS", "", {"": found.lpips}))
    if found.landmarks:
        curves.append(("landmark error", "eye distances", found.landmarks))
    rows = 1 + len(curves)
    grid = figure.add_gridspec(rows, 3, hspace=0.7, height_ratios=(len(curves), *[1] * len(curves)))
    for column, (title, picture) in enumerate(_pictures(found)):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    for row, curve in enumerate(curves, start=1):
        _draw(figure.add_subplot(grid[row, :]), found, *curve)
    figure.axes[-1].set_xlabel("frame" if found.fps is None else "seconds")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _pictures(found: ClipComparison) -> list[tuple[str, np.ndarray]]:
    ours, theirs = found.worst
    difference = np.abs(ours.astype(int) - theirs).max(axis=-1, keepdims=True) * DIFFERENCE
    shown = np.repeat(difference.clip(max=255).astype(np.uint8), 3, axis=-1)
    return [
        (f"clip, frame {found.worst_frame}", ours),
        ("reference", theirs),
        (f"difference, {DIFFERENCE} times", shown),
    ]


def _draw(
    axes: Axes, found: ClipComparison, name: str, unit: str, curves: dict[str, np.ndarray]
) -> None:
    places = np.arange(found.num_frames) / (found.fps or 1)
    marker = "." if found.num_frames == 1 else None
    for part, curve in curves.items():
        axes.plot(places, curve, PARTS.get(part, "-"), color=COLOURS[name], linewidth=1.3,
                  label=part, marker=marker)  # fmt: skip
    if len(curves) > 1:
        axes.legend(fontsize=7, ncols=len(curves), frameon=False, loc="lower right",
                    bbox_to_anchor=(1, 0.95))  # fmt: skip
    mean = np.nanmean(next(iter(curves.values())))
    axes.set_title(f"{name} {mean:.4g} {unit}".strip(), fontsize=9)
    axes.axvline(places[found.worst_frame], color="#999", linewidth=0.8, linestyle="--")
    axes.tick_params(labelsize=8)
    axes.margins(x=0.01)

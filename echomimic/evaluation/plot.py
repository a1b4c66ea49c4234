"""An evaluation as a picture: each clip of every measure, beside the real ones and the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError
from .evaluate import Evaluation
from .measure import REAL, Measured
from .summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
COLUMNS = 4
CELL = (300, 220)  # pixels, width and height
MADE, TRUE = "#d1495b", "#2e7d6b"


def draw_evaluation(evaluation: Evaluation) -> np.ndarray:
    """Every measure that has a value, uint8 (H, W, 3); raises `MediaError` without matplotlib.

    Points are clips (red generated, green real), lines their means with the 95 % interval; of
    distances, bars are the value and the floor.
    """
    rows = [row for row in evaluation.rows if row.value is not None]
    lines = -(-len(rows) // COLUMNS)
    figure, canvas = blank_figure((COLUMNS * CELL[0], lines * CELL[1]))
    figure.subplots_adjust(top=1 - 0.15 / lines, bottom=0.12 / lines)
    grid = figure.add_gridspec(lines, COLUMNS, hspace=0.5, wspace=0.4)
    for number, row in enumerate(rows):
        axes = figure.add_subplot(grid[number // COLUMNS, number % COLUMNS])
        _draw(axes, row, [*evaluation.measured.values()])
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def blank_figure(size: tuple[int, int]) -> tuple[Figure, Any]:
    """A figure of that many pixels and what draws it; raises `MediaError` without matplotlib.

    Not for ComfyUI's process: matplotlib runs programs when it looks for fonts (`media.chart`).
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MediaError(
            "The plot needs matplotlib, which comes with mediapipe; run "
            "`pip install mediapipe` or `pip install matplotlib`."
        ) from error
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
    figure.subplots_adjust(left=0.07, right=0.95, top=0.94, bottom=0.07)
    return figure, FigureCanvasAgg(figure)


def _draw(axes: Axes, row: Row, measured: list[Measured]) -> None:
    points = [_values(measured, row.name), _values(measured, REAL + row.name)]
    if len(points[0]):
        other = "real" if len(points[1]) else ""
        for place, colour, values in zip((0, 1), (MADE, TRUE), points, strict=True):
            spread = 0.2 if len(values) > 1 else 0
            places = place + np.linspace(-spread, spread, len(values))
            axes.scatter(places, values, s=20, color=colour, linewidth=0, zorder=3)
    else:
        other = "" if row.floor is None else "floor"
        axes.bar([0, 1], [row.value, row.floor or 0.0], width=0.5, color=[MADE, TRUE])
    low, high = row.interval or (row.value, row.value)
    reach = [[max(0, row.value - low)], [max(0, high - row.value)]]
    axes.errorbar([0], [row.value], reach, color="#222", capsize=6, marker="_", markersize=18)
    better = {"higher": "↑", "lower": "↓"}.get(row.better, f"→ {row.better}")
    axes.set_title(f"{row.title} {better}", fontsize=9)
    axes.set(xlim=(-0.6, 1.6), ylabel=row.unit)
    axes.set_xticks([0, 1], ["generated", other], fontsize=8)
    axes.tick_params(axis="y", labelsize=8)


def _values(measured: list[Measured], name: str) -> np.ndarray:
    return np.array([one.figures[name] for one in measured if name in one.figures])

"""The report as a picture: curves over time, and the correlation at every lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError
from .measures import QUIETEST
from .motion_report import MotionReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
VOICE, MOUTH, EYES, ROUGH = "#b8c4d6", "#d1495b", "#2e7d6b", "#6a5acd"


def draw_report(report: MotionReport, size: tuple[int, int] = (1024, 768)) -> np.ndarray:
    """The plot, uint8 (H, W, 3); raises `MediaError` without matplotlib."""
    figure, canvas = blank_figure(size)
    has_voice = report.correlations is not None
    columns = (4, 1) if has_voice else (1,)
    grid = figure.add_gridspec(
        3, len(columns), hspace=0.55, wspace=0.3, height_ratios=(3, 2, 2), width_ratios=columns
    )
    mouth = figure.add_subplot(grid[0, 0])
    _draw_mouth(mouth, report)
    if has_voice:
        _draw_lags(figure.add_subplot(grid[0, 1]), report)
    _draw_eyes(figure.add_subplot(grid[1, 0], sharex=mouth), report)
    _draw_roughness(figure.add_subplot(grid[2, 0], sharex=mouth), report)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def blank_figure(size: tuple[int, int]) -> tuple[Figure, Any]:
    """A figure of that many pixels and what draws it; raises `MediaError` without matplotlib."""
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


def _draw_mouth(axes: Axes, report: MotionReport) -> None:
    seconds = _seconds(report)
    axes.plot(seconds, report.opening, color=MOUTH, linewidth=1.5, zorder=3)
    axes.set(title=_mouth_title(report), ylabel="mouth opening", xlim=(0, seconds[-1]))
    axes.set_ylim(bottom=0)
    if report.level is not None:
        voice = axes.twinx()
        voice.fill_between(seconds, QUIETEST, report.level, color=VOICE, linewidth=0)
        voice.set(ylim=(QUIETEST, 0), ylabel="voice, dB")
        axes.set_zorder(voice.get_zorder() + 1)  # the mouth lies over the voice
        axes.patch.set_visible(False)


def _mouth_title(report: MotionReport) -> str:
    if report.correlation is None:
        return "Mouth"
    late = "no lag" if not report.lag else f"mouth {1000 * report.lag:+.0f} ms"
    return f"Mouth and voice: correlation {report.correlation:.2f}, {late}"


def _draw_lags(axes: Axes, report: MotionReport) -> None:
    axes.plot(1000 * report.lags, report.correlations, color=MOUTH)
    axes.axvline(0, color="#999", linewidth=0.8)
    if report.chance is not None:
        axes.axhline(report.chance, color="#999", linewidth=0.8, linestyle="--")
    axes.set(title="by lag (dashed: chance)", xlabel="mouth late, ms", ylim=(-1, 1))
    axes.title.set_fontsize(9)


def _draw_eyes(axes: Axes, report: MotionReport) -> None:
    axes.plot(_seconds(report), report.eyes, color=EYES, linewidth=1.2)
    for frame in report.blinks:
        axes.axvline(frame / report.fps, color=EYES, alpha=0.3, linewidth=4)
    title = f"Eyes: {len(report.blinks)} blinks, {report.blinks_per_minute:.0f} a minute"
    axes.set(title=title, ylabel="eye opening")
    axes.set_ylim(bottom=0)


def _draw_roughness(axes: Axes, report: MotionReport) -> None:
    middle = _seconds(report)[1:-1]
    axes.plot(middle, report.roughness, color=ROUGH, linewidth=1.2)
    seam = "" if report.seam is None else f", seam index {report.seam:.2f}"
    title = f"Flicker {report.roughness.mean():.2f}{seam}"
    axes.set(title=title, ylabel="‰ of eye distance", xlabel="seconds")
    axes.set_ylim(bottom=0)
    if report.picture_roughness is not None:
        picture = axes.twinx()
        picture.plot(middle, report.picture_roughness, color="#999", linewidth=0.8)
        picture.set(ylabel="picture, of 255")


def _seconds(report: MotionReport) -> np.ndarray:
    return np.arange(report.num_frames) / report.fps

"""The report as a picture: curves over time, and the correlation at every lag."""

from __future__ import annotations

import numpy as np

from ..media.chart import FAINT, Box, Chart, Panel, Range, span, split
from .measures import QUIETEST
from .motion_report import MotionReport

VOICE, MOUTH, EYES, ROUGH = "#b8c4d6", "#d1495b", "#2e7d6b", "#6a5acd"
LEFT, TOP, RIGHT, BOTTOM, GAP = 64, 28, 64, 40, 48  # pixels for what stands beside the panels


def draw_report(report: MotionReport, size: tuple[int, int] = (1024, 768)) -> np.ndarray:
    """The plot, uint8 (H, W, 3)."""
    chart, (width, height) = Chart(size), size
    has_voice = report.correlations is not None
    columns = split(LEFT, width - RIGHT // (1 + has_voice), (4, 1) if has_voice else (1,),
                    LEFT + RIGHT - 20)  # fmt: skip
    boxes = [(columns[0][0], top, columns[0][1], bottom)
             for top, bottom in split(TOP, height - BOTTOM, (3, 2, 2), GAP)]  # fmt: skip
    _draw_mouth(chart, boxes[0], report)
    if has_voice:
        _draw_lags(chart, (columns[1][0], boxes[0][1], columns[1][1], boxes[0][3]), report)
    _draw_eyes(chart, boxes[1], report)
    _draw_roughness(chart, boxes[2], report)
    return chart.pixels()


def _draw_mouth(chart: Chart, box: Box, report: MotionReport) -> None:
    seconds = _seconds(report)
    if report.level is not None:
        voice = Panel(chart, box, _time(report), (QUIETEST, 0))
        voice.area(seconds, report.level, VOICE)
        voice.right("voice, dB")
    mouth = Panel(chart, box, _time(report), span(report.opening, low=0))
    mouth.line(seconds, report.opening, MOUTH, 1.6)
    mouth.frame(_mouth_title(report), "mouth opening")


def _mouth_title(report: MotionReport) -> str:
    if report.correlation is None:
        return "Mouth"
    late = "no lag" if not report.lag else f"mouth {1000 * report.lag:+.0f} ms"
    return f"Mouth and voice: correlation {report.correlation:.2f}, {late}"


def _draw_lags(chart: Chart, box: Box, report: MotionReport) -> None:
    lags = 1000 * report.lags
    panel = Panel(chart, box, (lags.min(), lags.max()), (-1, 1))
    panel.upright(0)
    if report.chance is not None:
        panel.level(report.chance, dash=5)
    panel.line(lags, report.correlations, MOUTH)
    panel.frame("by lag (dashed: chance)", below="mouth late, ms", size=11)


def _draw_eyes(chart: Chart, box: Box, report: MotionReport) -> None:
    panel = Panel(chart, box, _time(report), span(report.eyes, low=0))
    for frame in report.blinks:
        panel.upright(frame / report.fps, "#c0d8d3", 4)
    panel.line(_seconds(report), report.eyes, EYES)
    title = f"Eyes: {len(report.blinks)} blinks, {report.blinks_per_minute:.0f} a minute"
    panel.frame(title, "eye opening")


def _draw_roughness(chart: Chart, box: Box, report: MotionReport) -> None:
    middle = _seconds(report)[1:-1]
    if report.picture_roughness is not None:
        picture = Panel(chart, box, _time(report), span(report.picture_roughness, low=0))
        picture.line(middle, report.picture_roughness, FAINT, 0.8)
        picture.right("picture, of 255")
    panel = Panel(chart, box, _time(report), span(report.roughness, low=0))
    panel.line(middle, report.roughness, ROUGH)
    seam = "" if report.seam is None else f", seam index {report.seam:.2f}"
    title = f"Flicker {report.roughness.mean():.2f}{seam}"
    panel.frame(title, "eye dist. / 1000", "seconds")


def _seconds(report: MotionReport) -> np.ndarray:
    return np.arange(report.num_frames) / report.fps


def _time(report: MotionReport) -> Range:
    return 0.0, (report.num_frames - 1) / report.fps

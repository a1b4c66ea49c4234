"""Curves as a picture, drawn with Pillow and the font that comes with it.

A plotting library searches the system for fonts, and runs programs to do so. ComfyUI's process,
in which reports are drawn too, shall run none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

Range = tuple[float, float]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the finished picture

INK, FAINT = "#222222", "#999999"
TITLE, LABEL, TICK = 14, 12, 10  # pixels high
LARGE = 2048  # pixels a side, beyond which edges need no smoothing
MARGIN = 0.05  # of a range, above and below what is in it


class Chart:
    """An empty white picture of `size` (width, height) for panels, titles and pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.scale = 2 if max(size) <= LARGE else 1  # drawn larger and reduced: smooth edges
        self.image = Image.new("RGB", (self.scale * size[0], self.scale * size[1]), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, words: str, size: int = LABEL, anchor: str = "ma") -> None:
        """Words in one line; `anchor` as Pillow has it: "ma" is the middle of the upper edge."""
        font = ImageFont.load_default(self.scale * size)
        self.draw.text((self.scale * x, self.scale * y), words, INK, font, anchor)

    def turned_text(self, x: float, y: float, words: str, size: int = LABEL) -> None:
        """Words that are read from below, around (x, y)."""
        font = ImageFont.load_default(self.scale * size)
        left, top, right, bottom = map(round, font.getbbox(words))
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).text((-left, -top), words, 255, font)
        mask = mask.rotate(90, expand=True)
        place = (round(self.scale * x - mask.width / 2), round(self.scale * y - mask.height / 2))
        self.image.paste(INK, place, mask)

    def picture(self, box: Box, pixels: np.ndarray, title: str) -> None:
        """A picture uint8 (H, W, 3), as large as fits into the box, with its title above it."""
        left, top, right, bottom = (self.scale * side for side in box)
        shown = ImageOps.contain(Image.fromarray(pixels), (right - left, bottom - top))
        self.image.paste(shown, ((left + right - shown.width) // 2, top))
        self.text((box[0] + box[2]) / 2, box[1] - TITLE - 3, title, LABEL)

    def pixels(self) -> np.ndarray:
        """What was drawn, uint8 (H, W, 3)."""
        return np.asarray(self.image.resize(self.size, Image.Resampling.BOX))


class Panel:
    """A box of a chart in which places are values: x to the right, y upwards."""

    def __init__(self, chart: Chart, box: Box, x: Range, y: Range) -> None:
        self._chart, self._box, self._x, self._y = chart, box, _wide(x), _wide(y)

    def line(
        self, xs: np.ndarray, ys: np.ndarray, colour: str, width: float = 1.4, dash: int = 0
    ) -> None:
        """A curve through the points (n,), broken where there is no number; `dash` in pixels."""
        for part in _unbroken(self._points(xs, ys)):
            for piece in _dashed(part, self._chart.scale * dash) if dash else [part]:
                self._stroke(piece, colour, width)

    def dots(self, xs: np.ndarray, ys: np.ndarray, colour: str, radius: float = 2.5) -> None:
        """The points (n,) by themselves."""
        for part in _unbroken(self._points(xs, ys)):
            for x, y in part:
                reach = self._chart.scale * radius
                self._chart.draw.ellipse((x - reach, y - reach, x + reach, y + reach), colour)

    def area(self, xs: np.ndarray, ys: np.ndarray, colour: str) -> None:
        """All below the points (n,)."""
        bottom = self._chart.scale * self._box[3]
        for part in _unbroken(self._points(xs, ys)):
            outline = [(part[0][0], bottom), *map(tuple, part), (part[-1][0], bottom)]
            self._chart.draw.polygon(outline, colour)

    def upright(self, x: float, colour: str = FAINT, width: float = 1, dash: int = 0) -> None:
        """A line at x, from bottom to top."""
        self.line(np.full(2, x), np.array(self._y), colour, width, dash)

    def level(self, y: float, colour: str = FAINT, width: float = 1, dash: int = 0) -> None:
        """A line at y, from left to right."""
        self.line(np.array(self._x), np.full(2, y), colour, width, dash)

    def frame(self, title: str = "", left: str = "", below: str = "", size: int = TITLE) -> None:
        """The box with its ticks, what they are, and a title above."""
        x0, y0, x1, y1 = self._box
        corners = [self._chart.scale * side for side in self._box]
        self._chart.draw.rectangle(corners, outline=INK, width=self._chart.scale)
        for value, words in ticks(self._x, (x1 - x0) // 45):
            place = self._points(np.array([value]), np.array([self._y[0]]))[0] / self._chart.scale
            self._tick(*place, 0, 4)
            self._chart.text(place[0], y1 + 6, words, TICK)
        self._values(x0, -1, left)
        self._chart.text((x0 + x1) / 2, y0 - size - 4, title, size)
        self._chart.text((x0 + x1) / 2, y1 + TICK + 9, below)

    def right(self, label: str) -> None:
        """Ticks at the right edge: for a second panel in the same box."""
        self._values(self._box[2], 1, label)

    def _values(self, edge: int, side: int, label: str) -> None:
        """Ticks of y at an edge, and what they are; `side` is -1 to the left, 1 to the right."""
        top, bottom = self._box[1], self._box[3]
        for value, words in ticks(self._y, (bottom - top) // 22):
            y = self._points(np.array([self._x[0]]), np.array([value]))[0][1] / self._chart.scale
            self._tick(edge, y, 4 * side, 0)
            self._chart.text(edge + 7 * side, y, words, TICK, "lm" if side > 0 else "rm")
        if label:
            self._chart.turned_text(edge + 48 * side, (top + bottom) / 2, label)

    def _tick(self, x: float, y: float, across: int, down: int) -> None:
        ends = np.array([(x, y), (x + across, y + down)]) * self._chart.scale
        self._stroke(ends, INK, 1)

    def _points(self, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        """Values (n,) → places in the large picture (n, 2), within the box; NaN stays."""
        left, top, right, bottom = (self._chart.scale * side for side in self._box)
        across = (np.asarray(xs, float) - self._x[0]) / (self._x[1] - self._x[0])
        up = (np.asarray(ys, float) - self._y[0]) / (self._y[1] - self._y[0])
        places = np.stack([across.clip(0, 1), up.clip(0, 1)], axis=-1)
        return (left, bottom) + places * (right - left, top - bottom)

    def _stroke(self, points: np.ndarray, colour: str, width: float) -> None:
        width = max(1, round(self._chart.scale * width))
        self._chart.draw.line([tuple(p) for p in points], colour, width, "curve")


def span(*curves: np.ndarray | None, low: float | None = None) -> Range:
    """A range with room for all numbers of the curves; it starts at `low` if that is given."""
    values = np.concatenate([np.ravel(curve) for curve in curves if curve is not None] or [[]])
    values = values[np.isfinite(values)]
    least, most = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if low is not None:
        return low, low + (1 + MARGIN) * ((most - low) if most > low else 1.0)
    room = MARGIN * max(most - least, abs(most) / 10) or 1.0  # of a curve that is all 0
    return float(least - room), float(most + room)


def ticks(within: Range, most: int) -> list[tuple[float, str]]:
    """At most about so many round numbers in a range, and how they are written."""
    step = _round_step((within[1] - within[0]) / max(1, most))
    first, last = math.ceil(within[0] / step - 1e-6), math.floor(within[1] / step + 1e-6)
    return [(i * step, f"{i * step:.6g}") for i in range(first, last + 1)]


def split(start: int, stop: int, shares: Sequence[float], gap: int) -> list[tuple[int, int]]:
    """Start and stop of parts side by side, of these shares, with `gap` pixels between them."""
    room = max(len(shares), stop - start - gap * (len(shares) - 1))
    ends = np.cumsum([0, *shares]) / sum(shares) * room
    return [
        (round(start + ends[i] + gap * i), round(start + ends[i + 1] + gap * i))
        for i in range(len(shares))
    ]


def _wide(limits: Range) -> Range:
    """The range, or one of length 1 for a single value."""
    return limits if limits[1] > limits[0] else (limits[0], limits[0] + 1)


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))


def _unbroken(points: np.ndarray) -> Iterator[np.ndarray]:
    """The stretches of points (n, 2) that are all numbers."""
    known = np.isfinite(points).all(axis=1)
    borders = np.flatnonzero(np.diff(known)) + 1
    for part in np.split(np.arange(len(points)), borders):
        if len(part) and known[part[0]]:
            yield points[part]


def _dashed(points: np.ndarray, dash: int) -> Iterable[np.ndarray]:
    """Pieces (m, 2) of a line through points, as long as the gaps between them."""
    along = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    for start in np.arange(0, along[-1], 2 * dash):
        stop = min(start + dash, along[-1])
        inner = along[(along > start) & (along < stop)]
        places = np.concatenate([[start], inner, [stop]])
        yield np.stack([np.interp(places, along, points[:, axis]) for axis in (0, 1)], axis=-1)

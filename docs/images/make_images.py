"""Draws overview.png from the demo's files: `python docs/images/make_images.py`."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
ASSETS = HERE.parents[1] / "echomimic" / "assets"
SCALE = 2  # drawn larger, then reduced: smooth edges
SIZE = (1200, 440)
PAPER, INK, GREY = (250, 249, 246), (38, 50, 56), (120, 134, 140)
TEAL, CORAL = (47, 111, 122), (204, 102, 77)

Box = tuple[int, int, int, int]


class Sheet:
    """A page to draw on, in pixels of the finished picture."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGB", [SCALE * side for side in size], PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def card(self, box: Box, fill: tuple[int, int, int]) -> None:
        self._draw.rounded_rectangle([SCALE * v for v in box], 12 * SCALE, fill)

    def text(self, x: float, y: float, text: str, size: int, fill: tuple[int, int, int]) -> None:
        """Centred around (x, y)."""
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), text, fill, font, anchor="mm", align="center")

    def arrow(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """From left to right; bends half way where the heights differ."""
        middle = (x0 + x1) // 2
        points = [(x0, y0), (middle, y0), (middle, y1), (x1 - 6, y1)]
        self._draw.line([(SCALE * x, SCALE * y) for x, y in points], GREY, 3 * SCALE, "curve")
        self.triangle([(x1, y1), (x1 - 12, y1 - 7), (x1 - 12, y1 + 7)], GREY)

    def triangle(self, points: list[tuple[int, int]], fill: tuple[int, int, int]) -> None:
        self._draw.polygon([(SCALE * x, SCALE * y) for x, y in points], fill)

    def picture(self, image: Image.Image, box: Box) -> None:
        """Paste with round corners."""
        x0, y0, x1, y1 = (SCALE * v for v in box)
        size = (x1 - x0, y1 - y0)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).rounded_rectangle([0, 0, *size], 12 * SCALE, 255)
        self.image.paste(image.resize(size, Image.Resampling.LANCZOS), (x0, y0), mask)

    def waveform(self, samples: np.ndarray, box: Box) -> None:
        """Loudness over time as bars."""
        x0, y0, x1, y1 = box
        bars = np.array_split(np.abs(samples), (x1 - x0) // 4)
        peaks = np.array([bar.max() for bar in bars]) / np.abs(samples).max()
        middle, half = (y0 + y1) / 2, (y1 - y0) / 2
        for i, peak in enumerate(peaks):
            height = max(1, half * peak)
            bar = [x0 + 4 * i, middle - height, x0 + 4 * i + 2, middle + height]
            self._draw.rectangle([SCALE * v for v in bar], CORAL)

    def save(self, path: Path, **options: int) -> None:
        size = [side // SCALE for side in self.image.size]
        self.image.resize(size, Image.Resampling.LANCZOS).save(path, optimize=True, **options)


def read_voice() -> np.ndarray:
    with wave.open(str(ASSETS / "voice.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def overview() -> Sheet:
    """Portrait and voice on the left, the parts of the system between, the video on the right."""
    sheet, portrait = Sheet(SIZE), Image.open(ASSETS / "portrait.png")
    sheet.picture(portrait, (30, 30, 230, 230))
    sheet.text(130, 248, "one portrait", 17, INK)
    sheet.waveform(read_voice(), (30, 290, 230, 380))
    sheet.text(130, 402, "one voice", 17, INK)
    for y, name, note in (
        (75, "reference UNet", "what the person looks like"),
        (185, "landmark encoder", "where the face is"),
        (335, "audio encoder", "what is said when"),
    ):
        sheet.arrow(240, 130 if y < 300 else 335, 300, y)
        sheet.card((305, y - 38, 535, y + 38), TEAL)
        sheet.text(420, y - 11, name, 20, PAPER)
        sheet.text(420, y + 14, note, 14, (203, 224, 227))
        sheet.arrow(538, y, 600, 205)
    sheet.card((605, 125, 815, 285), CORAL)
    sheet.text(710, 175, "denoising UNet", 21, PAPER)
    sheet.text(710, 222, "all frames, window by\nwindow, step by step", 15, (252, 228, 218))
    sheet.arrow(820, 205, 878, 205)
    sheet.picture(portrait, (885, 65, 1165, 345))
    sheet.card((994, 280, 1056, 326), INK)
    sheet.triangle([(1015, 290), (1015, 316), (1039, 303)], PAPER)
    sheet.text(1025, 366, "a video with sound", 17, INK)
    return sheet


if __name__ == "__main__":
    overview().save(HERE / "overview.png")

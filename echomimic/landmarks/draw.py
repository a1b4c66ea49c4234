"""Points → the pictures of coloured lines that the landmark models were trained on (spec 8.3).

The official picture is always drawn at 512x512, without smoothing, and then resized. How it is
drawn must stay as it was in training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from types import ModuleType
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import LandmarkError
from .mesh import DRAWN_BY_DEFAULT, LINES, SQUARES, Colour, Line, Square
from .track import LandmarkTrack

Reduction = Literal["linear", "area"]
Mark = TypeVar("Mark", Line, Square)
CANVAS = 512  # width and height in pixels
THICKNESS = 2
HALF_SQUARE = 3
DARKEST = 100  # every colour has a channel at least that bright


def draw_landmarks(
    points: np.ndarray,
    size: tuple[int, int],
    parts: Collection[str] = DRAWN_BY_DEFAULT,
    *,
    irises: bool = False,
    reduction: Reduction = "linear",
) -> np.ndarray:
    """Points (478, 2 or 3) in 0..1 → RGB picture of `size` (width, height), uint8 (H, W, 3).

    A point outside 0..1, or that is not a number, is left out together with its lines. `irises`
    draws their circles, which the published models do not use. `reduction` is how the canvas is
    brought to `size`: `config.LandmarkEncoderConfig.drawing`.
    """
    cv2 = opencv()
    canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    points = np.asarray(points)[:, :2]
    seen = ((points >= 0) & (points <= 1)).all(axis=1)
    pixels = np.floor(np.where(seen[:, None], points, 0) * CANVAS).astype(np.int32)  # (n, 2)
    on_canvas = np.minimum(pixels, CANVAS - 1)
    drawn = {*parts, "irises"} if irises else {*parts}
    for line in _chosen(LINES, drawn):
        runs = [on_canvas[run] for run in _runs(line.points, seen)]
        cv2.polylines(canvas, runs, False, line.colour, THICKNESS)
    for square in _chosen(SQUARES, drawn):
        if seen[square.point]:
            _fill_square(canvas, pixels[square.point], square.colour)
    if size == (CANVAS, CANVAS):
        return canvas
    ways = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
    return cv2.resize(canvas, size, interpolation=ways[reduction])


def draw_track(
    track: LandmarkTrack,
    size: tuple[int, int],
    frames: Sequence[int] | None = None,
    *,
    reduction: Reduction = "linear",
) -> np.ndarray:
    """Those `frames` of the track, all by default → uint8 (f, H, W, 3), with the track's parts."""
    frames = range(track.num_frames) if frames is None else frames
    pictures = np.empty((len(frames), size[1], size[0], 3), np.uint8)
    for picture, frame in zip(pictures, frames, strict=True):
        picture[:] = draw_landmarks(track.points[frame], size, track.parts, reduction=reduction)
    return pictures


def landmark_images(
    track: LandmarkTrack,
    size: tuple[int, int],
    frames: Sequence[int] | None = None,
    *,
    reduction: Reduction = "linear",
) -> Tensor:
    """What the landmark encoder takes: those `frames`, drawn → float32 (f, 3, H, W) in 0..1."""
    pictures = torch.from_numpy(draw_track(track, size, frames, reduction=reduction)).movedim(-1, 1)
    return pictures.contiguous().float().div_(255)


def overlay(picture: np.ndarray, drawing: np.ndarray) -> np.ndarray:
    """The drawing on the picture, black being transparent; both and the result uint8 (H, W, 3)."""
    if picture.shape != drawing.shape:
        raise LandmarkError(
            f"A drawing of {drawing.shape[1]}x{drawing.shape[0]} pixels does not lie on a picture "
            f"of {picture.shape[1]}x{picture.shape[0]}; draw it at that size."
        )
    opacity = np.minimum(drawing.max(axis=-1, keepdims=True) / np.float32(DARKEST), 1)
    return np.rint(drawing + (1 - opacity) * picture).astype(np.uint8)


def _chosen(table: dict[str, tuple[Mark, ...]], parts: Collection[str]) -> Iterator[Mark]:
    """The lines or squares of those parts, in the order of the table: later ones on top."""
    return (mark for part, marks in table.items() if part in parts for mark in marks)


def _runs(line: Sequence[int], seen: np.ndarray) -> Iterator[list[int]]:
    """The stretches of the line in which every point is seen, of two points or more."""
    run: list[int] = []
    for point in (*line, None):
        if point is not None and seen[point]:
            run.append(point)
            continue
        if len(run) > 1:
            yield run
        run = []


def _fill_square(canvas: np.ndarray, centre: np.ndarray, colour: Colour) -> None:
    """Cut off at the right and the bottom; none where it would leave the canvas top or left."""
    x0, y0 = centre - HALF_SQUARE
    if min(x0, y0) >= 0 and max(centre) < CANVAS:
        canvas[y0 : y0 + 2 * HALF_SQUARE, x0 : x0 + 2 * HALF_SQUARE] = colour


def opencv() -> ModuleType:
    """OpenCV, imported when something is drawn; raises `LandmarkError` where there is none."""
    try:
        import cv2
    except ImportError as error:
        raise LandmarkError(
            "Drawing landmarks needs OpenCV, which is not installed; "
            "pip install opencv-python-headless."
        ) from error
    return cv2

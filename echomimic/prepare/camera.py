"""How much a camera moves: what lies behind a person, in frames a few apart.

The background is compared in blocks, each by phase correlation, of which the median counts. Blocks
that touch the face and its surroundings, or the body below, are left out, as are those without
any texture. A wall of one colour says nothing, and the motion is None then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..landmarks.draw import opencv
from ..landmarks.face_box import FaceBox

WIDTH = 320  # pixels of the copy that is compared, along its longer side
BLOCK = 40  # pixels of it; twice the motion that is seen
APART = 5  # frames
SURROUNDINGS = 1.6  # times the face box, that is no background
BODY = 3.0  # face widths below the chin, that are no background either
TEXTURE = 2.0  # levels, the least standard deviation of a block
RESPONSE = 0.1  # of a phase correlation, below which it found nothing
FEWEST = 3  # blocks


def background_motion(
    pictures: Sequence[np.ndarray], boxes: Sequence[FaceBox | None]
) -> np.ndarray:
    """Motion between pictures `APART` frames apart, (n,) in shares of the width.

    `pictures` are grey uint8 (h, w), `boxes` the faces in shares of the picture. NaN where there
    is no background to see.
    """
    motions = [
        _motion(before, after, [box for box in (first, second) if box is not None])
        for before, after, first, second in zip(
            pictures, pictures[APART:], boxes, boxes[APART:], strict=False
        )
    ]
    return np.array(motions)


def _motion(before: np.ndarray, after: np.ndarray, faces: list[FaceBox]) -> float:
    height, width = before.shape
    person = _person(faces, width, height)
    corners = [
        (y, x)
        for y in range(0, height - BLOCK + 1, BLOCK)
        for x in range(0, width - BLOCK + 1, BLOCK)
        if not person[y : y + BLOCK, x : x + BLOCK].any()
    ]
    shifts = [_shift(*(p[y : y + BLOCK, x : x + BLOCK] for p in (before, after)))
              for y, x in corners]  # fmt: skip
    found = [shift for shift in shifts if shift is not None]
    if len(found) < FEWEST:
        return float("nan")
    return float(np.linalg.norm(np.median(found, axis=0)) / width)


def _person(faces: list[FaceBox], width: int, height: int) -> np.ndarray:
    """Where people are, bool (h, w)."""
    person = np.zeros((height, width), dtype=bool)
    for x0, y0, x1, y1 in faces:
        middle, level = (x0 + x1) / 2, (y0 + y1) / 2
        half = SURROUNDINGS / 2 * np.array([x1 - x0, y1 - y0])
        _mark(person, middle - half[0], level - half[1], middle + half[0], level + half[1])
        _mark(person, middle - BODY / 2 * (x1 - x0), y1, middle + BODY / 2 * (x1 - x0), 1.0)
    return person


def _mark(person: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> None:
    """A rectangle in shares of the picture."""
    height, width = person.shape
    left, right = (int(np.clip(round(x * width), 0, width)) for x in (x0, x1))
    top, bottom = (int(np.clip(round(y * height), 0, height)) for y in (y0, y1))
    person[top:bottom, left:right] = True


def _shift(before: np.ndarray, after: np.ndarray) -> tuple[float, float] | None:
    """By how many pixels a block (b, b) moved; None where that cannot be seen."""
    if min(before.std(), after.std()) < TEXTURE:
        return None
    cv2 = opencv()
    window = cv2.createHanningWindow((BLOCK, BLOCK), cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(*(p.astype(np.float32) for p in (before, after)), window)
    return shift if response >= RESPONSE else None

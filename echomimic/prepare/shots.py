"""Where one shot ends and the next begins, told while frames pass by.

A cut is a frame that differs from the one before by much more than each of its neighbours does.
Motion and shaking change many frames in a row, a flash two, so they are no cuts. Slow cross-fades
are not found; `face_jumps` sees what they do to a face.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..landmarks.draw import opencv

SMALL = 64  # pixels of the copy that frames are compared on, along its longer side
LEAST = 8.0  # levels of 0..255 that a cut changes a picture by
RATIO = 3.0  # how many times more than each of the frames around it
AROUND = 2  # frames on either side


def shrunk(picture: np.ndarray, longest: int) -> np.ndarray:
    """A uint8 picture (H, W, 3), its longer side reduced to at most `longest` pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cv2 = opencv()
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def changes(pictures: Iterable[np.ndarray]) -> Iterator[float]:
    """Mean absolute difference of each picture from the one before; 0 for the first."""
    before: np.ndarray | None = None
    for picture in pictures:
        small = shrunk(picture, SMALL).astype(np.int16)
        yield 0.0 if before is None else float(np.abs(small - before).mean())
        before = small


def first_of_shot(differences: Iterable[float]) -> Iterator[bool]:
    """Of each frame, whether a new shot begins with it; `AROUND` differences are read ahead."""
    values, middle = list[float](), 0  # a few frames, of which `middle` is the next to be told
    for value in differences:
        values.append(value)
        if len(values) - middle > AROUND:
            yield _is_cut(values, middle)
            middle += 1
            if middle > AROUND:
                del values[0]
                middle -= 1
    for number in range(middle, len(values)):
        yield _is_cut(values, number)


def _is_cut(values: Sequence[float], number: int) -> bool:
    """Of the frame with that number among its neighbours."""
    around = [*values[max(0, number - AROUND) : number], *values[number + 1 : number + 1 + AROUND]]
    return values[number] >= LEAST and values[number] >= RATIO * max(around, default=0.0)

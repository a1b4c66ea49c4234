"""Frames of a track side by side, to look at."""

from __future__ import annotations

import numpy as np

from .draw import draw_track
from .track import LandmarkTrack

COLUMNS = 6
MOST = 12  # frames on a sheet
GAP = 4  # pixels


def contact_sheet(track: LandmarkTrack, size: tuple[int, int], most: int = MOST) -> np.ndarray:
    """Evenly spread frames of the track, drawn at `size` (width, height): uint8 (H, W, 3)."""
    count = min(most, track.num_frames)
    frames = np.linspace(0, track.num_frames - 1, count).round().astype(int)
    return grid(draw_track(track, size, frames.tolist()))


def grid(pictures: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Pictures (n, H, W, 3) in rows of `columns`, with grey lines between them: (H', W', 3)."""
    n, height, width, _ = pictures.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 64, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet

"""What a puppet does over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Performance:
    """Expression and head pose, one value per frame; a still face is all zeros.

    Left and right are those of the picture.
    """

    fps: float
    mouth_open: np.ndarray  # (f,) 0 closed … 1 wide open
    mouth_width: np.ndarray  # (f,) -1 rounded … 1 spread
    blink: np.ndarray  # (f,) 0 open … 1 both eyes closed
    brow: np.ndarray  # (f,) -1 frowning … 1 raised
    gaze: np.ndarray  # (f, 2) -1 … 1, to the right and down in the picture
    rotation: np.ndarray  # (f, 3) yaw to the right, pitch down, roll clockwise, in radians
    shift: np.ndarray  # (f, 2) to the right and down, in picture widths

    @property
    def num_frames(self) -> int:
        return len(self.mouth_open)

    @classmethod
    def still(cls, fps: float = 25.0, num_frames: int = 1) -> Performance:
        """Nothing moves: mouth closed, eyes open, looking at us."""
        zero, pair = np.zeros(num_frames), np.zeros((num_frames, 2))
        return cls(fps, zero, zero, zero, zero, pair, np.zeros((num_frames, 3)), pair)

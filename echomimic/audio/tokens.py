"""Encoder states to the audio tokens of each video frame, by index arithmetic (spec 5.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from ..config import AUDIO_RATE, STATES_PER_SECOND
from ..errors import OptionsError

STATES_BEFORE = 4  # states ahead of a frame's own: 80 ms
STATES_PER_FRAME = 10  # of which the frame's own is the fifth


def num_frames(num_samples: int, fps: float) -> int:
    """Video frames that 16 kHz speech lasts, a started one included (the better way of D8)."""
    _check_fps(fps)
    return max(1, math.ceil(num_samples * fps / AUDIO_RATE))


def official_num_frames(num_states: int, fps: float) -> int:
    """Frames the official slicing makes: up to the first whose centre lies past the last state."""
    _check_fps(fps)
    guess = max(0, int((num_states + 1) * fps / STATES_PER_SECOND) - 1)
    past_end = (i for i in count(guess) if int(i * STATES_PER_SECOND / fps) > num_states)
    return next(past_end) + 1


def num_states_heard(num_frames: int, fps: float) -> int:
    """States that a clip of so many frames looks at, counted from the first."""
    last = int((num_frames - 1) * STATES_PER_SECOND / fps)
    return last + STATES_PER_FRAME - STATES_BEFORE


def token_index(frames: Tensor, num_states: int, fps: float) -> Tensor:
    """States around each video frame, clamped to the clip: (f,) → (f, 10) long (spec 5.5)."""
    _check_fps(fps)
    centre = (frames.double() * STATES_PER_SECOND / fps).long()
    offset = torch.arange(STATES_PER_FRAME, device=frames.device) - STATES_BEFORE
    return (centre[:, None] + offset).clamp(0, num_states - 1)  # (f, 10)


@dataclass(frozen=True)
class AudioTrack:
    """A voice, ready to be looked up by video frame.

    States are kept instead of tokens, which repeat each state about five times.
    """

    states: Tensor  # (n, layer, d) at 50 Hz
    fps: float
    num_frames: int
    first: int = 0  # number, at this frame rate, of the frame that the clip begins with

    def __post_init__(self) -> None:
        _check_fps(self.fps)
        if self.num_frames < 1:
            raise OptionsError(f"A clip needs at least one frame, not {self.num_frames}.")

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Audio tokens of these frames: (f, 10 * layer, d), ordered by time, then by layer."""
        numbers = torch.as_tensor(list(frames)) + self.first
        index = token_index(numbers, len(self.states), self.fps)
        return self.states[index.to(self.states.device)].flatten(1, 2)

    def part(self, start: int, stop: int) -> AudioTrack:
        """Frames start to stop - 1, which count from 0 there, of the same states."""
        return replace(self, num_frames=stop - start, first=self.first + start)


def _check_fps(fps: float) -> None:
    if not 0 < fps < math.inf:
        raise OptionsError(f"fps must be a positive number, not {fps}.")

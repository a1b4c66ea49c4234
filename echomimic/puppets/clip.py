"""A puppet with a voice, acting: everything known about a short film."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..config import AUDIO_RATE
from ..landmarks.track import LandmarkTrack
from .geometry import face_track
from .identity import Identity, identity
from .perform import Motion, perform
from .performance import Performance
from .render import render_clip
from .voice import speak

REST = 0.4  # seconds of voice made beyond the last frame


@dataclass(frozen=True)
class PuppetClip:
    """`num_frames` of the puppet of a seed; frame 0 is `start` seconds into the voice.

    Without `speech` (16 kHz) the puppet babbles in a voice of its own.
    """

    seed: int
    num_frames: int
    fps: float = 25.0
    motion: Motion = "calm"
    spoken: np.ndarray | None = None
    start: float = 0.0

    @cached_property
    def identity(self) -> Identity:
        return identity(self.seed)

    @cached_property
    def speech(self) -> np.ndarray:
        """All of the voice, float32 (n,)."""
        if self.spoken is not None:
            return self.spoken
        return speak(self.seed, self.start + self.num_frames / self.fps + REST)

    @property
    def heard(self) -> np.ndarray:
        """The part of the voice that goes with the frames."""
        first = round(self.start * AUDIO_RATE)
        return self.speech[first : first + round(self.num_frames / self.fps * AUDIO_RATE)]

    @cached_property
    def performance(self) -> Performance:
        return perform(
            self.speech, self.seed, self.num_frames, self.fps, start=self.start, motion=self.motion
        )

    def track(self, size: int) -> LandmarkTrack:
        """Landmarks of the frames."""
        return face_track(self.identity, self.performance, (size, size))

    def frames(self, size: int) -> np.ndarray:
        """The film, uint8 (f, size, size, 3)."""
        return render_clip(self.identity, self.performance, size)

    def portrait(self, size: int) -> np.ndarray:
        """The puppet at rest, uint8 (size, size, 3)."""
        return render_clip(self.identity, Performance.still(self.fps), size)[0]

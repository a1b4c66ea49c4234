"""A puppet acts: the mouth follows a voice, the rest is drawn at random."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .mouth import mouth_curves
from .performance import Performance

Motion = Literal["still", "calm", "lively"]
BLINK = 0.24  # seconds that a blink takes
# Random numbers of each channel come from a stream of their own.
STREAMS = {"blink": 10, "brow": 11, "gaze": 12, "rotation": 13, "shift": 14}
LIVELY_ROTATION = np.radians((26.0, 12.0, 12.0))
CALM_ROTATION = np.radians((2.5, 1.2, 1.2))


def perform(
    speech: np.ndarray,
    seed: int,
    num_frames: int,
    fps: float = 25.0,
    *,
    start: float = 0.0,
    motion: Motion = "calm",
) -> Performance:
    """What the puppet of a seed does while it says `speech` (16 kHz), from second `start` on.

    "still": only the mouth moves. "calm": it blinks now and then and sways a little. "lively":
    head, gaze and brows move far, as of someone who drives another face. What happens at a moment
    does not depend on how many frames are asked for.
    """
    opening, width = mouth_curves(speech, num_frames, fps, start)
    seconds = start + np.arange(num_frames) / fps
    still = Performance.still(fps, num_frames)
    if motion == "still":
        return Performance(fps, opening, width, *_rest(still))

    def random(channel: str) -> np.random.Generator:
        return np.random.Generator(np.random.Philox([seed, STREAMS[channel]]))

    if motion == "calm":
        return Performance(
            fps, opening, width,
            blink=_blinks(random("blink"), seconds, every=3.0),
            brow=0.25 * opening,
            gaze=still.gaze,
            rotation=CALM_ROTATION * _waves(random("rotation"), seconds, 3, (2.5, 6.0)),
            shift=0.005 * _waves(random("shift"), seconds, 2, (2.5, 6.0)),
        )  # fmt: skip
    return Performance(
        fps, opening, width,
        blink=_blinks(random("blink"), seconds, every=1.2),
        brow=_waves(random("brow"), seconds, 1, (0.7, 2.5))[:, 0],
        gaze=_waves(random("gaze"), seconds, 2, (0.8, 2.5)),
        rotation=LIVELY_ROTATION * _waves(random("rotation"), seconds, 3, (0.9, 3.0)),
        shift=0.05 * _waves(random("shift"), seconds, 2, (1.2, 4.0)),
    )  # fmt: skip


def _rest(still: Performance) -> tuple[np.ndarray, ...]:
    return still.blink, still.brow, still.gaze, still.rotation, still.shift


def _waves(
    random: np.random.Generator, seconds: np.ndarray, channels: int, periods: tuple[float, float]
) -> np.ndarray:
    """Smooth random motion in -1..1, (f, channels): a rest position and three slow waves."""
    rest = random.uniform(-0.5, 0.5, channels)
    period = np.exp(random.uniform(*np.log(periods), (3, channels)))
    phase = random.uniform(0, 2 * np.pi, (3, channels))
    amplitude = random.uniform(0.05, 0.35, (3, channels))
    angle = 2 * np.pi * seconds[:, None, None] / period + phase  # (f, 3, channels)
    return np.tanh(rest + (amplitude * np.sin(angle)).sum(axis=1))


def _blinks(random: np.random.Generator, seconds: np.ndarray, every: float) -> np.ndarray:
    """0 open … 1 closed, (f,)."""
    first = random.uniform(0, every)
    count = int(4 * float(seconds[-1]) / every) + 8  # enough, even if the gaps are short
    gaps = every * (0.4 + 0.6 * random.exponential(size=count))
    moments = first + np.cumsum(gaps) - every
    away = np.abs(seconds[:, None] - moments).min(axis=1)
    return np.clip(1.6 * np.cos(np.clip(away / BLINK, 0, 1) * np.pi), 0, 1)

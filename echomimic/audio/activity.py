"""When a voice speaks, from its loudness alone."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..config import AUDIO_RATE

STEP = AUDIO_RATE // 100  # loudness is looked at every 10 ms
SILENCE = -55.0  # dB of full scale; a recording that never gets louder holds no voice
LEAST_RANGE, MOST_RANGE = 12.0, 50.0  # dB between pauses and voice that are believed
START, STOP = 0.4, 0.25  # shares of that range: a voice starts above one, stops below the other
SHORTEST_PAUSE = 30  # steps; between words the mouth need not close
AHEAD, AFTER = 8, 12  # steps; lips part before they are heard and close after
SMOOTHING = 17  # steps, an odd number


def voice_activity(speech: Tensor | np.ndarray, num_frames: int, fps: float) -> np.ndarray:
    """How much a voice speaks during each video frame: 16 kHz mono (n,) → (f,) in 0..1.

    Pauses and voice are told apart by the recording's own quietest and loudest parts, so noise
    and recording level matter little. Frames after the sound are silent.
    """
    loudness = _loudness(np.asarray(speech, dtype=np.float64))  # (steps,)
    speaking = np.zeros(len(loudness), dtype=bool)
    if len(loudness) and loudness.max() > SILENCE:
        quiet, loud = np.percentile(loudness, [5, 95])
        loud = max(loud, loudness.max() - 20)  # one short word in a long pause
        quiet = np.clip(quiet, loud - MOST_RANGE, loud - LEAST_RANGE)
        spread = loud - quiet
        speaking = _hysteresis(loudness, quiet + START * spread, quiet + STOP * spread)
    smooth = _smooth(_widened(_without_short_pauses(speaking)))
    times = (np.arange(num_frames) + 0.5) / fps * 100 - 0.5  # frame centres, in steps
    return np.interp(times, np.arange(len(smooth)), smooth, left=smooth[0], right=0.0)


def _loudness(speech: np.ndarray) -> np.ndarray:
    """Of each 10 ms and its surroundings, in dB of full scale."""
    steps = len(speech) // STEP
    power = (speech[: steps * STEP].reshape(steps, STEP) ** 2).mean(axis=1)
    around = np.pad(power, 1, mode="edge") if steps else np.zeros(2)
    return 10 * np.log10((around[:-2] + around[1:-1] + around[2:]) / 3 + 1e-12)


def _hysteresis(loudness: np.ndarray, start: float, stop: float) -> np.ndarray:
    """True from where `start` is passed until it falls below `stop`."""
    decided = np.where(loudness >= start, 1, np.where(loudness < stop, 0, -1))
    last = np.maximum.accumulate(np.where(decided >= 0, np.arange(len(decided)), -1))
    return (last >= 0) & (decided[last] == 1)


def _intervals(speaking: np.ndarray) -> np.ndarray:
    """Where it is true, as (n, 2) starts and ends."""
    return np.flatnonzero(np.diff(speaking.astype(int), prepend=0, append=0)).reshape(-1, 2)


def _without_short_pauses(speaking: np.ndarray) -> np.ndarray:
    filled = speaking.copy()
    edges = _intervals(speaking).ravel()
    for end, start in edges[1:-1].reshape(-1, 2):
        filled[end:start] |= start - end < SHORTEST_PAUSE
    return filled


def _widened(speaking: np.ndarray) -> np.ndarray:
    widened = np.zeros(len(speaking) + AFTER + SMOOTHING, dtype=bool)
    for start, end in _intervals(speaking):
        widened[max(0, start - AHEAD) : end + AFTER] = True
    return widened


def _smooth(speaking: np.ndarray) -> np.ndarray:
    window = np.hanning(SMOOTHING + 2)[1:-1]
    around = np.pad(speaking.astype(np.float64), SMOOTHING // 2, mode="edge")
    return np.convolve(around, window / window.sum(), mode="valid").clip(0, 1)

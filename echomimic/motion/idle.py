"""How a face moves that does nothing: blinks, glances and a head that is never quite still.

Signals over time, decided by a seed. Sampled at any frame rate they are the same motion, and a
longer clip begins as a shorter one does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# A blink, in seconds: the lid falls fast, rests and rises slowly.
CLOSING, CLOSED, OPENING = 0.12, 0.06, 0.24
DOUBLE_SHARE, DOUBLE_INTERVAL = 0.1, 0.5  # some blinks follow the last at once
SHORTEST_INTERVAL = 0.5
INTERVAL_SPREAD = 0.7  # of its logarithm: most are shorter than the mean, a few much longer

SHORTEST_FIXATION, MORE_FIXATION = 0.25, 0.9  # seconds; the latter is a mean
SACCADE = 0.04  # seconds
GLANCE = np.array([0.035, 0.015])  # right and up, in widths of the eye
LOOK_BACK_SHARE = 0.4  # of all glances; they end where the portrait looks

SWAY = np.array([1.0, 1.3, 0.6, 0.006, 0.004])  # pitch, yaw, roll in degrees; x, y in face widths
SLOWEST, FASTEST, WAVES = 0.08, 0.6, 6  # Hz, Hz, per channel
FADE_IN = 1.0  # seconds until a head that begins as in the portrait moves fully


def blink_closure(seconds: np.ndarray, seed: int, per_minute: float) -> np.ndarray:
    """How far the eyes are closed at these times (f,), 0..1."""
    closure = np.zeros(len(seconds))
    if per_minute > 0:
        for start in _blinks(_random(seed, "blink"), 60 / per_minute, seconds.max()):
            closure = np.maximum(closure, _blink(seconds - start))
    return closure


def glances(seconds: np.ndarray, seed: int) -> np.ndarray:
    """Where the eyes look (f, 2): right and up from the portrait's gaze, in widths of the eye."""
    starts, targets = zip(*_fixations(_random(seed, "gaze"), seconds.max()), strict=True)
    targets = np.array(targets)
    current = np.searchsorted(starts, seconds, side="right") - 1
    way = smoothstep((seconds - np.array(starts)[current]) / SACCADE)[:, None]
    previous = targets[np.maximum(current - 1, 0)]
    return previous + way * (targets[current] - previous)


def head_sway(seconds: np.ndarray, seed: int) -> np.ndarray:
    """Turns and shifts of the head (f, 5): smooth noise as large as `SWAY` on average."""
    random = _random(seed, "head")
    frequency = random.uniform(SLOWEST, FASTEST, (WAVES, len(SWAY)))
    phase = random.uniform(0, 2 * np.pi, (WAVES, len(SWAY)))
    size = 1 / frequency  # the slow ones are the large ones
    size *= np.sqrt(2 / (size**2).sum(axis=0))
    waves = np.sin(2 * np.pi * frequency * seconds[:, None, None] + phase)  # (f, wave, 5)
    return (waves * size).sum(axis=1) * SWAY * smoothstep(seconds / FADE_IN)[:, None]


def smoothstep(x: np.ndarray) -> np.ndarray:
    """From 0 to 1 without a corner at either end."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _random(seed: int, what: str) -> np.random.Generator:
    """Each signal has its own, so that switching one off leaves the others as they are."""
    return np.random.default_rng([seed, *what.encode()])


def _blinks(random: np.random.Generator, mean: float, end: float) -> Iterator[float]:
    """Times at which blinks begin, `mean` seconds apart on average."""
    single = (mean - DOUBLE_SHARE * DOUBLE_INTERVAL) / (1 - DOUBLE_SHARE) - SHORTEST_INTERVAL
    median = single / np.exp(INTERVAL_SPREAD**2 / 2)
    time = random.uniform(0.3, mean)
    while time <= end:
        yield time
        if random.random() < DOUBLE_SHARE:
            time += DOUBLE_INTERVAL
        else:
            time += SHORTEST_INTERVAL + median * random.lognormal(0, INTERVAL_SPREAD)


def _blink(since: np.ndarray) -> np.ndarray:
    falling = smoothstep(since / CLOSING)
    rising = smoothstep((since - CLOSING - CLOSED) / OPENING)
    return falling - rising


def _fixations(random: np.random.Generator, end: float) -> Iterator[tuple[float, np.ndarray]]:
    """When the eyes leave for the next target, and where that is."""
    time, target = 0.0, np.zeros(2)
    while time <= end:
        yield time, target
        time += SHORTEST_FIXATION + random.gamma(2, MORE_FIXATION / 2)
        target = random.normal(0, GLANCE).clip(-2.5 * GLANCE, 2.5 * GLANCE)
        target = target * (random.random() >= LOOK_BACK_SHARE)

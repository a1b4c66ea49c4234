"""What a mouth does when it says something: a definition, for any recording."""

from __future__ import annotations

import numpy as np

from ..config import AUDIO_RATE

RATE = 100  # analysis frames per second
WINDOW = 480  # samples, 30 ms
VOICE = (200.0, 4000.0)  # Hz, where a voice is loud
ROUNDED, SPREAD = (300.0, 900.0), (1700.0, 3500.0)  # Hz, loud in "o" and in "i"
LOUD = 95  # percentile of the energy that counts as loud speech
COMPRESSION = 0.25  # exponent: loudness as it is heard, and more even
CLOSED, RANGE = 0.30, 0.65  # compressed energy at which a mouth opens, and to its widest
SILENCE = 3.2e-4  # of the loud energy, -35 dB
OPEN_SMOOTHING, WIDTH_SMOOTHING = 0.05, 0.10  # seconds


def mouth_curves(
    speech: np.ndarray, num_frames: int, fps: float, start: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Opening 0..1 and width -1..1 of the mouth at each video frame, (f,) each.

    A function of the 16 kHz waveform alone; how loud it was recorded does not matter. Frame i is
    at `start` + i / fps seconds; outside of the recording the mouth is closed.
    """
    power, frequencies = _spectrum(speech)
    energy = power[:, _between(frequencies, VOICE)].sum(axis=1)
    loud = np.percentile(energy, LOUD) + 1e-12
    opening = np.clip(((energy / loud) ** COMPRESSION - CLOSED) / RANGE, 0, 1)
    opening = _smooth(np.where(energy < SILENCE * loud, 0, opening), OPEN_SMOOTHING)
    spread = power[:, _between(frequencies, SPREAD)].sum(axis=1)
    rounded = power[:, _between(frequencies, ROUNDED)].sum(axis=1)
    colour = np.tanh(0.9 * np.log10((spread + 1e-6 * loud) / (rounded + 1e-6 * loud)) + 0.7)
    width = _smooth(colour * np.minimum(1, 2 * opening), WIDTH_SMOOTHING)
    seconds = start + np.arange(num_frames) / fps
    heard = np.arange(len(energy)) / RATE
    return (
        np.interp(seconds, heard, opening, left=0, right=0),
        np.interp(seconds, heard, width, left=0, right=0),
    )


def _spectrum(speech: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of windows centred at multiples of 10 ms, (n, bins), and their frequencies."""
    padded = np.pad(np.asarray(speech, np.float64), WINDOW // 2)
    hop = AUDIO_RATE // RATE
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::hop]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2
    return power, np.fft.rfftfreq(WINDOW, 1 / AUDIO_RATE)


def _between(frequencies: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return (frequencies >= band[0]) & (frequencies < band[1])


def _smooth(values: np.ndarray, seconds: float) -> np.ndarray:
    window, count = np.hanning(round(2 * seconds * RATE) + 1)[1:-1], len(values)
    values = np.pad(values, (0, max(0, len(window) - count)))  # "same" is as long as the longer one
    return np.convolve(values, window / window.sum(), mode="same")[:count]

"""The cepstral coefficients that SyncNet hears: those of python_speech_features 0.6 as it is."""

from __future__ import annotations

import numpy as np

from ..config import AUDIO_RATE
from ..errors import EvaluationError

WINDOW, HOP = 400, 160  # samples: 25 and 10 ms, windows are rectangular
FFT = 512
FILTERS, COEFFICIENTS = 26, 13
EMPHASIS = 0.97
LIFTER = 22
EPS = np.finfo(float).eps  # in place of zeros under a logarithm


def mfcc(samples: np.ndarray) -> np.ndarray:
    """16-bit speech at 16 kHz, int16 (n,) → (frames, 13) float64, one frame per 10 ms.

    Levels stay those of 16 bit: samples in -1..1 would move the first column by -20.8, and every
    score with it. The last frame is filled with zeros. Column 0 is the logarithm of the energy.
    Raises `EvaluationError`.
    """
    if samples.dtype != np.int16 or samples.ndim != 1 or not len(samples):
        raise EvaluationError(
            f"SyncNet hears 16-bit samples (n,), not {samples.dtype} {samples.shape}; convert them."
        )
    power = _power(samples.astype(np.float64))  # (frames, 257)
    energy = _positive(power.sum(axis=1))
    bands = np.log(_positive(power @ mel_filterbank().T))  # (frames, 26)
    cepstrum = bands @ _cosines().T
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = np.log(energy)
    return cepstrum


def mel_filterbank() -> np.ndarray:
    """Triangles between whole bins of the spectrum, (26, 257)."""
    highest = 2595 * np.log10(1 + AUDIO_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, highest, FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT + 1) * hertz / AUDIO_RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(FFT // 2 + 1)
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where(bins < middle, rising, falling).clip(min=0)


def _power(samples: np.ndarray) -> np.ndarray:
    emphasised = np.append(samples[0], samples[1:] - EMPHASIS * samples[:-1])
    count = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    padded = np.pad(emphasised, (0, (count - 1) * HOP + WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]  # (frames, 400)
    return np.abs(np.fft.rfft(frames, FFT)) ** 2 / FFT


def _cosines() -> np.ndarray:
    """The orthonormal cosine transform, (13, 26)."""
    angles = np.pi * np.outer(np.arange(COEFFICIENTS), 2 * np.arange(FILTERS) + 1) / (2 * FILTERS)
    transform = np.cos(angles) * np.sqrt(2 / FILTERS)
    transform[0] /= np.sqrt(2)
    return transform


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, EPS, values)

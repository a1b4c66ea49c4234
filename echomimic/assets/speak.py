"""Speaks the demo sentence with numpy alone: formants ring for the voice, noise for the rest.

Every beat of the vocal folds rings the resonances of the mouth (formants), which die away; the
sum of all rings is a voice. Frequencies are Hz, times seconds, samples float64 around -1..1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RATE = 16_000
BANDWIDTHS = np.array([70.0, 90.0, 130.0, 200.0, 260.0])  # of the five formants
LEVELS = np.array([1.0, 0.55, 0.28, 0.12, 0.06])
HIGH_FORMANTS = (3400.0, 4300.0)
GLIDE = 0.05  # how long the mouth takes from one sound to the next
RING = 0.04  # how long a beat is heard


class Sound(NamedTuple):
    """A speech sound: three formants, loudness of voice and noise, where the noise lies."""

    formants: tuple[float, float, float]
    voice: float
    noise: float = 0.0
    band: tuple[float, float] = (0.0, 0.0)


SOUNDS = {
    "a": Sound((760, 1250, 2550), 1.0),
    "e": Sound((520, 1800, 2550), 0.95),
    "i": Sound((300, 2200, 2950), 0.8),
    "o": Sound((470, 850, 2450), 0.95),
    "u": Sound((330, 900, 2300), 0.8),
    "l": Sound((360, 1150, 2600), 0.55),
    "m": Sound((260, 1050, 2200), 0.35),
    "n": Sound((270, 1550, 2450), 0.35),
    "h": Sound((560, 1600, 2550), 0.0, 0.10, (500, 3000)),
    "s": Sound((320, 1700, 2600), 0.0, 0.14, (4200, 7600)),
    "z": Sound((300, 1700, 2600), 0.30, 0.07, (4200, 7600)),
    "k": Sound((380, 1900, 2400), 0.0, 0.30, (1400, 3200)),
    "t": Sound((350, 1800, 2700), 0.0, 0.25, (3000, 7000)),
    "-": Sound((500, 1500, 2500), 0.0),  # lips or tongue closed, or a pause
}
# "Hello, my name is Echo Mimic: nice to see you." Each entry: sounds, seconds of each, pitch.
PHRASES = (
    (("-", "h", "e", "l", "o", "u", "-"), (0.20, 0.07, 0.13, 0.08, 0.16, 0.12, 0.28), 190),
    (("m", "a", "i", "n", "e", "i", "m"), (0.08, 0.13, 0.08, 0.08, 0.13, 0.08, 0.08), 205),
    (("i", "z", "-"), (0.10, 0.09, 0.05), 192),
    (("e", "-", "k", "o", "u"), (0.15, 0.06, 0.03, 0.14, 0.08), 215),
    (("m", "i", "m", "i", "-", "k", "-"), (0.09, 0.13, 0.08, 0.12, 0.06, 0.03, 0.42), 185),
    (("n", "a", "i", "s"), (0.08, 0.15, 0.09, 0.13), 210),
    (("-", "t", "u"), (0.04, 0.03, 0.11), 195),
    (("s", "i", "i", "u", "u", "-"), (0.13, 0.16, 0.07, 0.12, 0.20, 0.30), 188),
)


def voice() -> np.ndarray:
    """The sentence as (n,) int16 at 16 kHz, mono."""
    sounds = [SOUNDS[name] for names, _, _ in PHRASES for name in names]
    samples = [round(seconds * RATE) for _, times, _ in PHRASES for seconds in times]
    pitches = [pitch for names, _, pitch in PHRASES for _ in names]
    random = np.random.Generator(np.random.Philox(2))

    def track(values: list[float], seconds: float = GLIDE) -> np.ndarray:
        return glide(np.repeat(np.asarray(values, float), samples), seconds)

    formants = np.stack([track([sound.formants[i] for sound in sounds]) for i in range(3)])
    pitch = track(pitches, 0.12) * np.linspace(1.06, 0.90, sum(samples))  # falls as air runs out
    speech = voiced(formants, pitch, track([sound.voice for sound in sounds], 0.045), random)
    for band in sorted({sound.band for sound in sounds if sound.noise}):
        level = track([sound.noise * (sound.band == band) for sound in sounds], 0.015)
        speech += level * noise(band, len(speech), random)
    speech *= 0.6 / np.abs(speech).max()
    return np.round(speech * 32767).astype(np.int16)


def glide(values: np.ndarray, seconds: float) -> np.ndarray:
    """Steps become smooth transitions of the given length."""
    window = np.hanning(round(seconds * RATE) | 1)
    padded = np.pad(values, len(window) // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def voiced(
    formants: np.ndarray,
    pitch: np.ndarray,
    level: np.ndarray,
    random: np.random.Generator,
    levels: np.ndarray = LEVELS,
) -> np.ndarray:
    """Sum of the rings of all beats; `formants` (3, n), `pitch` and `level` (n,).

    `levels` are those of the five formants: how bright the voice is.
    """
    count = len(pitch)
    time = np.arange(round(RING * RATE)) / RATE
    decay = np.exp(-np.pi * BANDWIDTHS[:, None] * time) * np.minimum(time / 0.0006, 1)
    speech = np.zeros(count + len(time))
    beats = np.flatnonzero(np.diff(np.floor(np.cumsum(pitch / RATE))))
    for beat, unsteady in zip(beats, random.normal(0, 0.05, len(beats)), strict=True):
        frequencies = np.array([*formants[:, beat], *HIGH_FORMANTS])
        rings = decay * np.sin(2 * np.pi * frequencies[:, None] * time)
        speech[beat : beat + len(time)] += level[beat] * (1 + unsteady) * (levels @ rings)
    return speech[:count]


def noise(band: tuple[float, float], count: int, random: np.random.Generator) -> np.ndarray:
    """Noise of unit power within `band`, with soft edges."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    centre, width = np.mean(band), (band[1] - band[0]) / 2
    spectrum *= np.exp(-(((frequency - centre) / width) ** 4))
    noise = np.fft.irfft(spectrum, count)
    return noise / noise.std()

"""Voices made offline: babble of invented speakers, from the formant synthesiser of the demo."""

from __future__ import annotations

import numpy as np

from ..assets.speak import LEVELS, RATE, SOUNDS, glide, noise, voiced

STREAM = 2  # of the random numbers of a seed
CONSONANTS = ("h", "l", "m", "n", "s", "z", "k", "t", "-")
VOWELS = ("a", "e", "i", "o", "u")
SENTENCE = (3, 9)  # syllables between pauses
PAUSE = (0.12, 0.55)  # seconds


def speak(seed: int, seconds: float) -> np.ndarray:
    """Speech of a seed's speaker: float32 (n,) at 16 kHz in -1..1, with pauses of silence.

    Pitch, tract, pace, brightness, breath, loudness, room and background noise differ from seed
    to seed, so that what learns from these voices does not rely on any of them.
    """
    random = np.random.Generator(np.random.Philox([seed, STREAM]))
    count = round(seconds * RATE)
    pace = random.uniform(0.75, 1.45)
    names, lengths, pitches, stresses = _sentences(random, seconds, pace)
    samples = np.maximum(1, np.rint(np.array(lengths) * RATE).astype(int))
    sounds = [SOUNDS[name] for name in names]

    def track(values: list[float] | np.ndarray, over: float) -> np.ndarray:
        return glide(np.repeat(np.asarray(values, float), samples)[: count + RATE], over)[:count]

    tract = random.uniform(0.85, 1.22)  # short tracts ring higher
    formants = np.stack([track([s.formants[i] for s in sounds], 0.05) for i in range(3)]) * tract
    pitch = track(np.array(pitches) * random.uniform(85, 250), 0.12)
    loudness = track([s.voice * stress for s, stress in zip(sounds, stresses, strict=True)], 0.045)
    tilt = LEVELS ** random.uniform(0.6, 1.4)
    speech = voiced(np.minimum(formants, 4200), pitch, loudness, random, tilt)
    breath = random.uniform(0, 0.06)
    speech += breath * loudness * noise((400, 5000), count, random)
    for band in sorted({s.band for s in sounds if s.noise}):
        level = [s.noise * (s.band == band) * stress
                 for s, stress in zip(sounds, stresses, strict=True)]  # fmt: skip
        speech += random.uniform(0.5, 1.5) * track(level, 0.015) * noise(band, count, random)
    return _recorded(speech, random)


def _sentences(
    random: np.random.Generator, seconds: float, pace: float
) -> tuple[list[str], list[float], list[float], list[float]]:
    """Sounds with their seconds, pitch and stress, for at least that long."""
    names, lengths, pitches, stresses = ["-"], [random.uniform(0.05, 0.35)], [1.0], [0.0]
    while sum(lengths) < seconds + 0.2:
        syllables = int(random.integers(*SENTENCE))
        rise, fall = random.uniform(0.95, 1.25), random.uniform(0.75, 0.98)
        for syllable in range(syllables):
            melody = rise + (fall - rise) * syllable / syllables + random.normal(0, 0.04)
            stress = random.uniform(0.35, 1.0)
            sounds = [str(random.choice(CONSONANTS)), str(random.choice(VOWELS))]
            if random.random() < 0.25:
                sounds.append(str(random.choice(("m", "n", "l", "s", "t"))))
            for name in sounds:
                vowel = name in VOWELS
                names.append(name)
                lengths.append(random.uniform(0.08, 0.20) / pace if vowel
                               else random.uniform(0.04, 0.10) / pace)  # fmt: skip
                pitches.append(melody)
                stresses.append(stress)
        names.append("-")
        lengths.append(random.uniform(*PAUSE))
        pitches.append(1.0)
        stresses.append(0.0)
    return names, lengths, pitches, stresses


def _recorded(speech: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As a microphone somewhere hears it."""
    if random.random() < 0.4:
        tail = round(random.uniform(0.05, 0.3) * RATE)
        room = np.exp(-6 * np.arange(tail) / tail) * random.standard_normal(tail)
        wet = np.fft.irfft(
            np.fft.rfft(speech, 2 * len(speech)) * np.fft.rfft(room, 2 * len(speech))
        )
        wet = wet[: len(speech)]
        speech = speech + 10 ** random.uniform(-1.4, -0.7) * wet * speech.std() / (wet.std() + 1e-9)
    speech = speech / (np.abs(speech).max() + 1e-9)
    if random.random() < 0.4:
        background = noise((50, 7800), len(speech), random)
        speech = speech + 10 ** random.uniform(-3.2, -2.0) * background
    return (10 ** random.uniform(-1.2, -0.15) * speech).astype(np.float32)

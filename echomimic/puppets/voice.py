"""Voices made offline: babble of invented speakers, from the formant synthesiser of the demo."""

from __future__ import annotations

import numpy as np

from ..assets.speak import LEVELS, RATE, Sound, glide, noise, voiced

STREAM = 2  # of the random numbers of a seed
VOWELS, CONSONANTS = (4, 9), (5, 12)  # how many a language has
HUM = (-1.5, 0.5)  # level of the fundamental beside the rest, powers of ten
SENTENCE = (3, 9)  # syllables between pauses
PAUSE = (0.12, 0.55)  # seconds
SILENCE = Sound((500, 1500, 2500), 0.0)


def speak(seed: int, seconds: float) -> np.ndarray:
    """Speech of a seed's speaker: float32 (n,) at 16 kHz in -1..1, with pauses of silence.

    The sounds of the language, pitch, tract, pace, brightness, breath, loudness, room and
    background noise differ from seed to seed, so that what learns from these voices relies on
    none of them, and follows languages that it never heard.
    """
    random = np.random.Generator(np.random.Philox([seed, STREAM]))
    count = round(seconds * RATE)
    sounds, lengths, pitches, stresses = _sentences(random, seconds)
    samples = np.maximum(1, np.rint(np.array(lengths) * RATE).astype(int))

    def track(values: list[float] | np.ndarray, over: float) -> np.ndarray:
        return glide(np.repeat(np.asarray(values, float), samples)[: count + RATE], over)[:count]

    tract = random.uniform(0.85, 1.22)  # short tracts ring higher
    formants = np.stack([track([s.formants[i] for s in sounds], 0.05) for i in range(3)]) * tract
    pitch = track(np.array(pitches) * random.uniform(75, 270), 0.12)
    loudness = track([s.voice * stress for s, stress in zip(sounds, stresses, strict=True)], 0.045)
    tilt = LEVELS ** random.uniform(0.5, 1.5)
    speech = voiced(np.minimum(formants, 4200), pitch, loudness, random, tilt)
    speech += _hum(speech, pitch, loudness, random)
    breath = random.uniform(0, 0.06)
    speech += breath * loudness * noise((400, 5000), count, random)
    for band in sorted({s.band for s in sounds if s.noise}):
        level = [s.noise * (s.band == band) * stress
                 for s, stress in zip(sounds, stresses, strict=True)]  # fmt: skip
        speech += random.uniform(0.5, 1.5) * track(level, 0.015) * noise(band, count, random)
    return _recorded(speech, random)


def _hum(
    speech: np.ndarray, pitch: np.ndarray, loudness: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The fundamental, which microphones near a mouth hear louder than all the rest."""
    hum = np.sqrt(loudness.clip(0)) * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    return 10 ** random.uniform(*HUM) * speech.std() / (hum.std() + 1e-9) * hum


def _sentences(
    random: np.random.Generator, seconds: float
) -> tuple[list[Sound], list[float], list[float], list[float]]:
    """Sounds with their seconds, pitch and stress, for at least that long."""
    vowels = [_vowel(random) for _ in range(random.integers(*VOWELS))]
    consonants = [_consonant(random) for _ in range(random.integers(*CONSONANTS))]
    pace, weakest = random.uniform(0.75, 1.6), random.uniform(0.1, 0.6)
    sounds, lengths, pitches, stresses = [SILENCE], [random.uniform(0.05, 0.35)], [1.0], [0.0]
    while sum(lengths) < seconds + 0.2:
        syllables = int(random.integers(*SENTENCE))
        rise, fall = random.uniform(0.95, 1.25), random.uniform(0.75, 0.98)
        for syllable in range(syllables):
            melody = rise + (fall - rise) * syllable / syllables + random.normal(0, 0.04)
            stress = random.uniform(weakest, 1.0)
            chosen = _syllable(random, vowels, consonants)
            sounds += chosen
            lengths += [random.uniform(0.06, 0.22) / pace if sound in vowels
                        else random.uniform(0.03, 0.12) / pace for sound in chosen]  # fmt: skip
            pitches += [melody] * len(chosen)
            stresses += [stress] * len(chosen)
        sounds.append(SILENCE)
        lengths.append(random.uniform(*PAUSE))
        pitches.append(1.0)
        stresses.append(0.0)
    return sounds, lengths, pitches, stresses


def _syllable(
    random: np.random.Generator, vowels: list[Sound], consonants: list[Sound]
) -> list[Sound]:
    """One or two consonants, one or two vowels, and perhaps a consonant that closes it."""
    before = 1 + (random.random() < 0.15) - (random.random() < 0.15)
    glides, after = 1 + (random.random() < 0.2), int(random.random() < 0.35)
    kinds = [consonants] * before + [vowels] * glides + [consonants] * after
    return [kind[random.integers(len(kind))] for kind in kinds]


def _vowel(random: np.random.Generator) -> Sound:
    first = random.uniform(240, 900)
    second = random.uniform(first + 250, 2500)
    return Sound((first, second, random.uniform(second + 200, 3500)), random.uniform(0.5, 1.0))


def _consonant(random: np.random.Generator) -> Sound:
    """A closure, or voiced, or noise, or both."""
    kind = random.choice(("closed", "voiced", "voiced", "noisy", "noisy", "both"))
    if kind == "closed":
        return SILENCE
    formants = _vowel(random).formants
    voice = random.uniform(0.05, 0.7) if kind != "noisy" else 0.0
    level = 10 ** random.uniform(-1.5, -0.4) if kind != "voiced" else 0.0
    low = random.uniform(300, 5000)
    return Sound(formants, voice, level, (low, min(low + random.uniform(800, 4000), 7900)))


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

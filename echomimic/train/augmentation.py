"""Voices made worse before they are heard, so that the mouth follows any recording (paper 3.3).

Nothing here moves a sound in time or changes its length: lips would no longer fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import AUDIO_RATE
from ..errors import OptionsError

NOISE_SNR = (5.0, 30.0)  # dB
BABBLE_SNR = (10.0, 25.0)
GAIN = (-12.0, 6.0)
SHELF = 12.0  # dB, either way
SHELF_FREQUENCIES = (100.0, 6000.0)  # Hz
LOW_PASS = (2500.0, 7000.0)  # Hz
REVERBERATION = (0.1, 0.5)  # seconds until an echo is 60 dB down
WETNESS = (-25.0, -8.0)  # dB


@dataclass(frozen=True)
class AudioAugmentation:
    """How often a voice is changed; then by one to three of the ways at random."""

    enabled: bool = True
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise OptionsError(f"probability must be between 0 and 1, not {self.probability}.")


def augment(
    speech: Tensor, draw: torch.Generator, options: AudioAugmentation, babble: Tensor | None = None
) -> Tensor:
    """16 kHz speech (n,) in -1..1, perhaps changed; `babble` is another voice to mix in."""
    if not options.enabled or float(torch.rand((), generator=draw)) >= options.probability:
        return speech
    ways: list[Callable[[Tensor, torch.Generator], Tensor]]
    ways = [add_noise, change_gain, equalise, low_pass, reverberate]
    if babble is not None and len(babble):
        ways.append(lambda s, d: mix(s, _fitted(babble, len(s)), _uniform(d, *BABBLE_SNR)))
    count = int(torch.randint(1, 4, (), generator=draw))
    for way in torch.randperm(len(ways), generator=draw)[:count].tolist():
        speech = ways[way](speech, draw)
    return speech.clamp(-1, 1)


def add_noise(speech: Tensor, draw: torch.Generator) -> Tensor:
    """White or pink noise."""
    spectrum = torch.fft.rfft(torch.randn(len(speech), generator=draw))
    if float(torch.rand((), generator=draw)) < 0.5:
        spectrum = spectrum / _frequencies(len(speech)).clamp(min=20).sqrt()
    noise = torch.fft.irfft(spectrum, len(speech))
    return mix(speech, noise, _uniform(draw, *NOISE_SNR))


def mix(speech: Tensor, other: Tensor, snr: float) -> Tensor:
    """Both, the other one `snr` decibels below the speech."""
    power, unwanted = speech.square().mean(), other.square().mean()
    if not power or not unwanted:
        return speech
    return speech + other * (power / unwanted).sqrt() * 10 ** (-snr / 20)


def change_gain(speech: Tensor, draw: torch.Generator) -> Tensor:
    return speech * 10 ** (_uniform(draw, *GAIN) / 20)


def equalise(speech: Tensor, draw: torch.Generator) -> Tensor:
    """One bell or shelf, as a filter without delay."""
    centre = math.exp(_uniform(draw, *(math.log(f) for f in SHELF_FREQUENCIES)))
    octaves = (_frequencies(len(speech)).clamp(min=1) / centre).log2()
    shelf = float(torch.rand((), generator=draw)) < 0.5
    shape = torch.sigmoid(3 * octaves) if shelf else torch.exp(-octaves.square())
    return _filtered(speech, 10 ** (_uniform(draw, -SHELF, SHELF) * shape / 20))


def low_pass(speech: Tensor, draw: torch.Generator) -> Tensor:
    """As over a telephone."""
    cut = _uniform(draw, *LOW_PASS)
    return _filtered(speech, 1 / (1 + (_frequencies(len(speech)) / cut) ** 8).sqrt())


def reverberate(speech: Tensor, draw: torch.Generator) -> Tensor:
    """A room: the direct sound at once, then a tail of echoes that die away."""
    length = int(_uniform(draw, *REVERBERATION) * AUDIO_RATE)
    tail = torch.randn(length, generator=draw) * torch.logspace(0, -3, length)
    tail[0] = 0
    size = len(speech) + length
    wet = torch.fft.irfft(torch.fft.rfft(speech, size) * torch.fft.rfft(tail, size), size)
    return mix(speech, wet[: len(speech)], -_uniform(draw, *WETNESS))


def _filtered(speech: Tensor, response: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(speech) * response, len(speech))


def _frequencies(length: int) -> Tensor:
    return torch.fft.rfftfreq(length, 1 / AUDIO_RATE)


def _uniform(draw: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


def _fitted(speech: Tensor, length: int) -> Tensor:
    """Repeated or cut to a length."""
    return speech.repeat(-(-length // len(speech)))[:length]

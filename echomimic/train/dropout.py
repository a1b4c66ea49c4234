"""Conditions left out in training, so that guidance has something to compare with (paper 3.3)."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch

from ..errors import OptionsError


@dataclass(frozen=True)
class Drops:
    """What one sample is not shown."""

    reference: bool
    audio: bool
    landmarks: bool
    motion_frames: bool


@dataclass(frozen=True)
class Dropout:
    """How often each condition is left out, independently; `joint` leaves out the first three.

    Guidance compares with nothing at all, which independent drops alone would hardly ever show.
    """

    reference: float = 0.05
    audio: float = 0.05
    landmarks: float = 0.05
    motion_frames: float = 0.05
    joint: float = 0.05

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in astuple(self)):
            raise OptionsError(f"Dropout shares must be between 0 and 1: {self}.")

    def draw(self, draw: torch.Generator) -> Drops:
        reference, audio, landmarks, motion, joint = (
            torch.rand(5, generator=draw) < torch.tensor(astuple(self))
        ).tolist()
        return Drops(reference or joint, audio or joint, landmarks or joint, motion)


@dataclass(frozen=True)
class Mixture:
    """Shares of samples of a joint model by what drives them."""

    audio: float = 0.4
    landmarks: float = 0.3
    both: float = 0.3

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or not math.isclose(sum(astuple(self)), 1):
            raise OptionsError(f"The shares of a mixture must add up to 1: {self}.")

    def draw(self, draw: torch.Generator) -> str:
        """ "audio", "landmarks" or "both"."""
        place = float(torch.rand((), generator=draw))
        if place < self.audio:
            return "audio"
        return "landmarks" if place < self.audio + self.landmarks else "both"

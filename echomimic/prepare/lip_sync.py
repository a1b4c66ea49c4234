"""Whether lips belong to a voice.

`LipSync` is where a meter plugs in: `sync_meter.SyncNetMeter` for those who have its weights.
`MouthVoiceProxy` needs none: it compares how far the mouth is open with how loud the voice is. It
is not Sync-C, and is called a proxy wherever its figures appear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..landmarks.track import LandmarkTrack
from ..report.measures import MOST_LAG, correlation_by_lag, mouth_opening, voice_level
from .checks import Check, check
from .options import Limits

FEWEST_CONTROLS = 69  # wrong alignments, those of a clip of 4 s; fewer tell too little


@dataclass(frozen=True)
class Candidate:
    """What may become a clip: one face, cropped, and what is heard with it."""

    track: LandmarkTrack  # in the crop
    speech: np.ndarray  # float32 (n,) at 16 kHz, as long as the frames
    frames: Callable[[], Iterator[np.ndarray]]  # uint8 (H, W, 3) of the crop, read when asked for


class LipSync(Protocol):
    """A meter of lips against a voice. `name` is written beside its figures.

    It is sent to worker processes, so it holds paths and no open model.
    """

    name: str
    reasons: tuple[str, ...]  # what it may reject for, rows of `checks.REASONS`

    def __call__(self, clip: Candidate, limits: Limits) -> list[Check]:
        """What was measured, against its limits."""


@dataclass(frozen=True)
class MouthVoiceProxy:
    """Correlation of mouth opening and loudness, its lag, and how it compares with chance."""

    name: str = "mouth-voice proxy"
    reasons: tuple[str, ...] = ("mouth_voice", "mouth_chance", "mouth_late")

    def __call__(self, clip: Candidate, limits: Limits) -> list[Check]:
        opening, fps = mouth_opening(clip.track), clip.track.fps
        level = voice_level(clip.speech, len(opening), fps)
        lags, correlations = correlation_by_lag(opening, level, fps)
        best = int(correlations.argmax())
        return check(
            limits,
            mouth_voice=float(correlations[best]),
            mouth_chance=above_chance(opening, level, fps),
            mouth_late=float(np.rint(lags[best] * fps)),
        )


def above_chance(opening: np.ndarray, level: np.ndarray, fps: float) -> float | None:
    """By how much mouth and voice correlate better at some lag than anywhere else.

    Elsewhere is the voice turned round the clip, by more than the longest lag that is looked for.
    A voice of somebody else fits at one place as well as at another. None for clips of less than
    4 s, which have too few places to compare with, and where nothing moves.
    """
    frames = np.arange(len(opening))
    near = np.minimum(frames, len(opening) - frames) <= round(MOST_LAG * fps)
    if (~near).sum() < FEWEST_CONTROLS or opening.std() < 1e-9 or level.std() < 1e-9:
        return None
    correlations = _circular(opening, level)
    return float(correlations[near].max() - correlations[~near].max())


def _circular(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation (f,) of a with b turned by 0, 1, 2 … frames."""
    ours, theirs = (np.fft.rfft((x - x.mean()) / x.std()) for x in (a, b))
    return np.fft.irfft(ours * theirs.conj(), len(a)) / len(a)

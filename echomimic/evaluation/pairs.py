"""Real clips and their generated counterparts: found by name, read, brought to one grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..config import AUDIO_RATE
from ..errors import EvaluationError, MediaError, OptionsError
from ..landmarks.track import LandmarkTrack
from ..media.audio import read_speech
from ..media.frames import VIDEO_SUFFIXES, read_frames, video_info
from ..media.sound import INT16_STEP

SHORTEST = 3  # frames; fewer have no motion
MOST_UNEQUAL = 0.5  # seconds by which two lengths may differ
MOST_STRETCH = 0.02  # by which two shapes may differ

Tracker = Callable[[np.ndarray, str], LandmarkTrack]  # frames (f, H, W, 3) and their name


@dataclass(frozen=True)
class Pair:
    """Two files that show the same, one of them generated."""

    name: str
    real: Path
    generated: Path


@dataclass(frozen=True)
class Film:
    """A clip on the grid of the evaluation."""

    name: str  # begins a sentence: both files of a pair have one name
    frames: np.ndarray  # uint8 (f, H, W, 3)
    speech: np.ndarray | None  # float32 (n,) at 16 kHz, as long as the frames; None: silent
    fps: float
    track: LandmarkTrack | None = None


def find_pairs(real: Path, generated: Path) -> list[Pair]:
    """Two videos, or those of two folders that have the same name before the suffix.

    Raises `OptionsError` where there are none, or where one has no counterpart.
    """
    if real.is_file() and generated.is_file():
        return [Pair(generated.stem, real, generated)]
    for path, other in ((real, generated), (generated, real)):
        if path.is_dir() and other.is_file():
            raise OptionsError(
                f"{path} is a folder and {other} a file; give two videos, or two folders of videos."
            )
    for path in (real, generated):
        if not path.is_dir():
            raise OptionsError(
                f"{path} is no folder of videos; give two videos, or two folders of videos."
            )
    truths, made = _videos(real), _videos(generated)
    for folder, names in ((generated, truths.keys() - made), (real, made.keys() - truths)):
        if names:
            raise OptionsError(
                f"{folder} has no video named {min(names)} ({len(names)} of the other folder lack "
                "a counterpart); name real and generated clips alike, or take it out."
            )
    return [Pair(name, truths[name], made[name]) for name in sorted(made)]


def read_pair(
    pair: Pair, *, fps: float, seconds: float, tracker: Tracker | None
) -> tuple[Film, Film]:
    """The real and the generated clip at `fps`, at most `seconds` long, in the generated size,
    cut to the shorter one, with landmarks if there is a tracker.

    Raises `EvaluationError` for clips that cannot be compared, `MediaError` for files that are
    damaged in the part that is measured, and `LandmarkError` where no face is seen.
    """
    most = max(1, round(seconds * fps))
    sides = (("real", pair.real), ("generated", pair.generated))
    films = [_frames(path, side, fps, most) for side, path in sides]
    _check_lengths(pair, films, fps)
    count = min(map(len, films))
    made = films[1][:count]
    truth = _fitted(pair, films[0][:count], made.shape[1:3])
    return tuple(
        _film(path, side, frames, fps, tracker)
        for (side, path), frames in zip(sides, (truth, made), strict=True)
    )


def _videos(folder: Path) -> dict[str, Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    except OSError as error:
        raise OptionsError(
            f"{folder} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if not found:
        raise OptionsError(
            f"{folder} holds no videos ({', '.join(VIDEO_SUFFIXES)}); give another folder."
        )
    names = {path.stem: path for path in found}
    if len(names) < len(found):
        raise OptionsError(f"{folder} holds two videos of one name; keep one of them.")
    return names


def _frames(path: Path, side: str, fps: float, most: int) -> np.ndarray:
    with _named(path, side):
        return np.stack(list(islice(read_frames(path, fps=fps, strict=True), most)))


def _film(path: Path, side: str, frames: np.ndarray, fps: float, tracker: Tracker | None) -> Film:
    name = f"The {side} {path.name}"
    with _named(path, side):
        speech = _speech(path, len(frames) / fps)
    return Film(name, frames, speech, fps, None if tracker is None else tracker(frames, name))


@contextmanager
def _named(path: Path, side: str) -> Iterator[None]:
    """What reading says of a file tells which of two files of one name it is."""
    try:
        yield
    except MediaError as error:
        said = f" {error}".replace(f" {path.name} ", f" the {side} {path.name} ", 1).strip()
        raise MediaError(said[:1].upper() + said[1:]) from error


def _check_lengths(pair: Pair, films: list[np.ndarray], fps: float) -> None:
    lengths = [len(film) for film in films]
    sides = (("real", pair.real), ("generated", pair.generated))
    for (side, path), length in zip(sides, lengths, strict=True):
        if length < SHORTEST:
            raise EvaluationError(
                f"The {side} {path.name} has {length} frame{'s' * (length != 1)} at {fps:g} fps, "
                f"at least {SHORTEST} are needed; give a longer clip."
            )
    if abs(lengths[0] - lengths[1]) > MOST_UNEQUAL * fps:
        raise EvaluationError(
            f"The real {pair.real.name} has {lengths[0]} frames and the generated "
            f"{pair.generated.name} {lengths[1]}; give clips of the same moments."
        )


def _fitted(pair: Pair, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    names = f"The real {pair.real.name}", f"the generated {pair.generated.name}"
    return np.stack([fitted(frame, size, *names) for frame in frames])


def fitted(frame: np.ndarray, size: tuple[int, int], real: str, generated: str) -> np.ndarray:
    """A real frame in the size (H, W) of the generated one, shrunk without skipping pixels.

    Raises `EvaluationError`, which names both, where it has another shape.
    """
    height, width = frame.shape[:2]
    if (height, width) == size:
        return frame
    stretch = (width / height) / (size[1] / size[0])
    if abs(math.log(stretch)) > MOST_STRETCH:
        raise EvaluationError(
            f"{real} is {width}x{height} and {generated} {size[1]}x{size[0]}, another shape; cut "
            "the real clip as the portrait was cut."
        )
    pixels = torch.from_numpy(frame).movedim(-1, 0)[None].float()
    small = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).byte()[0].movedim(0, -1).numpy()


def _speech(path: Path, seconds: float) -> np.ndarray | None:
    """None without a sound track, or if it is silent."""
    if not video_info(path).has_audio:
        return None
    speech = read_speech(path, int16=True).numpy()
    length = round(seconds * AUDIO_RATE)
    speech = np.pad(speech[:length], (0, max(0, length - len(speech))))
    return speech if np.abs(speech).max(initial=0) > INT16_STEP else None

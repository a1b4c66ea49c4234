"""Real clips and their generated counterparts: found by name, read, brought to one grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..config import AUDIO_RATE
from ..errors import EvaluationError, OptionsError
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

    name: str
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

    Raises `EvaluationError` for clips that cannot be compared, `MediaError` for damaged files and
    `LandmarkError` where no face is seen.
    """
    most = max(1, round(seconds * fps))
    films = [_frames(path, fps, most) for path in (pair.real, pair.generated)]
    _check_lengths(pair, films, fps)
    count = min(map(len, films))
    made = films[1][:count]
    truth = _fitted(pair, films[0][:count], made.shape[1:3])
    return tuple(
        Film(
            path.name,
            frames,
            _speech(path, count / fps),
            fps,
            None if tracker is None else tracker(frames, path.name),
        )
        for path, frames in ((pair.real, truth), (pair.generated, made))
    )


def _videos(folder: Path) -> dict[str, Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise OptionsError(
            f"{folder} holds no videos ({', '.join(VIDEO_SUFFIXES)}); give another folder."
        )
    names = {path.stem: path for path in found}
    if len(names) < len(found):
        raise OptionsError(f"{folder} holds two videos of one name; keep one of them.")
    return names


def _frames(path: Path, fps: float, most: int) -> np.ndarray:
    return np.stack(list(islice(read_frames(path, fps=fps), most)))


def _check_lengths(pair: Pair, films: list[np.ndarray], fps: float) -> None:
    lengths = [len(film) for film in films]
    for path, length in zip((pair.real, pair.generated), lengths, strict=True):
        if length < SHORTEST:
            raise EvaluationError(
                f"{path.name} has {length} frame{'s' * (length != 1)} at {fps:g} fps, at least "
                f"{SHORTEST} are needed; give a longer clip."
            )
    if abs(lengths[0] - lengths[1]) > MOST_UNEQUAL * fps:
        raise EvaluationError(
            f"{pair.real.name} has {lengths[0]} frames and the generated {pair.generated.name} "
            f"{lengths[1]}; give clips of the same moments."
        )


def _fitted(pair: Pair, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    names = pair.real.name, f"the generated {pair.generated.name}"
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

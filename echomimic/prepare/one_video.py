"""One video → the clips that are kept of it, and why the others are not."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config import AUDIO_RATE
from ..errors import LandmarkError, MediaError
from ..landmarks.face_box import Crop
from ..media.audio import read_speech
from ..media.frames import read_frames, video_info
from ..media.sound_delay import sound_delay
from ..train.clips import held_out
from .checks import Check, measured
from .faces import FaceSource
from .judge import Judge
from .lip_sync import LipSync
from .options import PrepareOptions
from .stretches import Stretch, stretches
from .write_clip import cropped_frame, heard, write_clip

AROUND = 1.0  # seconds of sound kept before and after a clip, which encoders hear as context


@dataclass(frozen=True)
class Video:
    """A file, and the folder that it was found in."""

    path: Path
    root: Path

    @property
    def label(self) -> str:
        """How records call it: the same wherever the data lie."""
        return f"{self.root.name}/{self.path.relative_to(self.root).as_posix()}"

    @property
    def key(self) -> str:
        """A file name for it, unlike that of every other video, and without dots."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", self.path.stem)[:40]
        return f"{plain}-{hashlib.blake2b(self.label.encode(), digest_size=4).hexdigest()}"

    def identity(self, kind: str) -> str:
        """Who it shows: a "folder" of videos is a person, else each "video"."""
        parts = self.path.relative_to(self.root).parts
        if kind == "folder" and len(parts) > 1:
            return f"{self.root.name}/{parts[0]}"
        return self.label


@dataclass(frozen=True)
class Reject:
    """What was not kept, and why."""

    video: str
    start: float  # seconds
    seconds: float
    reason: str
    value: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class Outcome:
    """All that became of a video."""

    video: str
    kept: list[str]  # names of clips
    rejects: list[Reject]


@dataclass(frozen=True)
class Task:
    """A video and what is to be done with it; goes to a worker process."""

    video: Video
    out: Path
    options: PrepareOptions
    faces: FaceSource
    lip_sync: LipSync


def prepare_video(task: Task) -> Outcome:
    """Write the clips of a video that pass every check.

    A video that cannot be read is a reject. Raises `DatasetError` where clips cannot be written
    or stored faces cannot be read, `WeightsError` and `PortraitError` where there is no detector.
    """
    kept, rejects, label = [], [], task.video.label
    try:
        for result in _Preparation(task).results():
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                kept.append(result)
    except (MediaError, LandmarkError) as error:
        rejects.append(Reject(label, 0.0, 0.0, "unreadable", None, None, str(error)))
    return Outcome(label, kept, rejects)


class _Preparation:
    """One video on its way."""

    def __init__(self, task: Task) -> None:
        self._task, self._options, self._video = task, task.options, task.video
        self._again = _Rereader(task.video.path, task.options.fps)

    def results(self) -> Iterator[Reject | str]:
        """The name of each clip that is written, and each reject."""
        fps, path = self._options.fps, self._video.path
        info = video_info(path)
        if not info.has_audio:
            yield self._reject(0.0, info.duration or 0.0, Check("no_sound", None))
            return
        longest = math.floor(self._options.longest * fps + 1e-6)
        with self._task.faces.open(path) as find_faces:
            for stretch in stretches(read_frames(path, fps=fps), find_faces, longest):
                yield self._result(stretch)

    def _result(self, stretch: Stretch) -> Reject | str:
        first, seconds = stretch.first / self._options.fps, len(stretch.looks) / self._options.fps
        judge = Judge(
            stretch, self._video.path.name, heard(self._speech, first, seconds),
            partial(self._again.frames, stretch.first, stretch.end),
            self._options, self._task.lip_sync,
        )  # fmt: skip
        checks = judge.checks()
        if not checks[-1].passed:
            return self._reject(first, seconds, checks[-1])
        name, around = f"{self._video.key}-{stretch.first:06d}", min(AROUND, first)
        speech = heard(self._speech, first - around, around + seconds + AROUND)
        meta = self._meta(first, around, checks)
        write_clip(self._task.out / name, judge.clip, speech, meta, self._options)
        return name

    @cached_property
    def _speech(self) -> np.ndarray:
        """All that is heard, from the first picture on."""
        speech = read_speech(self._video.path).numpy()
        delay = sound_delay(self._video.path)
        return heard(speech, -delay, max(0.0, len(speech) / AUDIO_RATE + delay))

    def _reject(self, first: float, seconds: float, failed: Check) -> Reject:
        return Reject(
            self._video.label, first, seconds,
            failed.reason, failed.value, failed.limit, failed.sentence,
        )  # fmt: skip

    def _meta(self, first: float, around: float, checks: list[Check]) -> dict[str, Any]:
        identity = self._video.identity(self._options.identity)
        return {
            "fps": self._options.fps,
            "start": around,
            "identity": identity,
            "split": "validate" if held_out(identity) else "train",
            "source": self._video.label,
            "source_start": first,
            "faces": self._task.faces.name,
            "lip_sync": self._task.lip_sync.name,
            "measured": measured(checks),
        }


@dataclass
class _Reading:
    """A video that is being read; `next` is the number of the frame that comes next."""

    pictures: Iterator[np.ndarray]
    next: int = 0


class _Rereader:
    """Frames of a video again, without holding it.

    A reading goes on where an earlier clip ended, so a video is decoded once for all that look at
    its clips first (a meter that sees pictures), and once for all that look again (writing).
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._readings: list[_Reading] = []

    def frames(self, first: int, end: int, crop: Crop) -> Iterator[np.ndarray]:
        """Cropped frames, uint8 (H, W, 3)."""
        reading = self._nearest(first)
        for picture in reading.pictures:
            reading.next += 1
            if reading.next > first:
                yield cropped_frame(picture, crop)
            if reading.next == end:
                return

    def _nearest(self, first: int) -> _Reading:
        """The reading that comes to a frame soonest; a new one if all have passed it."""
        before = [reading for reading in self._readings if reading.next <= first]
        if not before:
            before = [_Reading(read_frames(self._path, fps=self._fps))]
            self._readings += before
        return max(before, key=lambda reading: reading.next)

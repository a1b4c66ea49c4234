"""Training data on disk: a folder of clips, each a folder that anything can read.

frames.npy      uint8 (f, H, W, 3), read as far as it is used; or
frames.zip      the same frames as 000000.jpg (or .png) …
speech.wav      the whole utterance, of which the frames show a part
portrait.png    the person in another picture of that size, to be the reference; optional
landmarks.npz   a landmark track of the frames (docs/landmarks.md)
meta.json       fps, start (seconds into the speech at frame 0), identity, motion, split
"""

from __future__ import annotations

import hashlib
import json
import wave
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..config import AUDIO_RATE
from ..errors import DatasetError, EchoMimicError
from ..landmarks.face_box import box_from_landmarks, face_mask, whole_picture
from ..landmarks.mesh import SYNC_PARTS
from ..landmarks.track import LandmarkTrack
from ..landmarks.track_file import load_track, read_valid
from ..media.audio import read_speech
from ..media.frame_zip import FrameZip
from ..media.image import image_size, read_image
from .arrays import opened

FRAMES, SPEECH, LANDMARKS, META = "frames.npy", "speech.wav", "landmarks.npz", "meta.json"
FRAME_ZIP = "frames.zip"
PORTRAIT = "portrait.png"
NEEDED = {  # what a clip has not without a file, and what to do
    LANDMARKS: ("face", "extract the landmarks"),
    SPEECH: ("sound", "add it"),
}
HELD_OUT = 0.1  # of the identities, to validate with
MARGIN = 0.25  # around the points of a feature, of their extent


@dataclass(frozen=True)
class Clip:
    """One clip of one person. What is asked for is read, and small things are kept."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def meta(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / META).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(
                f"{self.folder / META} cannot be read ({error}); make the clip again."
            ) from error

    @property
    def frames(self) -> np.ndarray | FrameZip:
        """uint8 (f, H, W, 3), of which what is asked for is read."""
        return self._zipped or self._array()

    @cached_property
    def _zipped(self) -> FrameZip | None:
        path = self.folder / FRAME_ZIP
        is_there = path.is_file() and not (self.folder / FRAMES).is_file()
        return FrameZip(path) if is_there else None

    def _array(self) -> np.ndarray:
        path = self.folder / FRAMES
        try:
            frames = opened(path)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read ({error}); make the clip again.") from error
        if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[3] != 3:
            raise DatasetError(
                f"{path} must hold RGB frames (f, height, width, 3) in uint8, not "
                f"{frames.shape} in {frames.dtype}; make the clip again."
            )
        return frames

    def frame(self, number: int) -> np.ndarray:
        """One frame, uint8 (H, W, 3)."""
        return np.array(self.frames[number])

    @cached_property
    def has_portrait(self) -> bool:
        return (self.folder / PORTRAIT).is_file()

    @property
    def num_pictures(self) -> int:
        """Frames, and the portrait."""
        return self.num_frames + self.has_portrait

    def pictures(self) -> np.ndarray:
        """All frames, and the portrait behind them if there is one, uint8 (f, H, W, 3)."""
        frames = np.array(self.frames)
        if not self.has_portrait:
            return frames
        portrait = read_image(self.folder / PORTRAIT)
        self._check_portrait(portrait.shape[1::-1])
        return np.concatenate([frames, portrait[None]])

    def _check_portrait(self, size: tuple[int, int]) -> None:
        if size != self.size:
            raise DatasetError(
                f"{self.folder / PORTRAIT} must be of the size of the frames, "
                f"{self.size[0]}x{self.size[1]}; scale it or remove it."
            )

    @cached_property
    def track(self) -> LandmarkTrack:
        return load_track(self._there(LANDMARKS))

    def speech(self) -> Tensor:
        """All of the utterance, 16 kHz (n,)."""
        return read_speech(self._there(SPEECH))

    @property
    def fps(self) -> float:
        return float(self.meta["fps"])

    @property
    def start(self) -> float:
        """Seconds into the speech at frame 0."""
        return float(self.meta.get("start", 0.0))

    @cached_property
    def num_frames(self) -> int:
        return len(self.frames)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        frames = self.frames
        return frames.size if isinstance(frames, FrameZip) else frames.shape[2:0:-1]

    def track_with(self, parts: frozenset[str]) -> LandmarkTrack:
        """The landmarks, of which these parts are drawn."""
        return replace(self.track, parts=parts)

    def face_mask(self) -> Tensor:
        """The rectangle around the face of the first frame, (1, H, W) in 0..1 (spec 7.5)."""
        width, height = self.size
        box = box_from_landmarks(self.track.points[0], width, height)
        return face_mask(box, whole_picture(self.size, self.size))

    def weight_map(
        self, frame: int, size: tuple[int, int], *, mouth: float, eyes: float
    ) -> np.ndarray:
        """What errors weigh at each place, (h, w) for `size` (w, h): 1, or more at a feature."""
        weights = np.ones((size[1], size[0]), np.float32)
        for part, weight in (("left_eye", eyes), ("right_eye", eyes), ("mouth", mouth)):
            if weight != 1:
                weights[feature_box(self.track.points[frame], part, size)] = weight
        return weights

    def check(self) -> None:
        """Raise `DatasetError` for a clip that cannot be trained on.

        It must be quick, for there may be 130,000 clips: files are looked for, and of frames,
        landmarks and sound at most the headers are read, and which frames show a face.
        """
        for key in ("fps", "identity"):
            if key not in self.meta:
                raise DatasetError(f"{self.folder / META} has no {key!r}; add it.")
        if self.num_frames < 2:
            raise DatasetError(
                f"{self.folder} has only one frame, but a clip needs a reference and a target; "
                "remove it."
            )
        valid = read_valid(self._there(LANDMARKS))
        if len(valid) != self.num_frames:
            raise DatasetError(
                f"{self.folder} has {self.num_frames} frames but landmarks of {len(valid)}; "
                "extract the landmarks again."
            )
        if not valid.any():
            raise DatasetError(f"{self.folder} shows no face in any frame; remove it.")
        if not self._there(SPEECH).stat().st_size:
            raise DatasetError(f"{self.folder / SPEECH} is empty; add sound or remove the clip.")
        if self.has_portrait:
            with (self.folder / PORTRAIT).open("rb") as file:
                self._check_portrait(image_size(file, f"{self.folder / PORTRAIT}"))

    def _there(self, name: str) -> Path:
        """The path of a file that a clip must have. Raises `DatasetError`."""
        path = self.folder / name
        if not path.is_file():
            lacks, mend = NEEDED[name]
            raise DatasetError(
                f"{self.folder} has no {lacks}: {name} is missing; {mend} or remove the clip."
            )
        return path


def feature_box(points: np.ndarray, part: str, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns around a part of the face, in a picture of `size` (width, height)."""
    around = points[list(SYNC_PARTS[part]), :2]
    low, high = around.min(axis=0), around.max(axis=0)
    margin = MARGIN * (high - low).max()
    first = np.floor((low - margin) * size).astype(int)
    last = np.ceil((high + margin) * size).astype(int)
    columns, rows = (slice(max(0, a), max(0, b)) for a, b in zip(first, last, strict=True))
    return rows, columns


class Dataset:
    """The clips of a folder, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._clips = [Clip(meta.parent) for meta in sorted(self.folder.glob(f"[!.]*/{META}"))]
        if not self._clips:
            raise DatasetError(
                f"{self.folder} holds no clips (folders with {META}); make some with "
                "`echomimic puppets` or choose another folder."
            )

    @property
    def all(self) -> list[Clip]:
        """Every clip, in the order of their names."""
        return list(self._clips)

    def clips(self, split: str) -> list[Clip]:
        """Clips to "train" or to "validate" with; people are in one or the other."""
        chosen = [
            clip
            for clip in self._clips
            if clip.meta.get("split") != "test" and is_held_out(clip) == (split == "validate")
        ]
        if not chosen and split == "train":
            raise DatasetError(f"{self.folder} holds no clips to train on; add some.")
        return chosen

    def check(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Raise `DatasetError` for the first clip that cannot be trained on, and say how many more
        there are: those in whose place, or in whose size, no batch can be made."""
        wrong, sizes = [], {}
        for done, clip in enumerate(self._clips, 1):
            try:
                clip.check()
                sizes[clip.folder] = clip.size
            except EchoMimicError as error:
                wrong.append(_named(error, clip))
            if on_progress is not None:
                on_progress(done, len(self._clips))
        wrong += _of_another_size(sizes)
        if wrong:
            more = f"; {len(wrong) - 1} more cannot be used either" if wrong[1:] else ""
            raise DatasetError(f"{wrong[0].rstrip('.')}{more}.")

    def digest(self) -> str:
        """A short name that changes with any clip's name, length, size, person or other meta data,
        and does not with the folder's place."""
        known = [(c.name, c.num_frames, *c.size, sorted(c.meta.items())) for c in self._clips]
        return hashlib.blake2b(json.dumps(known).encode(), digest_size=8).hexdigest()


def _named(error: EchoMimicError, clip: Clip) -> str:
    """The sentence of an error, with the clip where it names a file alone."""
    is_ours = isinstance(error, DatasetError)
    return str(error) if is_ours else f"The clip {clip.folder} cannot be used: {error}"


def _of_another_size(sizes: Mapping[Path, tuple[int, int]]) -> list[str]:
    """A sentence for each clip of another size than most: a batch holds frames of one size."""
    if not sizes:
        return []
    (width, height), _ = Counter(sizes.values()).most_common(1)[0]
    return [
        f"The frames of {folder} are {size[0]}x{size[1]}, but most clips' are {width}x{height}; "
        "scale them or remove the clip."
        for folder, size in sizes.items()
        if size != (width, height)
    ]


def is_held_out(clip: Clip) -> bool:
    """Whether the clip's person is one of the tenth that is kept for validation."""
    return held_out(str(clip.meta["identity"]))


def held_out(identity: str) -> bool:
    """Whether a person is kept for validation: always the same, whoever else is there."""
    number = hashlib.blake2b(identity.encode(), digest_size=4).digest()
    return int.from_bytes(number, "big") < HELD_OUT * 2**32


def write_speech(path: Path, speech: np.ndarray) -> None:
    """A clip's speech (n,) in -1..1, as 16 kHz mono in 16 bit. Raises `OSError`."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        file.writeframes(np.rint(np.clip(speech, -1, 1) * 32767).astype("<i2").tobytes())

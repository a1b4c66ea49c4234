"""Films of puppets with a known defect each, to prove that the filters see it.

A puppet sits before a wall with a pattern, in a picture wider than itself, and talks. What is wrong
with a film is its `defect`; `DEFECTS` says for which reasons it may be rejected then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..config import AUDIO_RATE
from ..landmarks.detect import Face
from ..landmarks.draw import opencv
from ..media.sound import Audio
from ..media.video import write_video
from ..puppets.clip import PuppetClip
from ..puppets.identity import identity
from .faces import save_faces

DEFECTS = {
    "none": (),
    "second face": ("second_face",),
    "camera shake": ("camera", "camera_jumps"),
    "sound 5 frames off": ("mouth_late",),
    "wrong voice": ("mouth_voice", "mouth_chance", "mouth_late"),
    "tiny face": ("small_face",),
}
FPS = 25.0
PERSON = 128  # pixels of a puppet's picture
SIZE = (256, 160)  # width and height of a film
SECOND, TINY = 80, 32  # pixels of a puppet beside the first, and of one far away
SHAKE = 3.0  # pixels, standard deviation in each direction
MARGIN = 12  # pixels around a film, which a shaking camera shows
OFF = 5  # frames
START = 1.0  # second of the voice at the first frame
STRANGER = 5000  # seeds further on is the wrong voice
STREAM = 40  # of the random numbers of a seed
CLIP_SIZE = 64  # pixels, what films of this size are fit for


@dataclass(frozen=True)
class Film:
    """What a camera and a microphone record, and where the faces truly are."""

    frames: np.ndarray  # uint8 (f, H, W, 3)
    speech: np.ndarray  # float32 (n,) at 16 kHz, as long as the frames
    faces: list[list[Face]]

    def write(self, video: Path) -> None:
        """As a video file, with the faces beside it."""
        write_video(
            video, self.frames, fps=FPS, num_frames=len(self.frames), size=SIZE,
            soundtrack=Audio(torch.from_numpy(self.speech)[None], AUDIO_RATE),
        )  # fmt: skip
        save_faces(video, self.faces)


def film(seed: int, defect: str = "none", *, num_frames: int = 100) -> Film:
    """The film of the puppet of a seed, with one of `DEFECTS`."""
    made = _Scene(seed, num_frames)
    if defect == "tiny face":
        made.add(seed, TINY, left=(SIZE[0] - TINY) // 2)
    else:
        made.add(seed, PERSON, left=(SIZE[0] - PERSON) // 2)
    if defect == "second face":
        made.add(seed + 1, SECOND, left=0)
    if defect == "camera shake":
        made.shake()
    late = {"sound 5 frames off": OFF if seed % 2 else -OFF}.get(defect, 0)
    speaker = seed + STRANGER if defect == "wrong voice" else seed
    return made.film(_voice(speaker, num_frames, late))


class _Scene:
    """A wall, and people in front of it; larger than the film by a margin."""

    def __init__(self, seed: int, num_frames: int) -> None:
        self._random = np.random.Generator(np.random.Philox([seed, STREAM]))
        self._num_frames = num_frames
        width, height = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
        self._frames = np.repeat(_wall(self._random, width, height)[None], num_frames, axis=0)
        self._points: list[np.ndarray] = []  # (f, 478, 3) of each person, pixels of the scene
        self._camera = np.zeros((num_frames, 2), int)

    def add(self, seed: int, size: int, left: int) -> None:
        """A puppet at the lower edge of the film."""
        pictures, points = _person(seed, self._num_frames)
        x, y = MARGIN + left, MARGIN + SIZE[1] - size
        background = np.array(identity(seed).background)
        for frame, picture in zip(self._frames, pictures, strict=True):
            there = (np.abs(picture.astype(int) - background) > 4).any(axis=-1)
            place, there = frame[y : y + size, x : x + size], _scaled(there * 255, size) > 127
            place[there] = _scaled(picture, size)[there]
            # Shoulders go on below the film, where only a shaking camera looks.
            below = frame[y + size :, x : x + size]
            below[:, there[-1]] = frame[y + size - 1, x : x + size][there[-1]]
        self._points.append(points * size + (x, y, 0))

    def shake(self) -> None:
        """As in a hand that trembles."""
        offsets = self._random.normal(0, SHAKE, (self._num_frames, 2))
        self._camera = np.rint(offsets).astype(int).clip(-MARGIN, MARGIN)

    def film(self, speech: np.ndarray) -> Film:
        (width, height), corners = SIZE, MARGIN + self._camera
        frames = np.stack([
            frame[y : y + height, x : x + width]
            for frame, (x, y) in zip(self._frames, corners, strict=True)
        ])  # fmt: skip
        seen = [points.copy() for points in self._points]
        for points in seen:
            points[..., :2] -= corners[:, None]
        faces = [
            [Face(points[number] / (width, height, width)) for points in seen]
            for number in range(self._num_frames)
        ]
        return Film(frames, speech, faces)


@lru_cache(maxsize=4)
def _person(seed: int, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A puppet's pictures (f, H, W, 3), and its landmarks (f, 478, 3) in shares of them."""
    clip = PuppetClip(seed, num_frames, FPS, start=START)
    return clip.frames(PERSON), clip.track(PERSON).points


def _voice(seed: int, num_frames: int, late: int) -> np.ndarray:
    """What is heard; positive `late`: the mouth moves so many frames after it."""
    clip = PuppetClip(seed, num_frames, FPS, start=START)
    return replace(clip, start=START + late / FPS, spoken=clip.speech).heard


def _scaled(picture: np.ndarray, size: int) -> np.ndarray:
    cv2 = opencv()
    return cv2.resize(picture.astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)


def _wall(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A pattern of soft spots, uint8 (height, width, 3)."""
    cv2 = opencv()
    spots = random.integers(90, 180, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)

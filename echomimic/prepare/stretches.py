"""A video as stretches of one shot each, with what is seen in their frames.

Frames pass by once. Of each, only the faces and a small grey copy stay until its stretch ends, so
a film of hours takes no more memory than one of a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np

from ..landmarks.detect import Face
from ..landmarks.draw import opencv
from ..landmarks.face_box import FaceBox
from .camera import WIDTH
from .faces import FindFaces
from .shots import changes, first_of_shot, shrunk


@dataclass(frozen=True)
class Look:
    """What is kept of a frame."""

    faces: list[Face]
    grey: np.ndarray  # uint8 (h, w), its longer side of `camera.WIDTH` pixels
    size: tuple[int, int]  # width and height in pixels of the frame itself


@dataclass(frozen=True)
class Stretch:
    """Neighbouring frames of one shot."""

    first: int  # number of the frame in the video, at the clips' frame rate
    looks: list[Look]

    @property
    def end(self) -> int:
        return self.first + len(self.looks)

    @property
    def faces(self) -> list[list[Face]]:
        return [look.faces for look in self.looks]

    @property
    def boxes(self) -> list[FaceBox | None]:
        """The largest face of each frame, in shares of the picture."""
        largest = [max(faces, key=lambda face: face.area, default=None) for faces in self.faces]
        return [None if face is None else face.box for face in largest]


def stretches(
    pictures: Iterable[np.ndarray], find_faces: FindFaces, longest: int
) -> Iterator[Stretch]:
    """Cut pictures, uint8 (H, W, 3), at shots and after `longest` frames."""
    pictures, compared = tee(pictures)
    looks = _looks(pictures, find_faces)
    current: list[Look] = []
    for number, (look, first) in enumerate(
        zip(looks, first_of_shot(changes(compared)), strict=True)
    ):
        if current and (first or len(current) == longest):
            yield Stretch(number - len(current), current)
            current = []
        current.append(look)
    if current:
        yield Stretch(number + 1 - len(current), current)


def _looks(pictures: Iterable[np.ndarray], find_faces: FindFaces) -> Iterator[Look]:
    for picture in pictures:
        cv2 = opencv()
        grey = cv2.cvtColor(shrunk(picture, WIDTH), cv2.COLOR_RGB2GRAY)
        yield Look(find_faces(picture), grey, (picture.shape[1], picture.shape[0]))

"""What is made of videos, and what a clip must be like to be kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

from ..errors import OptionsError

Identity = Literal["folder", "video"]
FrameFormat = Literal["jpg", "png", "npy"]
FACE_PIXELS = 200 / 512  # of a face in the source, per pixel of the clip's side


@dataclass(frozen=True)
class Limits:
    """What is measured of a clip, and how far it may go; `checks.REASONS` says each in words."""

    no_face: float = 0.98  # share of frames that show the face, at least
    second_face: float = 0.25  # of the first one's area, in any frame
    more_faces: float = 0.02  # share of frames that show more than one face
    face_jumps: float = 0.5  # sizes of the face, from one frame to the next
    small_face: float = 0.0  # pixels, at least; 0: as many as `FACE_PIXELS` asks for
    face_share: float = 0.35  # of the clip's side, at least
    turned: float = 45.0  # degrees to a side or tilted, 19 of 20 frames
    face_range: float = 0.35  # of the picture's width that the face moves in
    camera: float = 0.005  # of the width, the usual motion of the background in 5 frames
    camera_jumps: float = 0.02  # of the width, what 1 in 20 frames may reach
    silent: float = 0.5  # share of frames with a voice, at least
    mouth_voice: float = 0.2  # correlation of mouth and voice, at least
    mouth_chance: float = 0.15  # by how much the correlation is above that of wrong alignments
    mouth_late: float = 3.0  # frames that the mouth may be late or early
    sync_c: float = 3.0  # SyncNet's confidence, at least; as LatentSync's data have
    sync_offset: float = 3.0  # frames that the mouth may be late or early for SyncNet

    @classmethod
    def with_changes(cls, changes: dict[str, float]) -> Limits:
        """The defaults but for these; raises `OptionsError` for a limit that cannot be."""
        known = [one.name for one in fields(cls)]
        for name, value in changes.items():
            if name not in known:
                raise OptionsError(f"There is no limit {name!r}; choose from {', '.join(known)}.")
            if math.isnan(value):
                raise OptionsError(f"The limit {name!r} must be a number, not {value}.")
        return replace(cls(), **changes)


@dataclass(frozen=True)
class PrepareOptions:
    """How clips are cut, cropped and stored."""

    size: int = 512  # width and height in pixels
    fps: float = 25.0
    shortest: float = 3.0  # seconds
    longest: float = 15.0
    identity: Identity = "folder"  # a person is a folder of videos, or each video
    frames: FrameFormat = "jpg"
    quality: int = 95  # of JPEG
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.size < 8 or self.size % 8:
            raise OptionsError(f"size must be a multiple of 8, not {self.size}.")
        if not 1 <= self.fps <= 120:
            raise OptionsError(f"fps must be between 1 and 120, not {self.fps:g}.")
        if not 0 < self.shortest <= self.longest <= 60:
            raise OptionsError(
                f"Clips cannot be {self.shortest:g} to {self.longest:g} seconds long; give a "
                "shortest above 0 and a longest from there to 60."
            )
        if not 1 <= self.quality <= 100:
            raise OptionsError(f"The quality of JPEG is 1 to 100, not {self.quality}.")
        for name, kinds in (("identity", Identity), ("frames", FrameFormat)):
            if getattr(self, name) not in get_args(kinds):
                raise OptionsError(
                    f"{name} must be {' or '.join(get_args(kinds))}, not {getattr(self, name)!r}."
                )

    @property
    def least_face(self) -> float:
        """Pixels of the source that a face must have, so that it is not enlarged much."""
        return self.limits.small_face or FACE_PIXELS * self.size

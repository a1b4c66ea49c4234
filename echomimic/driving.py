"""A driving clip or landmark file → the track that drives a portrait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import LandmarkError
from .landmarks.extract import extract_file
from .landmarks.face_box import FaceBox, box_from_landmarks
from .landmarks.metric import Canonical, read_canonical, with_mesh
from .landmarks.portrait import Portrait
from .landmarks.pose_files import import_landmarks
from .landmarks.track import LandmarkTrack
from .motion.edit import select_parts
from .motion.parts import PartSelection, preset
from .motion.place import place_face
from .motion.portrait_face import portrait_face
from .motion.smooth import STRENGTH, smooth_track
from .motion.sync import METHODS, synchronise

Points = Sequence[tuple[float, float]]  # five, in pixels: eyes, nose tip, mouth corners


@dataclass(frozen=True)
class Driving:
    """What moves the face besides the voice."""

    source: Path | LandmarkTrack  # a video, a landmark file or folder, or a track
    is_video: bool = False  # `source` is a video in which faces are looked for
    method: str | None = None  # of motion.sync; None: the track was made for this portrait
    smoothing: float = STRENGTH  # 0 to 1, before synchronisation
    selection: PartSelection | None = None  # None: all parts, without the mouth where a voice is
    end: str = "hold"  # of motion.retime: how it goes on where the voice is longer

    @classmethod
    def by_video(cls, path: Path, **options: Any) -> Driving:
        """Driven by the face in a video, made to fit the portrait unless `options` say no."""
        return cls(Path(path), is_video=True, **{"method": METHODS[0]} | options)

    @property
    def soundtrack(self) -> Path | None:
        """The driving video, whose sound goes with the picture where no voice is given."""
        return self.source if self.is_video else None


def driving_track(
    driving: Driving,
    portrait: Portrait,
    landmarker: Path | None,
    *,
    voiced: bool,
    portrait_points: Points | None = None,
    seconds: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LandmarkTrack:
    """The landmarks of the clip in the portrait's picture, with the parts that are drawn.

    `portrait_points` stand for a face that no detector finds; `seconds` is how much of a driving
    video is wanted. Raises what its steps raise: `LandmarkError`, `MediaError`, `WeightsError`.
    """
    if driving.is_video:
        track = extract_file(
            driving.source, landmarker=landmarker, seconds=seconds, on_progress=on_progress
        )
    elif isinstance(driving.source, LandmarkTrack):
        track = driving.source
    else:
        track = import_landmarks(Path(driving.source))
    if driving.method is not None:
        if track.mesh is None:
            track = with_mesh(track, canonical_face(landmarker))
        face = _face_of(portrait, portrait_points, landmarker)
        track = synchronise(smooth_track(track, driving.smoothing), face, method=driving.method)
    return select_parts(track, driving.selection or preset("all but mouth" if voiced else "all"))


def _face_of(portrait: Portrait, points: Points | None, landmarker: Path | None) -> LandmarkTrack:
    if points is None:
        return portrait_face(portrait, landmarker)
    in_crop = portrait.crop.to_crop(np.array(points, dtype=np.float64))
    return face_by_hand(in_crop, portrait.crop.size, landmarker)


def face_by_hand(
    points: Points | np.ndarray, size: tuple[int, int], landmarker: Path | None
) -> LandmarkTrack:
    """A generic face on five points in pixels of a picture of `size` (width, height)."""
    return place_face(np.array(points) / size, size, canonical_face(landmarker))


def box_by_hand(points: Points, size: tuple[int, int], landmarker: Path | None) -> FaceBox:
    """The box, in pixels, of the generic face on five points of a picture of `size`."""
    face = face_by_hand(points, size, landmarker)
    return box_from_landmarks(face.points[0], *size)


def canonical_face(landmarker: Path | None) -> Canonical:
    """The canonical face of the landmarker; raises `LandmarkError` where there is none."""
    if landmarker is None:
        raise LandmarkError(
            "The face in space comes from face_landmarker.task, which is not in the models folder; "
            "run `echomimic models download --face`."
        )
    return read_canonical(landmarker)

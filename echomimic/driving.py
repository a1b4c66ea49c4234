"""A driving clip or landmark file → the track that drives a portrait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import LandmarkError
from .landmarks.extract import extract_file
from .landmarks.metric import Canonical, read_canonical, with_mesh
from .landmarks.portrait import Portrait
from .landmarks.pose_files import import_landmarks
from .landmarks.track import LandmarkTrack
from .motion.edit import select_parts
from .motion.parts import PartSelection, preset
from .motion.place import place_face
from .motion.portrait_face import portrait_face
from .motion.smooth import smooth_track
from .motion.sync import synchronise


@dataclass(frozen=True)
class Driving:
    """What moves the face besides the voice."""

    source: Path | LandmarkTrack  # a video, a landmark file or folder, or a track
    is_video: bool = False  # `source` is a video in which faces are looked for
    method: str | None = None  # of motion.sync; None: the track was made for this portrait
    smoothing: float = 0.5  # 0 to 1, before synchronisation
    selection: PartSelection | None = None  # None: all parts, without the mouth where a voice is
    end: str = "hold"  # of motion.retime: how it goes on where the voice is longer
    portrait_points: np.ndarray | None = None  # (5, 2) pixels of the picture: motion.place

    @classmethod
    def by_video(cls, path: Path, **options: Any) -> Driving:
        """Driven by the face in a video, made to fit the portrait unless `options` say no."""
        return cls(Path(path), is_video=True, **{"method": "part_aware"} | options)

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
    on_progress: Callable[[int, int], None] | None = None,
) -> LandmarkTrack:
    """The landmarks of the clip in the portrait's picture, with the parts that are drawn.

    Raises what its steps raise: `LandmarkError`, `MediaError`, `WeightsError`.
    """
    if driving.is_video:
        track = extract_file(driving.source, landmarker=landmarker, on_progress=on_progress)
    elif isinstance(driving.source, LandmarkTrack):
        track = driving.source
    else:
        track = import_landmarks(driving.source)
    if driving.method is not None:
        track = _fitted(track, driving, portrait, landmarker)
    selection = driving.selection or preset("all but mouth" if voiced else "all")
    return select_parts(track, selection)


def _fitted(
    track: LandmarkTrack, driving: Driving, portrait: Portrait, landmarker: Path | None
) -> LandmarkTrack:
    if track.mesh is None:
        track = with_mesh(track, canonical_face(landmarker))
    if driving.portrait_points is None:
        face = portrait_face(portrait, landmarker)
    else:
        points = portrait.crop.to_crop(driving.portrait_points) / portrait.crop.size
        face = place_face(points, portrait.crop.size, canonical_face(landmarker))
    return synchronise(smooth_track(track, driving.smoothing), face, method=driving.method)


def canonical_face(landmarker: Path | None) -> Canonical:
    """The canonical face of the landmarker; raises `LandmarkError` where there is none."""
    if landmarker is None:
        raise LandmarkError(
            "The face in space comes from face_landmarker.task, which is not in the models folder; "
            "run `echomimic models download --face`."
        )
    return read_canonical(landmarker)

"""One stretch of video against every limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..landmarks.extract import track_from_faces
from ..landmarks.face_box import Crop, box_over_time, crop_face
from ..landmarks.track import LandmarkTrack
from . import measures
from .checks import Check, first_failed
from .lip_sync import Candidate, LipSync
from .options import PrepareOptions
from .stretches import Stretch
from .write_clip import cropped_track

ReadFrames = Callable[[Crop], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Judge:
    """A stretch, what is heard with it, and how its frames are read again in a crop."""

    stretch: Stretch
    source: str  # name of the video
    speech: np.ndarray  # float32 (n,) at 16 kHz, as long as the frames
    frames: ReadFrames
    options: PrepareOptions
    lip_sync: LipSync

    def checks(self) -> list[Check]:
        """Up to the first that fails, which is the last then; the cheap ones come first."""
        checks: list[Check] = []
        for stage in self._stages():
            failed = first_failed(stage)
            if failed is not None:
                return [*checks, failed]
            checks += stage
        return checks

    def _stages(self) -> Iterator[list[Check]]:
        options, limits, looks = self.options, self.options.limits, self.stretch.looks
        yield [Check("short", len(looks) / options.fps, options.shortest)]
        yield measures.face_checks(self.stretch.faces, limits)
        yield measures.track_checks(self._track, limits, options.least_face)
        yield [measures.share_check(measures.pixel_boxes(self._track), self._crop.box, limits)]
        greys = [look.grey for look in looks]
        yield measures.camera_checks(greys, self.stretch.boxes, limits)
        yield [measures.voice_check(self.speech, len(looks), options.fps, limits)]
        yield self.lip_sync(self.clip, limits)

    @cached_property
    def clip(self) -> Candidate:
        track = cropped_track(self._track, self._crop)
        return Candidate(track, self.speech, lambda: self.frames(self._crop))

    @cached_property
    def _track(self) -> LandmarkTrack:
        return track_from_faces(
            self.stretch.faces, size=self.stretch.looks[0].size, fps=self.options.fps,
            source=self.source,
        )  # fmt: skip

    @cached_property
    def _crop(self) -> Crop:
        """One crop for all frames, around everywhere that the face goes."""
        box = box_over_time(measures.pixel_boxes(self._track)[self._track.seen])
        return crop_face(box, self._track.size, (self.options.size,) * 2)

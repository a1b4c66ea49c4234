"""All measures of one clip, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import OptionsError
from ..landmarks.track import LandmarkTrack
from . import measures

SHORTEST = 3  # frames; fewer have no second difference
BORDERLESS = 0
SYNC_C = (
    "Sync-C is not among these figures: it needs SyncNet's weights, which do not come with "
    "EchoMimic. The correlation is a proxy that only hears loudness."
)


@dataclass(frozen=True)
class MotionReport:
    """Curves and figures of a clip. What cannot be measured is None."""

    fps: float
    opening: np.ndarray  # (f,) of the mouth, in distances between the eyes
    eyes: np.ndarray  # (f,) height of the eyes in their width
    blinks: np.ndarray  # (n,) frames in which one begins
    head_speed: float  # distances between the eyes per second
    roughness: np.ndarray  # (f - 2,) thousandths of the distance between the eyes
    seam: float | None  # roughness at borders / elsewhere
    level: np.ndarray | None = None  # (f,) of the voice, dB below its loudest frame
    lags: np.ndarray | None = None  # (n,) seconds that the mouth is late
    correlations: np.ndarray | None = None  # (n,) at these lags
    chance: float | None = None  # the correlation of wrong alignments
    picture_roughness: np.ndarray | None = None  # (f - 2,) levels outside of the face
    picture_seam: float | None = None

    @property
    def num_frames(self) -> int:
        return len(self.opening)

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def blinks_per_minute(self) -> float:
        return 60 * len(self.blinks) / self.seconds

    @property
    def correlation(self) -> float | None:
        """Of mouth and voice at the best lag."""
        return None if self.correlations is None else float(self.correlations.max())

    @property
    def lag(self) -> float | None:
        """Seconds that the mouth is late, where it follows the voice best; None: it does not."""
        if self.correlations is None or self.correlations.max() <= 0:
            return None
        return float(self.lags[self.correlations.argmax()])

    def figures(self) -> dict[str, Any]:
        """The figures as a flat dictionary of numbers and None."""
        jump = measures.largest_jump(self.roughness)
        picture = self.picture_roughness
        return {
            "frames": self.num_frames,
            "fps": self.fps,
            "mouth_correlation": self.correlation,
            "mouth_correlation_by_chance": self.chance,
            "mouth_late_seconds": self.lag,
            "mouth_opening_mean": float(self.opening.mean()),
            "mouth_opening_deviation": float(self.opening.std()),
            "blinks": len(self.blinks),
            "blinks_per_minute": self.blinks_per_minute,
            "head_eye_distances_per_second": self.head_speed,
            "landmark_flicker": float(self.roughness.mean()),
            "landmark_seam_index": self.seam,
            "picture_flicker": None if picture is None else float(picture.mean()),
            "picture_seam_index": self.picture_seam,
            "largest_jump_at_frame": jump[0] if jump else None,
            "largest_jump_in_medians": jump[1] if jump else None,
        }

    def text(self, sync: str = SYNC_C) -> str:
        """The figures for people, a line each; `sync` is what is said of Sync-C."""
        lines = [f"{self.num_frames} frames, {self.seconds:.2f} s at {self.fps:g} fps"]
        lines += [self._voice_line(), self._blink_line()]
        lines.append(f"head: moves {self.head_speed:.2f} eye distances a second")
        lines.append(
            f"flicker: {self.roughness.mean():.2f} thousandths of the eye distance"
            + ("" if self.picture_roughness is None
               else f", picture outside the face {self.picture_roughness.mean():.2f} of 255")
        )  # fmt: skip
        lines += [*self._seam_lines(), sync]
        return "\n".join(lines)

    def _voice_line(self) -> str:
        if self.correlation is None:
            return "mouth and voice: no voice was given"
        chance = "" if self.chance is None else f" (by chance {self.chance:.2f})"
        if self.lag is None:
            return f"mouth and voice: the mouth does not follow the voice{chance}"
        frames, late = round(self.lag * self.fps), self.lag >= 0
        when = "together" if frames == 0 else f"{abs(self.lag):.2f} s {'late' if late else 'early'}"
        return f"mouth and voice: correlation {self.correlation:.2f}{chance}, {when}"

    def _blink_line(self) -> str:
        return f"blinks: {len(self.blinks)}, {self.blinks_per_minute:.0f} a minute (people: 10-25)"

    def _seam_lines(self) -> list[str]:
        lines = []
        if self.seam is not None:
            lines.append(f"seam index: {self.seam:.2f} (1: borders cannot be seen)")
        if self.picture_seam is not None:
            lines.append(f"seam index of the picture: {self.picture_seam:.2f}")
        jump = measures.largest_jump(self.roughness)
        if jump is not None:
            lines.append(f"largest jump: {jump[1]:.1f} times the median, at frame {jump[0]}")
        return lines


def motion_report(
    track: LandmarkTrack,
    speech: Tensor | np.ndarray | None = None,
    frames: Iterable[np.ndarray] | None = None,
    *,
    border_every: int = BORDERLESS,
) -> MotionReport:
    """Measure a face over time, against 16 kHz speech (n,) and the clip's own pictures if given.

    `frames` are uint8 (H, W, 3), one per frame of the track. `border_every` is after how many
    frames segments or windows meet, 0 where none do. Raises `OptionsError` for clips of less than
    3 frames and for borders that cannot be, `LandmarkError` for a face without extent.
    """
    _check(track, border_every)
    opening, eyes = measures.mouth_opening(track), measures.eye_opening(track)
    roughness = measures.landmark_roughness(track)
    pictures = None if frames is None else measures.picture_roughness(frames, track)
    if pictures is not None and len(pictures) != len(roughness):
        raise OptionsError(
            f"The landmarks have {track.num_frames} frames but the pictures {len(pictures) + 2}; "
            "connect those of the same clip."
        )
    return MotionReport(
        fps=track.fps,
        opening=opening,
        eyes=eyes,
        blinks=measures.blinks(eyes, track.fps),
        head_speed=measures.head_speed(track),
        roughness=roughness,
        seam=_seam(roughness, border_every),
        picture_roughness=pictures,
        picture_seam=None if pictures is None else _seam(pictures, border_every),
        **_voice(opening, speech, track.fps),
    )


def _voice(opening: np.ndarray, speech: Tensor | np.ndarray | None, fps: float) -> dict[str, Any]:
    if speech is None:
        return {}
    level = measures.voice_level(speech, len(opening), fps)
    lags, correlations = measures.correlation_by_lag(opening, level, fps)
    chance = measures.chance(opening, level, fps)
    return {"level": level, "lags": lags, "correlations": correlations, "chance": chance}


def _seam(roughness: np.ndarray, border_every: int) -> float | None:
    if border_every == BORDERLESS:
        return None
    return measures.seam_index(roughness, border_every)


def _check(track: LandmarkTrack, border_every: int) -> None:
    if track.num_frames < SHORTEST:
        raise OptionsError(
            f"A report needs at least {SHORTEST} frames; these landmarks have {track.num_frames}."
        )
    if border_every != BORDERLESS and border_every < SHORTEST:
        raise OptionsError(
            f"Borders every {border_every} frames leave nothing between them; give {SHORTEST} or "
            "more, or 0 for a clip without borders."
        )

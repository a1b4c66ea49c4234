"""Motion for people without a driving clip: a face that lives, and a mouth that rests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import LandmarkError, OptionsError
from ..landmarks.mesh import LEFT_IRIS, LINES, RIGHT_IRIS, Line
from ..landmarks.track import LandmarkTrack
from .idle import blink_closure, glances, head_sway
from .retime import fit_track
from .rotations import join_poses, rotation_matrices, split_poses
from .space import FaceSpace, face_space

BLINKS_PER_MINUTE = 17.0  # of people at rest
MOST_BLINKS = 60.0
UPPER_LID = 0.85  # its share of closing the eye
LOWER_LIP = 0.8  # its share of closing the mouth
OUTER_CORNERS = (33, 263)  # of the eyes, from left to right in the picture
GAZE_RANGE = (0.25, 0.75)  # where a pupil may be between the corners and between the lids


def blink_and_gaze(
    face: LandmarkTrack,
    num_frames: int,
    fps: float,
    seed: int,
    *,
    blink_rate: float = BLINKS_PER_MINUTE,
    gaze: float = 1.0,
    head: float = 1.0,
) -> LandmarkTrack:
    """A track of the still `face` (one frame) that blinks, glances and moves its head a little.

    `blink_rate` is per minute; `gaze` and `head` scale the movement, 0 is none. The same seed
    gives the same motion at any frame rate and length; the first frame is the face itself.
    Raises `LandmarkError` for a track of several frames, `OptionsError` for amounts or a length
    that cannot be.
    """
    if face.num_frames != 1:
        raise LandmarkError(
            f"The face to bring to life must be one picture, not {face.num_frames} frames; "
            "extract it from the portrait."
        )
    _check_amounts(blink_rate, gaze, head)
    track = fit_track(face, num_frames, fps)
    track = replace(track, neutral=face.neutral if face.mesh is None else face.mesh[0])
    seconds, space = track.seconds(), face_space(track)
    closure = blink_closure(seconds, seed, blink_rate)
    shape = _with_eyes(space.shape, closure, gaze * glances(seconds, seed))
    poses = _with_sway(space, head * head_sway(seconds, seed))
    return space.with_motion(track, shape, poses)


def close_mouth_in_silence(track: LandmarkTrack, activity: np.ndarray) -> LandmarkTrack:
    """The track with its lips together where the voice is silent.

    `activity` (f,) in 0..1 is `voice_activity` at the track's frames: 1 leaves the mouth as it
    is, 0 closes it. Raises `LandmarkError` if the track has another number of frames.
    """
    activity = np.asarray(activity, dtype=np.float64)
    if activity.shape != (track.num_frames,):
        raise LandmarkError(
            f"The track has {track.num_frames} frames but the voice {activity.size}; "
            "fit the track to the voice first."
        )
    space = face_space(track)
    closure = (1 - activity.clip(0, 1))[:, None, None]  # (f, 1, 1)
    shape = space.shape.copy()
    (upper_lip, upper_edge), (lower_lip, lower_edge) = _LIPS
    gap = space.shape[:, upper_edge] - space.shape[:, lower_edge]  # (f, 9, 3)
    for points in (upper_lip, upper_edge):
        shape[:, points] -= closure * (1 - LOWER_LIP) * gap
    for points in (lower_lip, lower_edge):
        shape[:, points] += closure * LOWER_LIP * gap
    return space.with_motion(track, shape, space.poses)


def _between_corners(*lines: Line) -> list[int]:
    """The points of lines that follow one another, without the first and last."""
    return [point for line in lines for point in line.points[1:]][:-1]


def _lids(part: str) -> tuple[list[int], list[int], tuple[int, int]]:
    """Lower and upper lid, point by point above one another; the corners from left to right."""
    lower, upper = LINES[part]
    ends = (lower.points[0], lower.points[-1])
    corners = ends if part == "right_eye" else ends[::-1]
    return _between_corners(lower), _between_corners(upper), corners


_EYES = ((_lids("right_eye"), list(RIGHT_IRIS)), (_lids("left_eye"), list(LEFT_IRIS)))
_MOUTH = LINES["mouth"]
_LIPS = (  # outer and inner edge of the upper lip, then of the lower, points above one another
    (_between_corners(*_MOUTH[4:6]), _between_corners(*_MOUTH[6:8])),
    (_between_corners(*_MOUTH[0:2]), _between_corners(*_MOUTH[2:4])),
)


def _check_amounts(blink_rate: float, gaze: float, head: float) -> None:
    if not 0 <= blink_rate <= MOST_BLINKS:
        raise OptionsError(
            f"A face blinks 0 to {MOST_BLINKS:g} times per minute, not {blink_rate}."
        )
    for name, amount in (("gaze", gaze), ("head", head)):
        if not 0 <= amount <= 10:
            raise OptionsError(f"The amount of {name} movement is {amount}; give 0 to 10.")


def _with_eyes(shape: np.ndarray, closure: np.ndarray, glance: np.ndarray) -> np.ndarray:
    """Shape (f, 478, 3) with lids closed by (f,) and pupils moved by (f, 2) of the eye's width."""
    shape = shape.copy()
    closed = closure[:, None, None]  # (f, 1, 1)
    across = shape[0, OUTER_CORNERS[1]] - shape[0, OUTER_CORNERS[0]]
    frames = [_eye_frame(shape[0], across, *eye) for eye in _EYES]
    lowest = np.max([low for _, _, low, _ in frames], axis=0)  # one way for both eyes
    highest = np.min([high for _, _, _, high in frames], axis=0)
    glance = glance.clip(lowest, highest)
    for ((lower, upper, _), iris), (right, up, _, _) in zip(_EYES, frames, strict=True):
        line = UPPER_LID * shape[:, lower] + (1 - UPPER_LID) * shape[:, upper]
        shape[:, lower] += closed * (line - shape[:, lower])
        shape[:, upper] += closed * (line - shape[:, upper])
        shape[:, iris] += (glance[:, :1] * right + glance[:, 1:] * up)[:, None]
        drop = (line[:, len(lower) // 2] - shape[:, iris[0]]) @ up / (up @ up)  # (f,)
        shape[:, iris] += closed * (drop[:, None] * up)[:, None]  # else it would leave the lids
    return shape


def _eye_frame(
    shape: np.ndarray,
    across: np.ndarray,
    lids: tuple[list[int], list[int], tuple[int, int]],
    iris: list[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Directions right and up, an eye's width long; how far the pupil may go along both."""
    lower, upper, (start, end) = lids
    width = np.linalg.norm(shape[end] - shape[start])
    right = across * (width / np.linalg.norm(across))  # along both eyes, not each one's own slant
    opening = shape[upper[len(upper) // 2]] - shape[lower[len(lower) // 2]]
    up = opening - right * (opening @ right) / (right @ right)
    height = np.linalg.norm(up) / width  # of the opening, in widths
    up = up / height if height > 1e-3 else np.zeros(3)
    x = (shape[iris[0]] - shape[start]) @ right / width**2
    y = (shape[iris[0]] - shape[lower].mean(axis=0)) @ up / width**2
    position = np.array([x, y])
    low, high = (share * np.array([1, height]) - position for share in GAZE_RANGE)
    return right, up, np.minimum(low, 0), np.maximum(high, 0)


def _with_sway(space: FaceSpace, sway: np.ndarray) -> np.ndarray:
    """Poses (f, 4, 4) with turns in degrees and shifts in face widths (f, 5) added."""
    scales, rotations, shifts = split_poses(space.poses)
    moved = np.zeros_like(shifts)
    moved[:, :2] = sway[:, 3:] * (space.face_width * scales)[:, None]
    turns = rotation_matrices(np.radians(sway[:, :3]))
    return join_poses(scales, rotations @ turns, shifts + moved)

"""What is measured of the face in a stretch of video, and of what is heard with it."""

from __future__ import annotations

import numpy as np

from ..audio.activity import voice_activity
from ..landmarks.detect import Face
from ..landmarks.face_box import FaceBox, box_from_landmarks
from ..landmarks.track import LandmarkTrack
from ..motion.space import EARS
from .camera import background_motion
from .checks import Check, check
from .options import Limits

USUAL = 95  # percentile of the frames that a limit holds for
HEARD = 0.5  # of `voice_activity`, from which on a voice speaks


def face_checks(frames: list[list[Face]], limits: Limits) -> list[Check]:
    """Of the faces found in each frame: one, in nearly all of them."""
    counts = np.array([len(faces) for faces in frames])
    return check(
        limits,
        no_face=float((counts > 0).mean()),
        second_face=max(map(_second, frames), default=0.0),
        more_faces=float((counts > 1).mean()),
    )


def _second(faces: list[Face]) -> float:
    """Area of the second largest face in that of the largest; 0 where there is only one."""
    areas = sorted((face.area for face in faces), reverse=True)
    return areas[1] / max(areas[0], 1e-12) if len(areas) > 1 else 0.0


def track_checks(track: LandmarkTrack, limits: Limits, least_face: float) -> list[Check]:
    """Of the one face's size, pose and place, in a track of the whole picture."""
    boxes = pixel_boxes(track)[track.seen]  # (f, 4)
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    checks = check(
        limits,
        face_jumps=_jump(boxes, track.seen),
        turned=float(np.percentile(np.abs(head_angles(track)[track.seen]).max(axis=1), USUAL)),
        face_range=_range(boxes) / track.size[0],
    )
    return [*checks, Check("small_face", float(np.median(sides)), least_face)]


def pixel_boxes(track: LandmarkTrack) -> np.ndarray:
    """Face boxes (f, 4) in pixels of the track's picture."""
    return np.array([box_from_landmarks(points, *track.size) for points in track.points])


def share_check(boxes: np.ndarray, crop_box: tuple[int, int, int, int], limits: Limits) -> Check:
    """How much of its crop's side the face fills; little if it moves far."""
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    side = min(crop_box[2] - crop_box[0], crop_box[3] - crop_box[1])
    return check(limits, face_share=float(np.median(sides) / side))[0]


def head_angles(track: LandmarkTrack) -> np.ndarray:
    """Yaw and roll of the head, (f, 2) in degrees: where the line through the ears points."""
    points = track.points * (track.size[0], track.size[1], track.size[0])  # pixels
    x, y, z = np.moveaxis(points[:, EARS[1]] - points[:, EARS[0]], -1, 0)
    return np.degrees(np.stack([np.arctan2(z, x), np.arctan2(y, np.hypot(x, z))], axis=1))


def camera_checks(
    pictures: list[np.ndarray], boxes: list[FaceBox | None], limits: Limits
) -> list[Check]:
    """Of the background in grey pictures (h, w), outside of faces in shares of the picture."""
    motion = background_motion(pictures, boxes)
    motion = motion[np.isfinite(motion)]
    if not len(motion):
        return check(limits, camera=None, camera_jumps=None)
    return check(
        limits,
        camera=float(np.median(motion)),
        camera_jumps=float(np.percentile(motion, USUAL)),
    )


def voice_check(speech: np.ndarray, num_frames: int, fps: float, limits: Limits) -> Check:
    """In how many of the frames somebody speaks, in 16 kHz speech (n,)."""
    speaking = voice_activity(speech, num_frames, fps) >= HEARD
    return check(limits, silent=float(speaking.mean()))[0]


def _jump(boxes: np.ndarray, frames: np.ndarray) -> float:
    """The farthest that the middle of a box moves from one frame to the next, in sizes of it."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sizes = np.maximum((boxes[1:, 2:] - boxes[1:, :2]).min(axis=1), 1e-9)
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1) / sizes / np.diff(frames)
    return float(steps.max(initial=0.0))


def _range(boxes: np.ndarray) -> float:
    """How far the middle of the boxes gets, along x or y, in pixels."""
    return float(np.ptp((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0).max())

"""Smoothing that takes the detector's jitter away and leaves motion alone.

A track is known as a whole, so nothing has to lag: every frame is averaged with those before and
after it alike. Frames count less the more the part differs in them, measured in the noise of the
track itself (a bilateral filter over time, one per part): a still eye is averaged over a second, a
blink only over itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..errors import OptionsError
from ..landmarks.affine import nearest_rotation
from ..landmarks.mesh import LEFT_IRIS, NUM_POINTS, RIGHT_IRIS, SYNC_PARTS, without_irises
from ..landmarks.track import LandmarkTrack
from .pose import window_mean
from .rotations import join_poses, split_poses
from .space import face_space

STRENGTH = 0.5  # unless said otherwise
LEAST = 1e-6  # below, nothing is smoothed: the window is empty
SECONDS = 1.4  # standard deviation of the window at full strength
TOLERANCE = 144.0  # at full strength and one frame per second, in variances of the noise
CALM_SHARE = 0.25  # of the frames, those that move least: there, what moves is noise
MOST_NOISE = 0.003  # of the face's width; a face that never rests is not all noise
TRUST_IN_UNSEEN = 0.1  # weight of a frame that was filled in


def smooth_track(track: LandmarkTrack, strength: float = STRENGTH) -> LandmarkTrack:
    """The track without jitter; `strength` 0 leaves it as it is, 1 smooths most.

    Shape of the face and pose of the head are smoothed apart; the points follow both. Raises
    `OptionsError` for a strength outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise OptionsError(f"The strength of smoothing must be from 0 to 1, not {strength}.")
    if strength < LEAST or track.num_frames < 3:
        return track
    space = face_space(track)
    shape = np.empty_like(space.shape)
    for part in _parts():
        shape[:, part] = _filter(space.shape[:, part], space.face_width, track, strength)
    poses = _smooth_poses(space.poses, space.face_width, track, strength)
    return replace(space.with_motion(track, shape, poses), blendshapes=track.blendshapes)


def _parts() -> Iterator[list[int]]:
    """All points, each once; the pupils apart from the eyes, for both move by themselves."""
    pupils = [*RIGHT_IRIS, *LEFT_IRIS]
    drawn = {point for points in SYNC_PARTS.values() for point in points}.union(pupils)
    yield pupils
    yield [point for point in range(NUM_POINTS) if point not in drawn]
    for points in SYNC_PARTS.values():
        yield list(without_irises(points))


def _smooth_poses(
    poses: np.ndarray, face_width: float, track: LandmarkTrack, strength: float
) -> np.ndarray:
    """Poses (f, 4, 4) as the points where they bring the head's centre and axes, and back."""
    scales, rotations, places = split_poses(poses)
    radius = face_width / 2  # where a turn of the head counts as much as a shift
    head = np.zeros((len(poses), 5, 3))
    head[:, 0], head[:, 1:4] = places, np.swapaxes(rotations, 1, 2) * radius
    head[:, 4, 0] = scales * radius
    head = _filter(head, face_width, track, strength)
    turned = nearest_rotation(np.swapaxes(head[:, 1:4], 1, 2))
    return join_poses(head[:, 4, 0] / radius, turned, head[:, 0])


def _filter(
    points: np.ndarray, face_width: float, track: LandmarkTrack, strength: float
) -> np.ndarray:
    """Each frame of points (f, n, 3) averaged with those around it that show the same."""
    window = strength * SECONDS * track.fps  # frames
    tolerance = strength * TOLERANCE / track.fps  # at more frames, the same motion steps less
    scaled = points / np.sqrt(2 * _noise(points, face_width, track.valid))
    trust = np.where(track.valid, 1.0, TRUST_IN_UNSEEN)
    total, weight = points * trust[:, None, None], trust.copy()
    for shift in range(1, min(math.ceil(2 * window), len(points) - 1) + 1):
        earlier, later = slice(-shift), slice(shift, None)
        distance = ((scaled[later] - scaled[earlier]) ** 2).mean(axis=1)  # noise alone: 1
        distance = window_mean(distance, 1).max(axis=1)  # motion lasts and has a direction
        alike = np.exp(-np.maximum(distance - 1, 0) / tolerance - (shift / window) ** 2 / 2)
        for here, there in ((earlier, later), (later, earlier)):
            share = alike * trust[there]
            total[here] += points[there] * share[:, None, None]
            weight[here] += share
    return total / weight[:, None, None]


def _noise(points: np.ndarray, face_width: float, valid: np.ndarray) -> np.ndarray:
    """Variance of the noise along each axis (3,), from second differences where it is calm."""
    bends = points[:-2] - 2 * points[1:-1] + points[2:]  # of white noise: 6 variances
    seen = valid[:-2] & valid[1:-1] & valid[2:]
    energy = ((bends[seen] if seen.any() else bends) ** 2).mean(axis=1)
    calm = np.quantile(energy, CALM_SHARE, axis=0) / 6
    return np.clip(calm, (1e-6 * face_width) ** 2, (MOST_NOISE * face_width) ** 2)

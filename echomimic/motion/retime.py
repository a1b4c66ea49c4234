"""Tracks on another clock: resampled by time, faster or slower, held, looped or cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import OptionsError
from ..landmarks.track import MAX_FPS, LandmarkTrack
from .rotations import join_poses, split_poses, turned_towards
from .space import face_space

PER_FRAME = ("points", "mesh", "transforms", "blendshapes", "valid")  # arrays of a track
ENDS = ("hold", "loop", "ping_pong", "cut")  # what happens where the track is over


def fit_track(
    track: LandmarkTrack, num_frames: int, fps: float | None = None, end: str = "hold"
) -> LandmarkTrack:
    """The track as `num_frames` frames at exactly `fps` (None: its own).

    Between frames, points are interpolated, head rotations as rotations. After the last frame the
    track stands still ("hold"), starts over ("loop"), runs back and forth ("ping_pong"), or is
    over, so that the result is shorter ("cut"). Raises `OptionsError` for what cannot be.
    """
    fps = track.fps if fps is None else fps
    if end not in ENDS:
        raise OptionsError(f"A track cannot end in {end!r}; choose {', '.join(ENDS)}.")
    if num_frames < 1:
        raise OptionsError(f"A clip needs at least one frame, not {num_frames}.")
    if not 0 < fps < math.inf:
        raise OptionsError(f"fps must be a positive number, not {fps}.")
    if end == "cut":
        num_frames = min(num_frames, num_frames_lasting(track, fps))
    positions = np.arange(num_frames) * (track.fps / fps)  # in frames of the track
    return replace(_sampled(track, *_neighbours(positions, track.num_frames, end)), fps=fps)


def num_frames_lasting(track: LandmarkTrack, fps: float) -> int:
    """Frames at `fps` that begin while the track lasts."""
    return max(1, math.ceil(track.duration * fps - 1e-6))


def change_speed(track: LandmarkTrack, speed: float) -> LandmarkTrack:
    """All frames of the track at another rate: speed 2 lasts half as long.

    `fit_track` brings it to a clip's frame rate. Raises `OptionsError` for a speed that cannot be.
    """
    fastest = MAX_FPS / track.fps
    if not 0 < speed <= fastest:
        raise OptionsError(f"The speed must be above 0, at most {fastest:.3g}, not {speed}.")
    return replace(track, fps=track.fps * speed)


def _neighbours(
    positions: np.ndarray, count: int, end: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames before and after each position and the share of the latter, each (f,)."""
    nearest = positions.round()
    positions = np.where(abs(positions - nearest) < 1e-6, nearest, positions)
    if end == "loop":
        before = np.floor(positions).astype(int)
        return before % count, (before + 1) % count, positions - before
    if end == "ping_pong" and count > 1:
        there_and_back = positions % (2 * (count - 1))
        positions = count - 1 - abs(there_and_back - (count - 1))
    positions = positions.clip(0, count - 1)
    before = np.floor(positions).astype(int)
    return before, np.minimum(before + 1, count - 1), positions - before


def _sampled(
    track: LandmarkTrack, before: np.ndarray, after: np.ndarray, share: np.ndarray
) -> LandmarkTrack:
    if not share.any():  # exactly these frames, without the memory that mixing takes
        return _picked(track, before)

    def mixed(values: np.ndarray | None, mix: Callable = _mixed) -> np.ndarray | None:
        return None if values is None else mix(values, before, after, share)

    points = mixed(track.points)
    mesh, transforms = mixed(track.mesh), mixed(track.transforms, _mixed_poses)
    if mesh is not None:
        points = _projected(track, points, mesh, transforms, before, after, share)
    return replace(
        track,
        points=points,
        mesh=mesh,
        transforms=transforms,
        blendshapes=mixed(track.blendshapes),
        valid=track.valid[np.where(share < 0.5, before, after)],
    )


def _picked(track: LandmarkTrack, frames: np.ndarray) -> LandmarkTrack:
    arrays = {name: getattr(track, name) for name in PER_FRAME}
    known = {name: values[frames] for name, values in arrays.items() if values is not None}
    return replace(track, **known)


def _mixed(
    values: np.ndarray, before: np.ndarray, after: np.ndarray, share: np.ndarray
) -> np.ndarray:
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    start = values[before]
    return np.where(weight == 0, start, start + weight * (values[after] - start))


def _mixed_poses(
    poses: np.ndarray, before: np.ndarray, after: np.ndarray, share: np.ndarray
) -> np.ndarray:
    scales, rotations, shifts = split_poses(poses)
    turned = turned_towards(rotations[before], rotations[after], share)
    mixed = join_poses(
        _mixed(scales, before, after, share), turned, _mixed(shifts, before, after, share)
    )
    return np.where(share[:, None, None] == 0, poses[before], mixed)


def _projected(
    track: LandmarkTrack,
    points: np.ndarray,
    mesh: np.ndarray,
    transforms: np.ndarray,
    *neighbours: np.ndarray,
) -> np.ndarray:
    """Points that agree with mesh and transforms as well as those of the track do."""
    space = face_space(track)
    unexplained = track.points - space.place(track.mesh, track.transforms)
    explained = space.place(mesh, transforms) + _mixed(unexplained, *neighbours)
    return np.where(neighbours[-1][:, None, None] == 0, points, explained)

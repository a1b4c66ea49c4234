"""Tracks on another clock: resampled by time, faster or slower, held, looped or cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import OptionsError
from ..landmarks.track import MAX_FPS, MIN_FPS, LandmarkTrack
from .pose import points_of
from .rotations import join_poses, split_poses, turned_towards

BLOCK = 1000  # frames that are mixed at once, so that an hour takes no more memory than it has to
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
    _check_fps(fps)
    if end == "cut":
        num_frames = min(num_frames, num_frames_lasting(track, fps))
    positions = np.arange(num_frames) * (track.fps / fps)  # in frames of the track
    return replace(_sampled(track, *_neighbours(positions, track.num_frames, end)), fps=fps)


def part_of_track(track: LandmarkTrack, start: int, stop: int) -> LandmarkTrack:
    """Frames start to stop - 1, which count from 0 there; nothing is copied."""
    return _picked(track, slice(start, stop))


def num_frames_lasting(track: LandmarkTrack, fps: float) -> int:
    """Frames at `fps` that begin while the track lasts; raises `OptionsError` for odd rates."""
    _check_fps(fps)
    return max(1, math.ceil(track.duration * fps - 1e-6))


def _check_fps(fps: float) -> None:
    if not MIN_FPS <= fps < math.inf:
        raise OptionsError(f"fps must be a positive number, {MIN_FPS} at least, not {fps}.")


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
    if not share.any():
        return _picked(track, before)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(share), BLOCK)]
    mixed = [
        _between(_picked(track, before[block]), _picked(track, after[block]), share[block])
        for block in blocks
    ]
    return _changed(track, lambda name: np.concatenate([getattr(part, name) for part in mixed]))


def _picked(track: LandmarkTrack, frames: np.ndarray | slice) -> LandmarkTrack:
    return _changed(track, lambda name: getattr(track, name)[frames])


def _changed(track: LandmarkTrack, new: Callable[[str], np.ndarray]) -> LandmarkTrack:
    """The track with new arrays in the place of those that it has."""
    known = [name for name in PER_FRAME if getattr(track, name) is not None]
    return replace(track, **{name: new(name) for name in known})


def _between(start: LandmarkTrack, end: LandmarkTrack, share: np.ndarray) -> LandmarkTrack:
    """From each frame of `start` a share (f,) of the way to the same frame of `end`."""

    def mixed(name: str) -> np.ndarray:
        a, b = getattr(start, name), getattr(end, name)
        weight = share.reshape(-1, *[1] * (a.ndim - 1))
        if name == "valid":
            return np.where(weight < 0.5, a, b)
        middle = _mixed_poses(a, b, share) if name == "transforms" else a + weight * (b - a)
        return np.where(weight == 0, a, middle)

    track = _changed(start, mixed)
    if track.mesh is None:
        return track
    weight = share[:, None, None]
    unexplained = (1 - weight) * _unexplained(start) + weight * _unexplained(end)
    points = points_of(track.mesh, track.transforms, track.size) + unexplained
    return replace(track, points=np.where(weight == 0, start.points, points))


def _unexplained(track: LandmarkTrack) -> np.ndarray:
    """What mesh and transforms do not say about the points (f, 478, 3)."""
    return track.points - points_of(track.mesh, track.transforms, track.size)


def _mixed_poses(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    (scales, rotations, shifts), (scales_end, rotations_end, shifts_end) = (
        split_poses(poses) for poses in (start, end)
    )
    return join_poses(
        scales + share * (scales_end - scales),
        turned_towards(rotations, rotations_end, share),
        shifts + share[:, None] * (shifts_end - shifts),
    )

"""A track as its user wants it: parts chosen, made stronger or weaker, and moved by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import OptionsError
from ..landmarks.affine import apply_affine
from ..landmarks.mesh import LEFT_IRIS, RIGHT_IRIS
from ..landmarks.track import LandmarkTrack
from .parts import PartEdit, PartSelection, PartSetting
from .rotations import join_poses, rotation_matrices, rotation_vectors, split_poses
from .space import PART_POINTS, FaceSpace, face_space

# An edited eye takes its pupil along; each pupil turns and grows about its own centre.
EDITED_TOGETHER: dict[str, tuple[tuple[int, ...], ...]] = {
    **{part: (points,) for part, points in PART_POINTS.items()},
    "left_eye": (PART_POINTS["left_eye"] + LEFT_IRIS,),
    "right_eye": (PART_POINTS["right_eye"] + RIGHT_IRIS,),
    "pupils": (RIGHT_IRIS, LEFT_IRIS),
}


def select_parts(track: LandmarkTrack, selection: PartSelection) -> LandmarkTrack:
    """The track with the selection's parts drawn, gains applied and edits made, in that order.

    Gains act about the face at rest (the track's neutral mesh, or else the median of its
    frames), so a part of gain 0 rests and still follows the head. The head's gain acts relative
    to the first frame. Mesh and transforms follow. What nothing is asked of stays bit-identical.
    Raises `OptionsError` if no part is selected, `LandmarkError` if points are moved through the
    camera.
    """
    if not selection.drawn:
        raise OptionsError(
            "No part of the face is selected, so nothing would drive it; switch on at least one."
        )
    track = replace(track, parts=selection.drawn)
    if selection.head_gain == 1 and not any(map(_changes, selection.parts.values())):
        return track
    space = face_space(track)
    poses = space.poses
    if selection.head_gain != 1:
        poses = _scaled_motion(poses, selection.head_gain, metric=space.metric)
    shape = _with_gains(space, selection)
    shape = _with_edits(space, shape, poses, selection, track.seconds())
    return space.with_motion(track, shape, poses)


def _changes(setting: PartSetting) -> bool:
    return setting.gain != 1 or bool(setting.edits)


def _with_gains(space: FaceSpace, selection: PartSelection) -> np.ndarray:
    gains = np.ones((len(space.neutral), 1))
    for part, setting in selection.parts.items():
        gains[list(PART_POINTS[part])] = setting.gain
    scaled = space.neutral + gains * (space.shape - space.neutral)
    return np.where(gains == 1, space.shape, scaled)  # (f, 478, 3)


def _scaled_motion(poses: np.ndarray, gain: float, *, metric: bool) -> np.ndarray:
    """Movement since the first frame times `gain`; sizes and distances by their ratio."""
    scales, rotations, shifts = split_poses(poses)
    turned = rotation_vectors(rotations[0].T @ rotations)
    moved = shifts[0] + gain * (shifts - shifts[0])
    if metric:  # twice as near never means through the camera
        moved[:, 2] = shifts[0, 2] * (shifts[:, 2] / shifts[0, 2]) ** gain
    scales = scales[0] * (scales / scales[0]) ** gain
    return join_poses(scales, rotations[0] @ rotation_matrices(gain * turned), moved)


def _with_edits(
    space: FaceSpace,
    shape: np.ndarray,
    poses: np.ndarray,
    selection: PartSelection,
    seconds: np.ndarray,
) -> np.ndarray:
    edited = {part: setting.edits for part, setting in selection.parts.items() if setting.edits}
    if not edited:
        return shape
    seen = apply_affine(poses, shape)  # (f, 478, 3), as the camera sees it
    widths = space.face_width * split_poses(poses)[0]  # (f,)
    shape = shape.copy()
    for part, edits in edited.items():
        maps, offsets = _edit_maps(edits, seconds, y_up=space.metric)
        for points in map(list, EDITED_TOGETHER[part]):
            centre = seen[:, points].mean(axis=1, keepdims=True)  # (f, 1, 3)
            spread = (seen[:, points] - centre) @ np.swapaxes(maps, -1, -2)
            seen[:, points] = centre + spread + (widths[:, None] * offsets)[:, None]
            shape[:, points] = apply_affine(np.linalg.inv(poses), seen[:, points])
    return shape


def _edit_maps(
    edits: tuple[PartEdit, ...], seconds: np.ndarray, *, y_up: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Turn and scale (f, 3, 3) and offset (f, 3) in face widths, at each frame."""
    edits = tuple(sorted(edits, key=lambda edit: edit.time))
    keys = np.array([(*edit.offset, edit.scale, edit.rotation) for edit in edits])  # (k, 4)
    times = [edit.time for edit in edits]
    x, y, scale, degrees = (np.interp(seconds, times, column) for column in keys.T)
    down = -1.0 if y_up else 1.0
    turn = np.zeros((len(seconds), 3))
    turn[:, 2] = down * np.radians(degrees)
    maps = scale[:, None, None] * rotation_matrices(turn)
    return maps, np.stack([x, down * y, np.zeros_like(x)], axis=-1)

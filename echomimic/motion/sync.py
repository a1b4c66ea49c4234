"""Motion synchronisation: a driver's motion on the face of a portrait (spec 9).

Two methods. `official` repeats the official code, defects included. `part_aware` is what the
paper describes: the driver's face is brought to the portrait's as a whole, then every part is
corrected by a residual that is added; the head turns about its own centre.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import LandmarkError, OptionsError
from ..landmarks.affine import apply_affine, fit_affine, nearest_rotation
from ..landmarks.mesh import LEFT_IRIS, NUM_POINTS, RIGHT_IRIS, SYNC_PARTS, without_irises
from ..landmarks.track import LandmarkTrack
from .pose import points_of, window_mean
from .rotations import join_poses

METHODS = ("part_aware", "official")
RESTING_SHARE = 0.1  # of the driver's frames, those most like the portrait
RIDGE = 0.05  # of a part's extent; holds back the directions in which the part is flatter


def synchronise(
    driving: LandmarkTrack,
    portrait: LandmarkTrack,
    *,
    method: str = "part_aware",
    align_parts: bool = True,
) -> LandmarkTrack:
    """The motion of `driving` on the face of `portrait`, a track of one frame, in its picture.

    Frame rate, parts, blendshapes and validity are the driver's; size, mesh and transforms are in
    the portrait's space, and the portrait's own mesh is the face at rest. `align_parts=False`
    leaves the shape of the parts to the driver (`part_aware`: to the whole face). Nothing is
    smoothed by `part_aware`; `official` averages over 3 and 5 frames. Raises `LandmarkError` for
    tracks without mesh and portraits of several frames, `OptionsError` for an unknown method.
    """
    if method not in METHODS:
        raise OptionsError(
            f"Motion synchronisation knows no method {method!r}; use {' or '.join(METHODS)}."
        )
    _check_mesh(driving, "driving")
    _check_mesh(portrait, "portrait's")
    if portrait.num_frames != 1:
        raise LandmarkError(
            f"The portrait's landmarks have {portrait.num_frames} frames; "
            "a portrait is one picture, so connect a track of one frame."
        )
    if method == "official":
        mesh = _official_mesh(driving.mesh, portrait.mesh[0], align_parts)
        transforms = _official_transforms(driving.transforms, portrait.transforms[0])
    else:
        mesh = _part_aware_mesh(driving, portrait.mesh[0], align_parts)
        transforms = _part_aware_transforms(driving, portrait.transforms[0])
    return replace(
        driving,
        points=points_of(mesh, transforms, portrait.size, official=method == "official"),
        size=portrait.size,
        mesh=mesh,
        transforms=transforms,
        neutral=portrait.mesh[0].copy(),
    )


def _check_mesh(track: LandmarkTrack, whose: str) -> None:
    if track.mesh is None:
        raise LandmarkError(
            f"The {whose} landmarks{f' of {track.source}' if track.source else ''} have no mesh "
            "in space: extract them from the picture or video itself with EchoMimic Landmark "
            "Extract, or put face_landmarker.task into the models folder, which tells the mesh."
        )
    before_camera = track.transforms[:, 2, 3] < 0
    possible = before_camera & (np.linalg.det(track.transforms[:, :3, :3]) > 0)
    if not possible.all():
        raise LandmarkError(
            f"Frame {int(possible.argmin())} of the {whose} landmarks has no pose that a head in "
            "front of the camera can have; extract them again."
        )


def _official_mesh(driver: np.ndarray, target: np.ndarray, align_parts: bool) -> np.ndarray:
    """Driver's mesh (f, 478, 3), its parts brought to those of `target` (478, 3) (spec 9.3)."""
    smooth = window_mean(driver, 1)
    if not align_parts:
        return smooth
    mean, mesh = driver.mean(axis=0), smooth.copy()
    for part in map(list, SYNC_PARTS.values()):
        mesh[:, part] = apply_affine(fit_affine(mean[part], target[part]), smooth[:, part])
    return mesh


def _official_transforms(driver: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The driver's motion since its first frame, in camera space, after the portrait's pose."""
    return window_mean(driver @ np.linalg.inv(driver[0]), 2) @ target


def _part_aware_mesh(driving: LandmarkTrack, target: np.ndarray, align_parts: bool) -> np.ndarray:
    """The driver's mesh on the face `target` (478, 3): the whole face, then a residual per part.

    A part's residual is an affine map; every point outside of the parts keeps an offset of its
    own, so that at rest the whole face is the portrait's.
    """
    resting = _resting_shape(driving, target)
    whole = _fit(resting, target)
    mesh, rest = apply_affine(whole, driving.mesh), apply_affine(whole, resting)
    if not align_parts:
        return mesh
    residual = np.broadcast_to(target - rest, mesh.shape).copy()
    for part, irises in _parts():
        correction = _fit(rest[part], (target - rest)[part], ridge=RIDGE)
        moved = part + irises  # the gaze is not part of an eye's shape, but moves with it
        residual[:, moved] = apply_affine(correction, mesh[:, moved])
    return mesh + residual


def _parts() -> list[tuple[list[int], list[int]]]:
    """Points of each part, and the irises that go with it."""
    own = {"left_eye": list(LEFT_IRIS), "right_eye": list(RIGHT_IRIS)}
    return [
        (list(without_irises(points)), own.get(name, [])) for name, points in SYNC_PARTS.items()
    ]


def _resting_shape(driving: LandmarkTrack, target: np.ndarray) -> np.ndarray:
    """The driver's face (478, 3) in the portrait's expression, every part from other frames.

    A part is taken from the frames in which its form, brought to the portrait's face, is nearest
    to the portrait's; the mean expression would shut the mouth of a driver who talks.
    """
    seen = driving.mesh[driving.seen]
    mean = seen.mean(axis=0)
    alike = apply_affine(_fit(mean, target), seen)
    resting = mean.copy()
    drawn = {point for points in SYNC_PARTS.values() for point in points}
    others = [point for point in range(NUM_POINTS) if point not in drawn]
    for part, irises in [(others, []), *_parts()]:
        distance = _form(alike[:, part]) - _form(target[part])  # (f, n, 3)
        frames = _nearest_frames((distance**2).sum(axis=(1, 2)))
        resting[part + irises] = seen[frames][:, part + irises].mean(axis=0)
    return resting


def _form(points: np.ndarray) -> np.ndarray:
    """Points without their place: a portrait's higher brows are not raised ones."""
    return points - points.mean(axis=-2, keepdims=True)


def _nearest_frames(distances: np.ndarray) -> np.ndarray:
    """The tenth of the frames, at least one, with the smallest distances (f,)."""
    return np.argsort(distances, kind="stable")[: max(1, round(RESTING_SHARE * len(distances)))]


def _part_aware_transforms(driving: LandmarkTrack, target: np.ndarray) -> np.ndarray:
    """The driver's head motion (f, 4, 4) about the head's own centre, from the pose `target`.

    Counted from the frames in which the driver holds its head like the portrait. In the picture
    the head's centre moves and grows as the driver's does: movements are scaled by the depths.
    """
    rotations = nearest_rotation(driving.transforms[:, :3, :3])
    places = driving.transforms[:, :3, 3]
    start = nearest_rotation(target[:3, :3])
    seen = driving.seen
    frames = seen[_nearest_frames(((rotations[seen] - start) ** 2).sum(axis=(1, 2)))]
    reference = nearest_rotation(rotations[frames].mean(axis=0))
    place = places[frames].mean(axis=0)
    turned = rotations @ reference.T @ start
    depth = target[2, 3] * places[:, 2:] / place[2]  # (f, 1)
    direction = target[:3, 3] / target[2, 3] + places / places[:, 2:] - place / place[2]
    return join_poses(np.ones(len(turned)), nearest_rotation(turned), depth * direction)


def _fit(source: np.ndarray, target: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """The affine map (4, 4) from points `source` (n, 3) to `target` by ordinary least squares.

    `ridge`, a share of the extent of `source`, draws the linear part to zero, most so in
    directions in which the source is flat and says little.
    """
    s, t = _form(source), _form(target)
    spread = s.T @ s
    spread += ridge * np.trace(spread) * np.eye(3)
    matrix = np.eye(4)
    matrix[:3, :3] = t.T @ s @ np.linalg.pinv(spread, hermitian=True)
    matrix[:3, 3] = target.mean(axis=0) - matrix[:3, :3] @ source.mean(axis=0)
    return matrix

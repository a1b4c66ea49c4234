"""A face where no detector finds one: the average face, fitted to five points set by hand."""

from __future__ import annotations

import re

import numpy as np

from ..errors import LandmarkError
from ..landmarks.affine import apply_affine
from ..landmarks.camera import FOCAL_LENGTH, project
from ..landmarks.extract import PICTURE_FPS
from ..landmarks.mesh import SYNC_PARTS, without_irises
from ..landmarks.metric import Canonical
from ..landmarks.track import LandmarkTrack
from .pose import points_of
from .rotations import join_poses, rotation_matrices

HANDLES = ("left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner")
EYES = ("right_eye", "left_eye")  # of the person; from left to right in the picture
NOSE_TIP, MOUTH_CORNERS = 4, (61, 291)
LEAST_DISTANCE = 0.02  # between two points, in the picture's smaller side
IRIS_RADIUS = 0.58  # centimetres, nearly the same for all people
LIKELY_TURN = np.radians([15.0, 15.0])  # pitch, yaw: what five points hardly tell
FIT_STEPS, SHAPE_STEPS = 30, 12


def points_from_text(text: str) -> np.ndarray:
    """Five points "x,y x,y ..." in 0..1 → (5, 2); raises `LandmarkError` if it is not that."""
    numbers = re.split(r"[\s,;]+", text.strip())
    try:
        return np.array(numbers, dtype=np.float64).reshape(5, 2)
    except ValueError as error:
        raise LandmarkError(
            f'The face needs five points "x,y x,y x,y x,y x,y" ({", ".join(HANDLES)}), '
            f"not {text!r:.60}."
        ) from error


def place_face(points: np.ndarray, size: tuple[int, int], canonical: Canonical) -> LandmarkTrack:
    """The average face, posed and stretched onto five points of a picture; a track of one frame.

    `points` (5, 2) in 0..1 are both eyes' centres, the tip of the nose and both mouth corners,
    each pair from left to right in the picture of `size` (width, height). The pose explains what
    it can, a smooth stretch of the face the rest. Raises `LandmarkError` for points that no face
    can have.
    """
    points = np.asarray(points, dtype=np.float64)
    _check(points, size)
    mesh = _with_irises(canonical.vertices)
    transforms = _fitted_pose(_handles(mesh), points, size)  # (1, 4, 4)
    for _ in range(SHAPE_STEPS):
        mesh = _stretched(mesh, transforms, points, size)
    return LandmarkTrack(
        points_of(mesh[None], transforms, size),
        size,
        PICTURE_FPS,
        mesh=mesh[None],
        transforms=transforms,
        neutral=mesh,
        source="a face placed by hand",
    )


def _handles(mesh: np.ndarray) -> np.ndarray:
    """The places of a mesh (n, 3) that lie on the five points, (5, 3)."""
    eyes = [mesh[list(without_irises(SYNC_PARTS[eye]))].mean(axis=0) for eye in EYES]
    return np.stack([*eyes, mesh[NOSE_TIP], *mesh[list(MOUTH_CORNERS)]])


def _with_irises(vertices: np.ndarray) -> np.ndarray:
    """The mesh with a round iris in the middle of each eye: (468, 3) → (478, 3)."""
    centres = _handles(vertices)[:2]
    ring = IRIS_RADIUS * np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])  # as MediaPipe's
    flat = np.concatenate([ring, np.zeros((5, 1))], axis=1)  # (5, 3)
    return np.concatenate([vertices, centres[0] + flat, centres[1] + flat])


def _fitted_pose(handles: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The likeliest pose (1, 4, 4) that brings handles (5, 3) near points, by Gauss-Newton."""
    state, step = _first_guess(handles, points, size), 1e-5
    spread = np.linalg.norm(points.max(axis=0) - points.min(axis=0))

    def misfit(state: np.ndarray) -> np.ndarray:
        missed = (project(handles, _pose(state), size)[0] - points) / spread
        return np.concatenate([missed.ravel() / 0.05, state[:2] / LIKELY_TURN])

    for _ in range(FIT_STEPS):
        error = misfit(state)
        slope = np.stack([(misfit(state + d) - error) / step for d in step * np.eye(6)], axis=1)
        change = np.linalg.lstsq(slope, -error, rcond=None)[0]
        state = state + change * min(1, 0.5 / max(abs(change).max(), 1e-12))
    return _pose(state)


def _first_guess(handles: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pitch, yaw, roll, then x and y per distance and the logarithm of the distance (6,)."""
    near = (points - 0.5) * (2 * size[0] / size[1], -2) / FOCAL_LENGTH  # at distance 1
    seen, real = near - near.mean(axis=0), (handles - handles.mean(axis=0))[:, :2]
    turn = np.sum(seen @ [1, -1j] * (real @ [1, 1j])).conj()
    distance = np.linalg.norm(real) / np.linalg.norm(seen)
    x, y = near.mean(axis=0)
    return np.array([0, 0, np.angle(turn), x, y, np.log(distance)])


def _pose(state: np.ndarray) -> np.ndarray:
    pitch, yaw, roll, x, y, log_distance = state
    roll_about_view = rotation_matrices(np.array([0, 0, roll]))
    distance = np.exp(log_distance)
    rotation = roll_about_view @ rotation_matrices(np.array([pitch, yaw, 0]))
    return join_poses(np.ones(1), rotation[None], distance * np.array([[x, y, -1.0]]))


def _stretched(
    mesh: np.ndarray, transforms: np.ndarray, points: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The mesh moved parallel to the picture, smoothly, by what its handles still miss."""
    handles = _handles(mesh)
    missed = points - project(handles, transforms, size)[0]  # (5, 2)
    distance = -apply_affine(transforms, handles[None])[0, :, 2:]  # (5, 1)
    shifts = missed * (2 * size[0] / size[1], -2) / FOCAL_LENGTH * distance
    moved = _thin_plate(handles[:, :2], shifts, mesh[:, :2])  # (478, 2)
    return mesh + np.pad(moved, ((0, 0), (0, 1))) @ transforms[0, :3, :3]


def _thin_plate(places: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The smoothest field with `values` (k, 2) at `places` (k, 2), at other points (n, 2).

    https://en.wikipedia.org/wiki/Thin_plate_spline
    """
    k = len(places)
    flat = np.concatenate([np.ones((k, 1)), places], axis=1)
    system = np.zeros((k + 3, k + 3))
    system[:k, :k], system[:k, k:], system[k:, :k] = _bend(places, places), flat, flat.T
    solution = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 2))]))
    plane = np.concatenate([np.ones((len(at), 1)), at], axis=1)
    return _bend(at, places) @ solution[:k] + plane @ solution[k:]


def _bend(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return squared * np.log(np.maximum(squared, 1e-12))


def _check(points: np.ndarray, size: tuple[int, int]) -> None:
    if points.shape != (5, 2):
        raise LandmarkError(
            f"A face is placed by five points ({', '.join(HANDLES)}), not by an array of "
            f"shape {points.shape}."
        )
    for name, point in zip(HANDLES, points, strict=True):
        if not ((point >= 0) & (point <= 1)).all():  # NaN is not either
            x, y = point
            raise LandmarkError(
                f"The {name} at ({x:.3g}, {y:.3g}) does not lie in the picture; both numbers "
                "must be 0 to 1."
            )
    square = points * size / min(size)  # (5, 2), in the picture's smaller side
    _check_distances(square)
    _check_order(square)


def _check_distances(square: np.ndarray) -> None:
    for i, name in enumerate(HANDLES):
        for j in range(i):
            if np.linalg.norm(square[i] - square[j]) < LEAST_DISTANCE:
                raise LandmarkError(
                    f"The {HANDLES[j]} and the {name} lie on the same spot; move them apart."
                )


def _check_order(square: np.ndarray) -> None:
    """Eyes and mouth corners must go round without crossing, the nose tip lie between them."""
    left, right, nose, mouth_left, mouth_right = square
    ring = np.array([left, right, mouth_right, mouth_left])
    sides = np.roll(ring, -1, axis=0) - ring
    turns = _cross(sides, np.roll(sides, -1, axis=0))  # positive: clockwise, y is down
    if not (turns > LEAST_DISTANCE**2).all():
        raise LandmarkError(
            "The eyes and mouth corners do not form a face: give the eyes above the mouth, each "
            "pair from left to right, and not all on one line."
        )
    above, below = (left + right) / 2, (mouth_left + mouth_right) / 2
    down = below - above
    if not 0 < (nose - above) @ down < down @ down:
        raise LandmarkError("The nose tip does not lie between eyes and mouth; move it there.")


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

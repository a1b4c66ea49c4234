"""A puppet's head in space: what is drawn of it, and its landmarks in MediaPipe's topology.

Lengths are picture widths; x to the right, y down, z towards us, from the middle of the head.
Pictures are square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..landmarks.camera import FOCAL_LENGTH
from ..landmarks.mesh import CONTOUR, NUM_POINTS
from ..landmarks.track import LandmarkTrack
from .identity import Identity
from .performance import Performance

MIDDLE = (0.5, 0.53)  # of the head in the picture
CAMERA = FOCAL_LENGTH / 2  # its distance, at which a picture is as high as our unit
CENTIMETRES = 26.0  # per picture width
DEPTH = 0.55  # of the face, in half face widths
FLIP = np.diag([1.0, -1.0, 1.0])  # MediaPipe's y points up

MOUTH_OPENING = 0.150  # between the lips when wide open
WIDTH_CHANGE = 0.24  # of the mouth, spread or rounded
LIPS = (0.012, 0.017)  # thickness of the upper and the lower lip
GAZE = (0.026, 0.018)  # how far the irises go
BROW_RISE = 0.028

# From left to right in the picture.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133),
              (362, 398, 384, 385, 386, 387, 388, 466, 263))  # fmt: skip
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133),
              (362, 382, 381, 380, 374, 373, 390, 249, 263))  # fmt: skip
UPPER_BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
LOWER_BROWS = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
OUTER_UPPER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
BRIDGE = (151, 9, 168, 6, 197, 195)  # from the forehead to the nose
NOSE = {4: (0.0, 0.0), 1: (0.0, 0.35), 5: (0.0, -0.5), 45: (-0.5, 0.0), 275: (0.5, 0.0),
        44: (-0.6, 0.4), 274: (0.6, 0.4), 51: (-0.5, -0.6), 281: (0.5, -0.6), 220: (-0.9, 0.1),
        440: (0.9, 0.1)}  # fmt: skip
FOREHEAD = 10


@dataclass(frozen=True)
class Head:
    """Outlines of a head, unposed, for all frames: (f, n, 3); pairs are left and right."""

    face: np.ndarray
    lids: tuple[tuple[np.ndarray, np.ndarray], ...]  # upper and lower, of both eyes
    irises: tuple[np.ndarray, ...]  # (f, 1, 3) centres
    brows: tuple[tuple[np.ndarray, np.ndarray], ...]  # upper and lower edge
    outer_lips: tuple[np.ndarray, np.ndarray]  # upper and lower
    inner_lips: tuple[np.ndarray, np.ndarray]
    nose: np.ndarray  # (f, 1, 3) tip


def surface(person: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of the face at a place, 0 at its outline."""
    inside = 1 - (x / person.face_width) ** 2 - (y / person.face_height) ** 2
    return DEPTH * person.face_width * np.sqrt(np.clip(inside, 0, None))


def in_space(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points that the camera sees at (x, y) when the head looks at it → (..., 3)."""
    nearer = 1 - z / CAMERA
    return np.stack(np.broadcast_arrays(x * nearer, y * nearer, z), axis=-1)


def head(person: Identity, performance: Performance) -> Head:
    """The head with its expression in every frame."""
    eyes = [_eye(person, performance, side) for side in (-1, 1)]
    outer, inner = _lips(person, performance)
    frames = performance.num_frames
    nose_level = (person.eye_level + person.mouth_level) / 2 + 0.012
    nose = in_space(0.0, nose_level, surface(person, 0.0, nose_level) + 0.03)
    return Head(
        face=_outline(person, performance),
        lids=tuple(lids for lids, _ in eyes),
        irises=tuple(iris for _, iris in eyes),
        brows=tuple(_brow(person, performance, side) for side in (-1, 1)),
        outer_lips=outer,
        inner_lips=inner,
        nose=np.broadcast_to(nose, (frames, 1, 3)),
    )


def _on_face(person: Identity, x: np.ndarray, y: np.ndarray, above: float = 0.0) -> np.ndarray:
    return in_space(x, y, surface(person, x, y) + above)


def face_angle(person: Identity, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline of the face at angles from the right over the chin, at rest."""
    x, y = person.face_width * np.cos(angle), person.face_height * np.sin(angle)
    narrowing = (1 - person.jaw) * 0.5 * np.clip(np.sin(angle), 0, None) ** 2
    return x * (1 - narrowing), y


def _outline(person: Identity, performance: Performance) -> np.ndarray:
    x, y = face_angle(person, np.linspace(0, 2 * np.pi, 48, endpoint=False))
    chin = 1 + 0.06 * performance.mouth_open[:, None] * (y > 0) * (y / person.face_height) ** 2
    return in_space(x, y * chin, np.zeros(1))


def _eye(
    person: Identity, performance: Performance, side: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    across = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 9))  # dense at the corners
    arch = person.eye_height * np.sqrt(1 - across**2)
    blink = performance.blink[:, None]
    x = side * person.eye_distance + person.eye_width * across
    upper = person.eye_level - arch * (1 - 1.35 * blink)
    lower = person.eye_level + arch * (1 - 0.65 * blink)
    gaze = performance.gaze * GAZE  # (f, 2)
    iris_x = side * person.eye_distance + gaze[:, :1]
    iris_y = person.eye_level + gaze[:, 1:]
    lids = (_on_face(person, x, upper), _on_face(person, x, lower))
    return lids, _on_face(person, iris_x, iris_y)


def _brow(person: Identity, performance: Performance, side: int) -> tuple[np.ndarray, np.ndarray]:
    across = np.linspace(-1, 1, 5)
    rise = performance.brow[:, None]
    inner = np.clip(-side * across, 0, None)  # 1 at the end near the nose
    x = side * person.eye_distance + 0.98 * person.eye_width * across
    y = person.eye_level - person.eye_height - 0.030 - 0.016 * (1 - across**2)
    y = y - BROW_RISE * rise + 0.022 * np.clip(-rise, 0, 1) * inner
    half = person.brow_thickness / 2 * (1 - 0.5 * across**2)
    return _on_face(person, x, y - half), _on_face(person, x, y + half)


def _lips(
    person: Identity, performance: Performance
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    across = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 11))
    arch = 1 - across**2
    wide = person.mouth_width * (1 + WIDTH_CHANGE * performance.mouth_width[:, None])
    opening = MOUTH_OPENING * performance.mouth_open[:, None]
    smile = person.mouth_level + 0.018 * arch
    x = wide * across
    upper = smile - 0.22 * opening * arch
    lower = smile + 0.78 * opening * arch**0.75

    def above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _on_face(person, *np.broadcast_arrays(x, y), above=0.012)

    thickness = np.sqrt(arch) * np.array(LIPS)[:, None]
    outer = (above(1.07 * x, upper - thickness[0]), above(1.07 * x, lower + thickness[1]))
    return outer, (above(x, upper), above(x, lower))


def poses(performance: Performance) -> np.ndarray:
    """Rotation and place of the head before the camera, (f, 4, 4), y up, in picture widths."""
    yaw, pitch, roll = performance.rotation.T
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*rows: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    turn = matrix((np.cos(yaw), zero, np.sin(yaw)), (zero, one, zero),
                  (-np.sin(yaw), zero, np.cos(yaw)))  # fmt: skip
    nod = matrix((one, zero, zero), (zero, np.cos(pitch), np.sin(pitch)),
                 (zero, -np.sin(pitch), np.cos(pitch)))  # fmt: skip
    tilt = matrix((np.cos(roll), -np.sin(roll), zero), (np.sin(roll), np.cos(roll), zero),
                  (zero, zero, one))  # fmt: skip
    result = np.tile(np.eye(4), (len(yaw), 1, 1))
    result[:, :3, :3] = FLIP @ tilt @ nod @ turn @ FLIP
    result[:, 0, 3] = MIDDLE[0] - 0.5 + performance.shift[:, 0]
    result[:, 1, 3] = -(MIDDLE[1] - 0.5 + performance.shift[:, 1])
    result[:, 2, 3] = -CAMERA
    return result


def seen(points: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Points of the head (f, n, 3) → where they are in the picture, x, y in 0..1 and depth."""
    turned = (points @ FLIP) @ np.swapaxes(poses[:, :3, :3], 1, 2) + poses[:, None, :3, 3]
    x, y, z = np.moveaxis(turned, -1, 0)
    scale = CAMERA / -z
    return np.stack([0.5 + x * scale, 0.5 - y * scale, -(z + CAMERA)], axis=-1)


def face_track(person: Identity, performance: Performance, size: tuple[int, int]) -> LandmarkTrack:
    """The puppet's landmarks: in the picture, and in space with its pose."""
    mesh = _mesh(person, head(person, performance))
    still = Performance.still(performance.fps)
    neutral = _mesh(person, head(person, still))[0]
    place = poses(performance)
    in_centimetres = place.copy()
    in_centimetres[:, :3, 3] *= CENTIMETRES
    return LandmarkTrack(
        points=seen(mesh, place),
        size=size,
        fps=performance.fps,
        mesh=mesh @ FLIP * CENTIMETRES,
        transforms=in_centimetres,
        neutral=neutral @ FLIP * CENTIMETRES,
        source="puppet",
    )


def _mesh(person: Identity, head: Head) -> np.ndarray:
    """(f, 478, 3): every landmark that has a name is on its feature, the others on the face."""
    mesh = np.repeat(_filling(person)[None], len(head.face), axis=0)
    for upper_lid, lower_lid, lids in zip(UPPER_LIDS, LOWER_LIDS, head.lids, strict=True):
        mesh[:, upper_lid], mesh[:, lower_lid] = lids
    for upper_brow, lower_brow, brow in zip(UPPER_BROWS, LOWER_BROWS, head.brows, strict=True):
        mesh[:, upper_brow], mesh[:, lower_brow] = brow
    for points, centre in zip(IRISES, head.irises, strict=True):
        mesh[:, points] = centre
        angle = np.pi / 2 * np.arange(4)
        mesh[:, points[1:], 0] += person.iris_radius * np.cos(angle)
        mesh[:, points[1:], 1] -= person.iris_radius * np.sin(angle)
    mesh[:, OUTER_UPPER_LIP], mesh[:, OUTER_LOWER_LIP] = head.outer_lips
    mesh[:, INNER_UPPER_LIP], mesh[:, INNER_LOWER_LIP] = head.inner_lips
    for point, (right, down) in NOSE.items():
        away = abs(right) + abs(down)
        mesh[:, point] = head.nose[:, 0] + person.nose * np.array([right, down, -0.5 * away])
    # The face's outline, as densely as it is drawn, from the temple over the chin.
    angle = np.radians(np.linspace(-40, 220, len(CONTOUR)))
    places = (angle / (2 * np.pi) * head.face.shape[1]) % head.face.shape[1]
    first = places.astype(int)
    share = (places - first)[:, None]
    after = (first + 1) % head.face.shape[1]
    mesh[:, CONTOUR] = (1 - share) * head.face[:, first] + share * head.face[:, after]
    return mesh


def _filling(person: Identity) -> np.ndarray:
    """(478, 3): points spread evenly over the face at rest, and those of the bone in the middle."""
    number = np.arange(NUM_POINTS) + 0.5
    radius = 0.92 * np.sqrt(number / NUM_POINTS)
    angle = np.pi * (1 + np.sqrt(5)) * number  # a sunflower's
    x = person.face_width * radius * np.cos(angle)
    y = person.face_height * radius * np.sin(angle)
    points = _on_face(person, x, y)
    levels = np.linspace(-0.75 * person.face_height, 0.02, len(BRIDGE))
    points[list(BRIDGE)] = _on_face(person, np.zeros(len(BRIDGE)), levels, above=0.01)
    points[FOREHEAD] = in_space(*np.array([0.0, -person.face_height, 0.0]))
    return points

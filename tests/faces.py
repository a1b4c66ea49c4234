"""Faces of no real person: drawn up in space, all parts where they belong, and as if detected."""

from __future__ import annotations

import numpy as np

from echomimic.landmarks.detect import Face
from echomimic.landmarks.mesh import LEFT_IRIS, LINES, NUM_POINTS, RIGHT_IRIS, SYNC_PARTS
from echomimic.landmarks.track import LandmarkTrack
from echomimic.motion.pose import points_of
from echomimic.motion.rotations import join_poses, rotation_matrices

UPPER_LID = (466, 388, 387, 386, 385, 384, 398, 246, 161, 160, 159, 158, 157, 173)
LOWER_LID = (249, 390, 373, 374, 380, 381, 382, 7, 163, 144, 145, 153, 154, 155)
LIPS = (13, 14)  # the middle of the inner edges, upper and lower


def face(*, gap: float = 0.1, lids: float = 1.0, wide: float = 1.0, long: float = 1.0):
    """A mesh (478, 3) in centimetres: the gap between the lips, how far the eyes are open.

    `wide` and `long` make another person of it.
    """
    rng = np.random.default_rng(0)  # the same sheet of points for every face
    mesh = np.zeros((NUM_POINTS, 3))
    mesh[:, :2] = rng.uniform((-7, -8), (7, 8), (NUM_POINTS, 2))
    for name, x in (("left_eye", 3.0), ("right_eye", -3.0)):
        lower, upper = LINES[name]
        _arc(mesh, lower.points, (x, 3), 1.4 * np.sign(x), -0.45 * lids)
        _arc(mesh, upper.points, (x, 3), 1.4 * np.sign(x), 0.45 * lids)
    for name, x in (("left_brow", 3.2), ("right_brow", -3.2)):
        for line, y in zip(LINES[name], (4.6, 5.0), strict=True):
            _arc(mesh, line.points, (x, y), 1.8 * np.sign(x), 0.3)
    _mouth(mesh, gap)
    _arc(mesh, SYNC_PARTS["nose"], (0, 0.5), 0.8, 0.4)
    angle = np.linspace(-0.2, np.pi + 0.2, 27)
    contour = list(LINES["contour"][0].points)
    mesh[contour, 0], mesh[contour, 1] = 7 * np.cos(angle), -8 * np.sin(angle)
    for irises, x in ((RIGHT_IRIS, -3.0), (LEFT_IRIS, 3.0)):
        ring = np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])
        mesh[list(irises), :2] = (x, 3) + 0.4 * ring
    mesh[:, 2] = 6 - (mesh[:, 0] ** 2 + mesh[:, 1] ** 2) / 16
    return mesh * (wide, long, 1)


def _arc(mesh, points, centre, half_width, height):
    """Points from one end to the other, from outside inwards on both sides of the face."""
    share = np.linspace(1, -1, len(points))
    mesh[list(points), 0] = centre[0] + half_width * share
    mesh[list(points), 1] = centre[1] + height * (1 - share**2)


def _mouth(mesh, gap):
    halves = [line.points for line in LINES["mouth"]]  # right and left of each of four edges
    edges = [first + second[1:] for first, second in zip(halves[::2], halves[1::2], strict=True)]
    heights = (-0.8 - gap / 2, -gap / 2, 0.6 + gap / 2, gap / 2)
    for points, half_width, height in zip(edges, (2.5, 2.2, 2.5, 2.2), heights, strict=True):
        _arc(mesh, points, (0, -3), -half_width, height)


def poses(turns, places) -> np.ndarray:
    """Rotation vectors in degrees and places in centimetres (f, 3) → transforms (f, 4, 4)."""
    turns, places = np.atleast_2d(turns).astype(float), np.atleast_2d(places).astype(float)
    turns, places = np.broadcast_arrays(turns, places)
    return join_poses(np.ones(len(turns)), rotation_matrices(np.radians(turns)), places)


def track_of(mesh, transforms, size=(512, 512), fps=24.0, **more) -> LandmarkTrack:
    """The track of meshes (f, 478, 3) or (478, 3) posed by transforms (f, 4, 4)."""
    mesh = np.broadcast_to(mesh, (len(transforms), NUM_POINTS, 3)).copy()
    points = points_of(mesh, transforms, size)
    return LandmarkTrack(points, size, fps, mesh=mesh, transforms=transforms, **more)


def found_face(x, y=0.5, width=0.2, score=None) -> Face:
    """A face of noise around x, y in shares of the picture, as a detector gives it."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (NUM_POINTS, 3))
    scores = None if score is None else np.full(52, score)
    return Face(noise * width + (x, y, 0), scores)

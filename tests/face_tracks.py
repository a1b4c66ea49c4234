"""Tracks of the drawn-up face: still, moving, without a mesh, and as MediaPipe's average face."""

from dataclasses import replace

import numpy as np
from faces import face, poses, track_of

from echomimic.landmarks.mesh import SYNC_PARTS
from echomimic.landmarks.metric import Canonical
from echomimic.landmarks.track import LandmarkTrack

DISTANCE = 35.0  # centimetres from the camera
STRAIGHT = (0, 0, 0)


def posed(mesh, degrees=STRAIGHT, shift=STRAIGHT, fps=25.0) -> LandmarkTrack:
    """Meshes (f, 478, 3) turned by degrees about x y z and shifted, both (f, 3) or (3,)."""
    degrees = np.broadcast_to(degrees, (len(mesh), 3))
    return track_of(mesh, poses(degrees, np.add(shift, (0, 0, -DISTANCE))), fps=fps)


def still_face(degrees=STRAIGHT, shift=STRAIGHT) -> LandmarkTrack:
    """The face at rest in one picture, its lips a little apart."""
    return posed(face(gap=0.4)[None], degrees, shift)


def moving_face(num_frames=20) -> LandmarkTrack:
    """A head that turns, nods and comes nearer while eyes and mouth open and close."""
    phase = np.linspace(0, 2 * np.pi, num_frames)
    opening = 0.6 + 0.4 * np.cos(phase)
    mesh = np.stack([face(gap=share, lids=share) for share in opening])
    degrees = np.stack([5 * np.sin(phase), 10 * phase / 6, 3 * np.sin(2 * phase)], axis=-1)
    shift = np.stack([np.sin(phase), 0.5 * np.cos(phase), 2 * np.sin(phase)], axis=-1)
    return posed(mesh, degrees, shift)


def without_mesh(track: LandmarkTrack) -> LandmarkTrack:
    """What is known of a track that only has points."""
    return replace(track, mesh=None, transforms=None, neutral=None)


def average_face() -> Canonical:
    """In place of MediaPipe's own, which is in its model file."""
    vertices = face()[:468].copy()
    vertices[list(SYNC_PARTS["nose"]), 2] += 2
    vertices[4] = (0, 0.5, 8)  # the tip
    return Canonical(vertices, np.ones(468) / 468)


def pixels(track: LandmarkTrack) -> np.ndarray:
    """x and y of the points (f, 478, 2) in pixels of the track's picture."""
    return track.points[..., :2] * track.size

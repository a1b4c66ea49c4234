"""The face in space against MediaPipe's own mesh and pose (goldens i and j)."""

import numpy as np
import pytest
from support import golden_arrays, real_input

from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import NUM_VERTICES
from echomimic.landmarks.metric import read_canonical, with_mesh
from echomimic.landmarks.track import LandmarkTrack

SIZE = (512, 512)  # every stored picture was brought to it
MODEL = "models/face_landmarker_v2_with_blendshapes.task"
FILES = ("face/i_landmarks.npz", "face/j_motion_sync.npz")


def stored_faces():
    """Landmarks (f, 478, 3), mesh (f, 468, 3) and transforms (f, 4, 4) by name."""
    for file in FILES:
        arrays = golden_arrays(file)
        for key in arrays:
            if key.endswith("lmks3d"):
                stem = key.removesuffix("lmks3d")
                points = arrays[f"{stem}lmks"].reshape(-1, 478, 3)
                mesh = arrays[key].reshape(-1, NUM_VERTICES, 3)
                yield stem, points, mesh, arrays[f"{stem}trans_mat"].reshape(-1, 4, 4)


@pytest.fixture
def canonical():
    return read_canonical(real_input(MODEL))


def test_mesh_and_pose_follow_from_the_landmarks(canonical):
    faces = list(stored_faces())
    assert faces
    for name, points, mesh, transforms in faces:
        track = with_mesh(LandmarkTrack(points, SIZE, 24.0), canonical)

        np.testing.assert_allclose(track.mesh[:, :NUM_VERTICES], mesh, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(track.transforms, transforms, atol=1e-3, err_msg=name)


def test_the_mesh_projects_to_the_landmarks(canonical):
    for name, points, _, _ in stored_faces():
        track = with_mesh(LandmarkTrack(points, SIZE, 24.0), canonical)

        projected = project(track.mesh, track.transforms, SIZE)[:, :NUM_VERTICES]
        np.testing.assert_allclose(projected, points[:, :NUM_VERTICES, :2], atol=1e-9, err_msg=name)

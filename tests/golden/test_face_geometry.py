"""Landmarks and the face in space against MediaPipe's own (goldens i and j)."""

from itertools import islice

import numpy as np
import pytest
from support import GOLDEN, golden_arrays, real_input

from echomimic.landmarks.camera import project
from echomimic.landmarks.extract import extract_track
from echomimic.landmarks.mesh import NUM_VERTICES
from echomimic.landmarks.metric import read_canonical, with_mesh
from echomimic.landmarks.track import LandmarkTrack
from echomimic.media.frames import read_frames
from echomimic.media.image import read_image

SIZE = (512, 512)  # every stored picture was brought to it
MODEL = "models/face_landmarker_v2_with_blendshapes.task"
FILES = ("face/i_landmarks.npz", "face/j_motion_sync.npz")


def stems(file, ending):
    """Names of the faces whose meshes a golden holds."""
    keys = golden_arrays(file) if (GOLDEN / file).is_file() else []
    return [key.removesuffix(".lmks3d") for key in keys if key.endswith(ending)]


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


def stretched(picture):
    """A picture brought to the stored size by what the official code uses for it (spec 7.7)."""
    return pytest.importorskip("cv2").resize(picture, SIZE)


def assert_agrees(track, arrays, stem):
    """Landmarks, mesh, pose and blendshapes are those stored, within the goldens' tolerances."""
    expected = arrays[f"{stem}.lmks"].reshape(-1, 478, 3)
    np.testing.assert_allclose(track.points, expected, atol=2e-3, err_msg=stem)
    mesh = arrays[f"{stem}.lmks3d"].reshape(-1, NUM_VERTICES, 3)
    np.testing.assert_allclose(track.mesh[:, :NUM_VERTICES], mesh, atol=0.1, err_msg=stem)
    scores = arrays[f"{stem}.bs"].reshape(-1, 51)  # without the neutral one
    np.testing.assert_allclose(track.blendshapes[:, 1:], scores, atol=5e-3, err_msg=stem)


@pytest.mark.parametrize("stem", stems(FILES[0], "lmks3d"))
def test_landmarks_of_real_pictures_are_those_stored(stem):
    pytest.importorskip("mediapipe")
    picture = read_image(real_input(f"test_imgs/{stem.removeprefix('img_')}"))

    track = extract_track([stretched(picture)], fps=24.0, landmarker=real_input(MODEL))

    assert_agrees(track, golden_arrays(FILES[0]), stem)


def square(picture):
    """The middle of a frame, as the official code takes it (spec 8.2)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


@pytest.mark.parametrize("stem", stems(FILES[1], "driver.lmks3d"))
def test_landmarks_of_a_real_video_are_those_stored(stem):
    pytest.importorskip("mediapipe")
    arrays = golden_arrays(FILES[1])
    video = real_input(f"driven_videos/{stem.split('_on_')[0]}")
    frames = islice(read_frames(video), len(arrays[f"{stem}.lmks"]))

    track = extract_track(
        [stretched(square(frame)) for frame in frames], fps=24.0, landmarker=real_input(MODEL)
    )

    assert_agrees(track, arrays, stem)

"""A face placed by five points where no detector finds one."""

import numpy as np
import pytest
from face_tracks import average_face, moving_face, pixels
from support import real_input

from echomimic.errors import LandmarkError
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import LEFT_IRIS, RIGHT_IRIS, SYNC_PARTS
from echomimic.landmarks.metric import read_canonical
from echomimic.motion.generate import blink_and_gaze
from echomimic.motion.place import place_face, points_from_text
from echomimic.motion.rotations import rotation_vectors
from echomimic.motion.sync import METHODS, synchronise

USUAL = np.array([(0.35, 0.42), (0.65, 0.42), (0.5, 0.58), (0.38, 0.72), (0.62, 0.72)])
TURN = np.array([(np.cos(0.7), np.sin(0.7)), (-np.sin(0.7), np.cos(0.7))])
FACES = {
    "usual": USUAL,
    "small": USUAL * 0.2 + 0.7,
    "tilted": (USUAL - 0.5) @ TURN + 0.5,
    "narrow": USUAL * (0.5, 1),
    "turned": USUAL + np.array([(0.03, 0), (-0.03, 0), (-0.09, 0), (-0.02, 0), (-0.05, 0)]),
    "potato": USUAL + np.array([(0, 0.1), (0, 0), (0.05, 0), (0, 0.05), (0.1, 0)]),
}
EYES = ("right_eye", "left_eye")


@pytest.fixture(params=["made up", "MediaPipe's"])
def canonical(request):
    if request.param == "made up":
        return average_face()
    return read_canonical(real_input("models/face_landmarker_v2_with_blendshapes.task"))


def handles(track):
    """Where eyes, nose tip and mouth corners of the first frame are, (5, 2) in pixels."""
    at = pixels(track)[0]
    eyes = [at[[point for point in SYNC_PARTS[eye] if point < 468]].mean(axis=0) for eye in EYES]
    return np.array([*eyes, at[4], at[61], at[291]])


@pytest.mark.parametrize("size", [(512, 512), (768, 384)])
@pytest.mark.parametrize("name", FACES)
def test_a_placed_face_lies_on_its_points(canonical, name, size):
    track = place_face(FACES[name], size, canonical)
    assert track.num_frames == 1 and track.size == size
    np.testing.assert_allclose(handles(track), FACES[name] * size, atol=1)
    for iris, eye in zip((RIGHT_IRIS, LEFT_IRIS), handles(track)[:2], strict=True):
        np.testing.assert_allclose(pixels(track)[0, iris[0]], eye, atol=2)


@pytest.mark.parametrize("name", FACES)
def test_mesh_and_pose_are_those_of_a_head(canonical, name):
    track = place_face(FACES[name], (512, 512), canonical)
    projected = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(projected, track.points[..., :2], atol=1e-9)
    shape, pose = track.mesh[0, :468], track.transforms[0]
    assert np.linalg.norm(shape - canonical.vertices, axis=1).max() < 6  # centimetres
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    pitch, yaw, _ = np.degrees(rotation_vectors(pose[:3, :3]))
    assert max(abs(pitch), abs(yaw)) < 35
    assert (track.mesh[0] @ pose[:3, :3].T + pose[:3, 3])[:, 2].max() < -1


def test_a_head_turned_aside_is_turned_in_space(canonical):
    straight, turned = (place_face(FACES[n], (512, 512), canonical) for n in ("usual", "turned"))
    yaw = [np.degrees(rotation_vectors(t.transforms[0, :3, :3]))[1] for t in (straight, turned)]
    assert abs(yaw[0]) < 2
    assert yaw[1] < -8  # the nose points to the left of the picture


def test_a_tilted_head_is_tilted_in_space(canonical):
    roll = [
        rotation_vectors(place_face(FACES[n], (512, 512), canonical).transforms[0, :3, :3])[2]
        for n in ("usual", "tilted")
    ]
    np.testing.assert_allclose(roll, [0, -0.7], atol=0.05)


def test_a_placed_face_can_blink(canonical):
    track = blink_and_gaze(place_face(USUAL, (512, 512), canonical), 100, 25.0, seed=1)
    gap = (pixels(track)[:, 145] - pixels(track)[:, 159])[:, 1]
    assert gap.min() < 0.01 < 2 < gap.max()


@pytest.mark.parametrize("method", METHODS)
def test_a_driver_moves_a_placed_face(canonical, method):
    face = place_face(USUAL, (512, 512), canonical)
    moved = synchronise(moving_face(12), face, method=method)
    nose = pixels(moved)[:, 4] - pixels(face)[0, 4]
    assert 5 < np.ptp(nose, axis=0).max() < 150  # pixels
    assert np.ptp(pixels(moved)[:, 14, 1] - pixels(moved)[:, 13, 1]) > 2  # the mouth opens


def test_points_are_read_from_text():
    text = "0.35,0.42 0.65,0.42 0.5,0.58\n0.38,0.72  0.62,0.72"
    np.testing.assert_array_equal(points_from_text(text), USUAL)


@pytest.mark.parametrize("text", ["", "0.1,0.2", "a,b c,d e,f g,h i,j", "0.1 " * 11])
def test_text_that_is_not_five_points_is_explained(text):
    with pytest.raises(LandmarkError, match="The face needs five points"):
        points_from_text(text)


def changed(index, point):
    points = USUAL.copy()
    points[index] = point
    return points


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (USUAL[:4], "placed by five points"),
        (changed(1, (np.nan, 0.4)), r"right eye at \(nan, 0.4\) does not lie in the picture"),
        (changed(3, (0.4, 1.2)), "left mouth corner at .* does not lie in the picture"),
        (changed(1, USUAL[0]), "left eye and the right eye lie on the same spot"),
        (np.repeat(USUAL[:1], 5, axis=0), "lie on the same spot"),
        (USUAL * (1, 0) + (0, 0.5), "do not form a face"),
        (USUAL[[1, 0, 2, 3, 4]], "do not form a face"),
        (USUAL[[1, 0, 2, 4, 3]], "do not form a face"),
        (USUAL[[3, 4, 2, 0, 1]], "do not form a face"),
        (changed(2, (0.5, 0.9)), "nose tip does not lie between"),
    ],
)
def test_points_no_face_can_have_are_explained(points, words):
    with pytest.raises(LandmarkError, match=words):
        place_face(points, (512, 512), average_face())

"""Motion synchronisation: the driver moves, the portrait's face is what moves."""

from dataclasses import replace

import numpy as np
import pytest
from faces import LIPS, face, poses, track_of

from echomimic.errors import LandmarkError, OptionsError
from echomimic.landmarks.affine import nearest_rotation
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import CONTOUR, RIGHT_IRIS, SYNC_PARTS
from echomimic.motion.sync import METHODS, synchronise

FRAMES = 40
SIZES = [(512, 512), (768, 512), (512, 768)]
STILL = np.zeros((FRAMES, 3))
DRAWN = [point for points in SYNC_PARTS.values() for point in points]


def wave(amplitude, period=20):
    """A movement (f, 3) back and forth that begins at 0."""
    return np.sin(np.arange(FRAMES) * 2 * np.pi / period)[:, None] * np.array(amplitude)


def portrait_at(place=(0, 0, -28), turn=(0, 0, 0), size=(512, 512), **shape):
    return track_of(face(**{"wide": 1.1, "long": 0.95} | shape), poses(turn, place), size)


def driver(turns=STILL, places=(0, 0, -30), meshes=None, **more):
    return track_of(face() if meshes is None else meshes, poses(turns, places), **more)


def talking(gaps):
    return np.stack([face(gap=gap) for gap in gaps])


def pixels_apart(track, portrait, points=DRAWN):
    """Mean distance of a frame's points from the portrait's own, (f,) in pixels."""
    away = (track.points - portrait.points)[:, points, :2] * portrait.size
    return np.linalg.norm(away, axis=-1).mean(axis=1)


def centre(track):
    """Where the head's centre lies in the picture, (f, 2) in shares of the picture's height."""
    shares = project(np.zeros((track.num_frames, 1, 3)), track.transforms, track.size)[:, 0]
    return shares * (track.size[0] / track.size[1], 1)


def gap(mesh):
    """Between the lips, (f,) in centimetres; below 0 they cross."""
    return mesh[:, LIPS[0], 1] - mesh[:, LIPS[1], 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_a_driver_at_rest_shows_the_portraits_own_face(method, size):
    portrait = portrait_at((2, -1, -26), (5, -10, 3), size)
    track = synchronise(driver(), portrait, method=method)
    assert pixels_apart(track, portrait).max() < 1.5


@pytest.mark.parametrize("method", METHODS)
def test_someone_who_drives_their_own_portrait_moves_as_they_did(method):
    film = driver(meshes=talking(0.1 + 0.5 * wave((1, 0, 0))[:, 0] ** 2))
    own = portrait_at((0, 0, -30), wide=1, long=1)
    track = synchronise(film, own, method=method)
    away = np.linalg.norm((track.points - film.points)[:, DRAWN, :2] * 512, axis=-1)
    assert away.mean() < 1.0


@pytest.mark.parametrize("method", METHODS)
def test_the_track_is_the_drivers_in_time_and_the_portraits_in_space(method):
    film = driver(
        fps=30.0, valid=np.arange(FRAMES) != 3, source="film", blendshapes=np.ones((40, 52))
    )
    portrait = portrait_at(size=(768, 512))
    before = [film.points.copy(), film.mesh.copy(), portrait.mesh.copy()]

    track = synchronise(film, portrait, method=method)

    assert (track.fps, track.source, track.parts) == (30.0, "film", film.parts)
    assert track.size == portrait.size
    np.testing.assert_array_equal(track.valid, film.valid)
    np.testing.assert_array_equal(track.blendshapes, film.blendshapes)
    np.testing.assert_array_equal(track.neutral, portrait.mesh[0])
    for kept, now in zip(before, [film.points, film.mesh, portrait.mesh], strict=True):
        np.testing.assert_array_equal(kept, now)
    again = synchronise(film, portrait, method=method)
    np.testing.assert_array_equal(again.points, track.points)


@pytest.mark.parametrize("size", SIZES)
def test_mesh_and_pose_project_to_the_points(size):
    track = synchronise(driver(wave((5, 20, 3))), portrait_at(size=size))
    flat = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(track.points[..., :2], flat, atol=1e-12)


def test_the_head_turns_about_its_centre_wherever_the_driver_was_filmed():
    film = driver(wave((0, 25, 0)), places=(8, 3, -60))
    portrait = portrait_at((-3, 1, -25))

    track = synchronise(film, portrait)
    official = synchronise(film, portrait, method="official")

    slid = np.linalg.norm(centre(track) - centre(portrait), axis=1) * 512
    assert slid.max() < 0.01
    drifted = np.linalg.norm(centre(official) - centre(portrait), axis=1) * 512
    assert drifted.max() > 100  # what is mended


def test_the_head_moves_in_the_picture_as_the_driver_does():
    film = driver(places=wave((3, 2, 0), 10) + (5, 0, -60), size=(1280, 720))
    portrait = portrait_at((-3, 1, -25), size=(512, 768))
    track = synchronise(film, portrait)
    moved, expected = (np.diff(centre(track), axis=0), np.diff(centre(film), axis=0))
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_the_head_comes_nearer_by_the_same_share():
    places = np.array([(4, 0, -60 + 30 * share) for share in np.linspace(0, 1, FRAMES)])
    film = driver(places=places)
    track = synchronise(film, portrait_at((-3, 1, -25)))
    depth, expected = track.transforms[:, 2, 3], film.transforms[:, 2, 3]
    np.testing.assert_allclose(depth / depth[0], expected / expected[0], rtol=1e-9)


def test_turns_are_counted_from_where_the_driver_holds_the_head_like_the_portrait():
    film = driver(np.linspace((0, -40, 0), (0, 40, 0), FRAMES))
    track = synchronise(film, portrait_at(turn=(0, 20, 0)))
    away = track.transforms[:, :3, :3] - film.transforms[:, :3, :3]
    assert np.abs(away).max() < 0.03


def test_the_driver_turns_as_its_camera_sees_it():
    film = driver([(0, 20, 0), (50, 0, 0)])
    portrait = portrait_at(turn=(0, 25, 10))
    reference, other = film.transforms[:, :3, :3]
    expected = other @ reference.T @ portrait.transforms[0, :3, :3]
    found = synchronise(film, portrait).transforms[1, :3, :3]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degrees", [-85, 85])
def test_a_profile_view_drives_and_is_driven(method, degrees):
    """Half of the face is hidden then, yet its mesh is known."""
    frontal, profile = portrait_at(), portrait_at(turn=(0, degrees, 0))
    assert pixels_apart(synchronise(driver(), profile, method=method), profile).max() < 3
    turning = driver(turns=np.linspace(0, 1, FRAMES)[:, None] * (0, degrees, 0))
    turned = synchronise(turning, frontal, method=method)
    assert np.isfinite(turned.points).all()
    width = np.ptp(turned.points[:, [33, 263], 0], axis=1)  # between the outer corners of the eyes
    assert width[-1] < 0.3 * width[0]


def test_rotations_stay_rotations():
    film = driver(wave((20, 30, 10)))
    film.transforms[:, :3, :3] *= 1.001  # as measured ones are, nearly
    rotations = synchronise(film, portrait_at(turn=(5, 5, 5))).transforms[:, :3, :3]
    unit = rotations @ np.swapaxes(rotations, 1, 2)
    np.testing.assert_allclose(unit, np.broadcast_to(np.eye(3), unit.shape), atol=1e-12)
    assert (np.linalg.det(rotations) > 0).all()


def test_the_nearest_rotation_of_a_mirror_image_is_a_rotation():
    assert np.linalg.det(nearest_rotation(np.diag([1.0, 1.0, -1.0]))) == pytest.approx(1)


def test_a_driver_who_mostly_talks_does_not_shut_the_portraits_mouth():
    gaps = np.where(np.arange(FRAMES) % 8 == 0, 0.05, 1.5)  # shut in every eighth frame only
    portrait = portrait_at(gap=0.05)

    track = synchronise(driver(meshes=talking(gaps)), portrait)
    official = synchronise(driver(meshes=talking(gaps)), portrait, method="official")

    found = gap(track.mesh)
    assert found.min() > -0.05
    assert np.abs(found - gaps).max() < 0.25
    assert gap(official.mesh).max() < 0.75  # what is mended: half as far as the driver


def test_a_mouth_that_never_shuts_does_not_cross_the_portraits_lips():
    gaps = 1.0 + 0.5 * wave((1, 0, 0))[:, 0]
    found = gap(synchronise(driver(meshes=talking(gaps)), portrait_at(gap=0.05)).mesh)
    assert found.min() > 0
    assert np.corrcoef(found, gaps)[0, 1] > 0.99


def test_a_blink_shuts_the_portraits_eyes():
    lids = np.ones(FRAMES)
    lids[18:23] = (0.5, 0.1, 0.0, 0.3, 0.7)
    meshes = np.stack([face(lids=open_) for open_ in lids])
    track = synchronise(driver(meshes=meshes), portrait_at(lids=0.8))
    opening = track.mesh[:, 159, 1] - track.mesh[:, 145, 1]  # right eye
    np.testing.assert_allclose(opening / opening[0], lids, atol=0.05)


def test_the_gaze_goes_with_the_eye_and_does_not_bend_it():
    meshes = np.stack([face()] * FRAMES)
    meshes[:, list(RIGHT_IRIS), 0] += wave((0.5, 0, 0))[:, :1]
    portrait = portrait_at()
    track = synchronise(driver(meshes=meshes), portrait)
    lids = [point for point in SYNC_PARTS["right_eye"] if point not in RIGHT_IRIS]
    assert pixels_apart(track, portrait, lids).max() < 0.5
    assert np.ptp(track.points[:, RIGHT_IRIS[0], 0]) * 512 > 5


def test_the_pupils_lie_in_the_portraits_eyes_wherever_those_are():
    shape = face()
    whole_eye = list({*SYNC_PARTS["right_eye"], *RIGHT_IRIS})
    shape[whole_eye, 1] += 0.8  # far up, in a face that is otherwise alike
    portrait = track_of(shape, poses((0, 0, 0), (0, 0, -28)))
    irises = synchronise(driver(), portrait).mesh[0, list(RIGHT_IRIS)]
    np.testing.assert_allclose(irises[:, 1], shape[list(RIGHT_IRIS), 1], atol=0.1)


def test_a_driver_who_looks_aside_makes_the_portrait_look_aside():
    aside = face()
    aside[list(RIGHT_IRIS), 0] += 0.5
    track = synchronise(driver(meshes=aside), portrait_at(wide=1, long=1))
    lids = [point for point in SYNC_PARTS["right_eye"] if point not in RIGHT_IRIS]
    gaze = track.mesh[:, RIGHT_IRIS[0], 0] - track.mesh[:, lids, 0].mean(axis=1)
    np.testing.assert_allclose(gaze, 0.5, atol=0.1)


def test_the_contour_at_rest_is_the_portraits():
    portrait = portrait_at(wide=1.3)
    portrait.mesh[:, list(CONTOUR), 0] *= 1.1  # more than an affine map of the face explains
    portrait = track_of(portrait.mesh, portrait.transforms)
    assert pixels_apart(synchronise(driver(), portrait), portrait, list(CONTOUR)).max() < 1e-6


def test_noise_is_not_amplified():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, (FRAMES, 478, 3))
    track = synchronise(driver(meshes=face() + noise), portrait_at())
    assert track.mesh.std(axis=0)[DRAWN].mean() < 1.3 * noise.std()


def test_the_depth_noise_of_a_flat_part_is_not_amplified():
    rng = np.random.default_rng(0)
    brow = list(SYNC_PARTS["left_brow"])
    flat, curved = face(), face()
    flat[brow, 2] = flat[brow, 2].mean()
    curved[brow, 2] += rng.uniform(-1, 1, len(brow))
    noise = rng.normal(0, 0.02, (FRAMES, 478, 3))
    portrait = track_of(curved, poses((0, 0, 0), (0, 0, -28)))
    track = synchronise(driver(meshes=flat + noise), portrait)
    assert track.mesh.std(axis=0)[brow].mean() < 1.5 * noise.std()


def test_parts_can_keep_the_drivers_shapes():
    narrow = face()
    narrow[list(SYNC_PARTS["mouth"]), 0] *= 0.7
    film, portrait = driver(meshes=narrow), portrait_at(wide=1, long=1)
    for method in METHODS:
        width = [
            np.ptp(synchronise(film, portrait, method=method, align_parts=on).mesh[0, [61, 291], 0])
            for on in (True, False)
        ]
        assert width[0] == pytest.approx(5.0, rel=0.05)
        assert width[1] == pytest.approx(3.5, rel=0.05)


def test_frames_without_a_face_are_not_taken_for_rest():
    meshes = talking(np.where(np.arange(FRAMES) < 10, 0.05, 1.2))
    film = driver(meshes=meshes, valid=np.arange(FRAMES) >= 10)  # shut only where nothing was seen
    portrait = portrait_at(gap=0.05)
    seen = synchronise(film, portrait)
    assert gap(seen.mesh)[20] < gap(synchronise(replace(film, valid=None), portrait).mesh)[20] - 0.2
    unseen = synchronise(replace(film, valid=np.zeros(FRAMES, bool)), portrait)
    assert np.isfinite(unseen.points).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_frame_drives_too(method):
    portrait = portrait_at()
    assert pixels_apart(synchronise(portrait_at(wide=0.9), portrait, method=method), portrait) < 1.5


@pytest.mark.parametrize("who", ["driving", "portrait"])
def test_a_track_without_mesh_is_told_how_to_get_one(who):
    tracks = {"driving": driver(source="film.pkl"), "portrait": portrait_at()}
    tracks[who] = replace(tracks[who], mesh=None, transforms=None)
    with pytest.raises(LandmarkError, match=rf"{who}.*Landmark Extract.*face_landmarker"):
        synchronise(**tracks)


def test_a_portrait_of_several_frames_is_refused():
    with pytest.raises(LandmarkError, match="40 frames.*one frame"):
        synchronise(driver(), driver())


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.diag([1.0, 1.0, 1.0, 1.0])])
@pytest.mark.parametrize("method", METHODS)
def test_a_pose_that_no_head_can_have_is_named_with_its_frame(method, broken):
    film = driver()
    film.transforms[7] = broken
    with pytest.raises(LandmarkError, match="Frame 7 of the driving landmarks"):
        synchronise(film, portrait_at(), method=method)


def test_an_unknown_method_is_refused():
    with pytest.raises(OptionsError, match="'other'.*part_aware or official"):
        synchronise(driver(), portrait_at(), method="other")

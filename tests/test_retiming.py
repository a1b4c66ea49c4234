"""Tracks on another clock."""

from dataclasses import replace

import numpy as np
import pytest
from face_tracks import moving_face, pixels, posed, still_face, without_mesh

from echomimic.errors import OptionsError
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import NUM_POINTS
from echomimic.landmarks.track import LandmarkTrack
from echomimic.motion import retime
from echomimic.motion.retime import change_speed, fit_track, num_frames_lasting


def ramp(num_frames, fps=25.0):
    """A track whose points say which frame they are of."""
    points = np.ones((num_frames, NUM_POINTS, 3)) * np.arange(num_frames)[:, None, None]
    return LandmarkTrack(points, (64, 64), fps)


def frames(track):
    return track.points[:, 0, 0]


def test_the_same_clock_changes_nothing():
    track = replace(moving_face(20), blendshapes=np.random.default_rng(1).random((20, 52)))
    fitted = fit_track(track, 20)
    for name in ("points", "mesh", "transforms", "blendshapes", "valid"):
        np.testing.assert_array_equal(getattr(fitted, name), getattr(track, name))


def test_60_fps_serve_a_clip_of_25():
    track = fit_track(ramp(60, fps=60), 25, 25)
    assert (track.fps, track.num_frames) == (25, 25)
    np.testing.assert_allclose(frames(track), np.arange(25) * 2.4, atol=1e-9)


def test_long_tracks_are_mixed_block_by_block_without_seams(monkeypatch):
    track = replace(moving_face(20), blendshapes=np.random.default_rng(1).random((20, 52)))
    whole = fit_track(track, 33, 40.0)
    monkeypatch.setattr(retime, "BLOCK", 7)
    parts = fit_track(track, 33, 40.0)
    for name in retime.PER_FRAME:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-12)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("hold", [0, 1, 2, 3, 3, 3, 3, 3, 3]),
        ("loop", [0, 1, 2, 3, 0, 1, 2, 3, 0]),
        ("ping_pong", [0, 1, 2, 3, 2, 1, 0, 1, 2]),
        ("cut", [0, 1, 2, 3]),
    ],
)
def test_what_happens_at_the_end(end, expected):
    np.testing.assert_array_equal(frames(fit_track(ramp(4), 9, end=end)), expected)


def test_a_loop_passes_from_the_last_frame_to_the_first():
    looped = frames(fit_track(ramp(4), 10, 50.0, "loop"))
    np.testing.assert_allclose(looped, [0, 0.5, 1, 1.5, 2, 2.5, 3, 1.5, 0, 0.5])


@pytest.mark.parametrize("end", ["hold", "loop", "ping_pong"])
def test_one_frame_lasts_as_long_as_asked(end):
    face = still_face()
    track = fit_track(face, 7, 30.0, end)
    assert track.num_frames == 7
    np.testing.assert_array_equal(track.points, np.repeat(face.points, 7, axis=0))


def test_cut_never_lengthens_and_keeps_what_still_begins():
    assert fit_track(ramp(60, fps=60), 999, 25, "cut").num_frames == 25
    assert fit_track(ramp(61, fps=60), 999, 25, "cut").num_frames == 26  # one has begun
    assert fit_track(ramp(60, fps=60), 10, 25, "cut").num_frames == 10


def test_turns_are_interpolated_as_turns():
    mesh = np.repeat(still_face().mesh, 2, axis=0)
    track = posed(mesh, degrees=[(0, 0, 0), (0, 80, 0)])
    middle = fit_track(track, 2, 50.0)
    expected = posed(mesh[:1], degrees=(0, 40, 0))
    np.testing.assert_allclose(middle.transforms[1], expected.transforms[0], atol=1e-9)
    np.testing.assert_allclose(pixels(middle)[1], pixels(expected)[0], atol=1e-6)


def test_points_agree_with_mesh_and_transforms_in_between():
    track = fit_track(moving_face(20), 77, 61.0, "loop")
    projected = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(projected, track.points[..., :2], atol=1e-9)


def test_a_track_without_mesh_is_interpolated_in_the_picture():
    track = without_mesh(moving_face(5))
    middle = fit_track(track, 3, 50.0).points[1]
    np.testing.assert_allclose(middle, track.points[:2].mean(axis=0), atol=1e-12)


def test_frames_without_a_face_stay_marked():
    track = replace(ramp(4), valid=np.array([True, False, True, True]))
    assert fit_track(track, 8, 50.0).valid.tolist() == [True, False, False, True] + [True] * 4


def test_speed_shortens_and_lengthens():
    track = ramp(50)
    fast = change_speed(track, 2)
    assert fast.duration == pytest.approx(track.duration / 2)
    np.testing.assert_allclose(frames(fit_track(fast, 5, 25)), [0, 2, 4, 6, 8])
    assert num_frames_lasting(change_speed(track, 0.5), 25) == 100


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: fit_track(ramp(2), 4, end="stop"), "choose hold, loop"),
        (lambda: fit_track(ramp(2), 0), "at least one frame"),
        (lambda: fit_track(ramp(2), 4, float("nan")), "fps must be a positive number"),
        (lambda: change_speed(ramp(2), 0), "speed must be above 0"),
        (lambda: change_speed(ramp(2), 100), "at most 40"),
    ],
)
def test_what_cannot_be_is_explained(wrong, words):
    with pytest.raises(OptionsError, match=words):
        wrong()

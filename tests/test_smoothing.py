"""Smoothing: jitter goes, motion stays where and when it was."""

from dataclasses import replace

import numpy as np
import pytest
from faces import LOWER_LID, UPPER_LID, face, poses, track_of

from echomimic.errors import OptionsError
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import SYNC_PARTS
from echomimic.motion.rotations import rotation_matrices
from echomimic.motion.smooth import smooth_track

CANVAS = 512
PLACE = (0.0, 0.0, -30.0)
CM_PER_PIXEL = 2 * 30 * np.tan(np.radians(63) / 2) / CANVAS
SECONDS = 5
RATES = [24.0, 60.0]
NOISE = [0.2, 0.5]  # pixels at 512, what detectors have


def closing(num_frames, fps, at):
    """How far eyes are shut, (f,): blinks that shut within 3 frames of 24 and open within 4."""
    shut = np.zeros(num_frames)
    down, up = round(fps * 3 / 24), round(fps * 4 / 24)
    for peak in at:
        shut[peak - down : peak + 1] = np.linspace(0, 1, down + 1)
        shut[peak : peak + up + 1] = np.linspace(1, 0, up + 1)
    return shut


def clean_track(fps, *, blinks=(), swing=0.0):
    num_frames = round(SECONDS * fps)
    shut = closing(num_frames, fps, blinks)
    mesh = np.stack([face(lids=1 - share) for share in shut])
    time = np.arange(num_frames)[:, None] / fps
    turns = swing * np.sin(2 * np.pi * 0.4 * time) * (0.4, 1, 0.2)
    return track_of(mesh, poses(turns, np.broadcast_to(PLACE, turns.shape)), fps=fps)


def jittering(track, pixels, *, with_mesh=True, seed=0):
    """The track as a detector sees it: white noise on the mesh and on the pose, or on points."""
    rng = np.random.default_rng(seed)
    if not with_mesh:
        points = track.points + rng.normal(0, pixels / CANVAS, track.points.shape)
        return replace(track, points=points, mesh=None, transforms=None)
    size = pixels * CM_PER_PIXEL
    transforms = track.transforms.copy()
    transforms[:, :3, 3] += rng.normal(0, size, (track.num_frames, 3)) * (0.3, 0.3, 1)
    tilt = rotation_matrices(rng.normal(0, size / 10, (track.num_frames, 3)))
    transforms[:, :3, :3] = tilt @ transforms[:, :3, :3]
    mesh = track.mesh + rng.normal(0, size, track.mesh.shape)
    return track_of(mesh, transforms, fps=track.fps)


def error(track, clean):
    """Root mean square distance from the truth, in pixels."""
    away = (track.points - clean.points)[..., :2] * CANVAS
    return np.sqrt((away**2).mean())


def restlessness(track):
    """Root mean square step from frame to frame, in pixels."""
    return np.sqrt((np.diff(track.points[..., :2], axis=0) ** 2).mean()) * CANVAS


def opening(track):
    """How far the eyes are open, (f,) in pixels."""
    lids = track.points[:, UPPER_LID, 1] - track.points[:, LOWER_LID, 1]
    return -lids.mean(axis=1) * CANVAS


@pytest.mark.parametrize("with_mesh", [True, False])
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("fps", RATES)
def test_the_jitter_of_a_still_face_is_a_fifth_or_less(fps, noise, with_mesh):
    clean = clean_track(fps)
    seen = jittering(clean, noise, with_mesh=with_mesh)
    smooth = smooth_track(seen)
    assert error(smooth, clean) < error(seen, clean) / 5
    assert restlessness(smooth) < restlessness(seen) / 5


@pytest.mark.parametrize("noise", [0.0, *NOISE])
@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("with_mesh", [True, False])
def test_a_blink_keeps_its_depth_and_its_frame(fps, noise, with_mesh):
    peak = round(2.3 * fps)
    clean = clean_track(fps, blinks=[peak])
    smooth = smooth_track(jittering(clean, noise, with_mesh=with_mesh))
    near = slice(peak - 5, peak + 6)
    depth, expected = (np.median(opening(t)) - opening(t)[near].min() for t in (smooth, clean))
    assert depth > 0.9 * expected
    assert abs(int(opening(smooth).argmin()) - peak) <= 1


def test_the_rest_of_a_blinking_face_still_comes_to_rest():
    clean = clean_track(24.0, blinks=[30, 80])
    seen = jittering(clean, 0.3)
    assert error(smooth_track(seen), clean) < error(seen, clean) / 4


def test_a_swinging_head_does_not_lag_and_is_steadier():
    clean = clean_track(24.0, swing=15.0)
    seen = jittering(clean, 0.3)
    smooth = smooth_track(seen)
    assert error(smooth, clean) < error(seen, clean) / 1.5
    nose = [t.points[:, 4, 0] - t.points[:, 4, 0].mean() for t in (smooth, clean)]
    lags = range(-3, 4)
    alike = [np.dot(np.roll(nose[0], -lag)[5:-5], nose[1][5:-5]) for lag in lags]
    assert lags[int(np.argmax(alike))] == 0
    assert np.ptp(nose[0]) > 0.98 * np.ptp(nose[1])


def test_a_mouth_that_never_rests_keeps_its_motion():
    fps, num_frames = 24.0, 120
    gaps = 0.5 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(num_frames) / fps)  # four syllables/s
    mesh = np.stack([face(gap=gap) for gap in gaps])
    clean = track_of(mesh, poses(np.zeros((num_frames, 3)), PLACE), fps=fps)
    smooth = smooth_track(jittering(clean, 0.3))
    found = smooth.mesh[:, 13, 1] - smooth.mesh[:, 14, 1]
    assert np.abs(found - gaps).max() < 0.15
    assert found.std() > 0.95 * gaps.std()


def test_what_changes_in_every_frame_is_not_all_taken_for_noise():
    gaps = np.random.default_rng(0).uniform(0.1, 2.0, 100)
    mesh = np.stack([face(gap=gap) for gap in gaps])
    clean = track_of(mesh, poses(np.zeros((100, 3)), PLACE))
    smooth = smooth_track(clean)
    assert smooth.mesh[:, 13, 1].std() > 0.85 * clean.mesh[:, 13, 1].std()


def test_gaze_jumps_stay_sharp():
    clean = clean_track(24.0)
    clean.mesh[60:, 468:, 0] += 0.4
    clean = track_of(clean.mesh, clean.transforms, fps=24.0)
    smooth = smooth_track(jittering(clean, 0.3))
    gaze = smooth.mesh[:, 468:, 0].mean(axis=1)
    assert gaze[60] - gaze[59] > 0.9 * 0.4


def test_more_strength_smooths_more():
    seen = jittering(clean_track(24.0), 0.3)
    steps = [restlessness(smooth_track(seen, strength)) for strength in (0, 0.1, 0.25, 0.5, 1)]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[1]


def test_strength_0_changes_nothing():
    track = jittering(clean_track(24.0), 0.3)
    assert smooth_track(track, 0) is track


def test_the_track_given_is_left_as_it_is():
    track = jittering(clean_track(24.0), 0.3)
    before = track.points.copy(), track.mesh.copy(), track.transforms.copy()
    smooth_track(track)
    for kept, now in zip(before, (track.points, track.mesh, track.transforms), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_points_mesh_and_rotations_stay_one():
    smooth = smooth_track(jittering(clean_track(24.0, blinks=[50], swing=20.0), 0.5))
    flat = project(smooth.mesh, smooth.transforms, smooth.size)
    np.testing.assert_allclose(smooth.points[..., :2], flat, atol=1e-9)
    rotations = smooth.transforms[:, :3, :3]
    unit = rotations @ np.swapaxes(rotations, 1, 2)
    np.testing.assert_allclose(unit, np.broadcast_to(np.eye(3), unit.shape), atol=1e-12)


def test_a_perfectly_still_track_stays_where_it_is():
    still = clean_track(24.0)
    np.testing.assert_allclose(smooth_track(still).points, still.points, atol=1e-9)


def test_frames_without_a_face_hardly_count():
    clean = clean_track(24.0)
    seen = jittering(clean, 0.3)
    lost = np.arange(seen.num_frames) % 3 == 0
    mesh = seen.mesh.copy()
    mesh[lost] += 0.03  # guessed, and wrong by a little
    track = replace(seen, mesh=mesh, valid=~lost)
    trusted, all_counted = smooth_track(track), smooth_track(replace(track, valid=None))
    off = [
        np.abs(t.mesh - clean.mesh)[:, SYNC_PARTS["mouth"]].mean() for t in (trusted, all_counted)
    ]
    assert off[0] < 0.6 * off[1]


def test_frames_that_were_held_do_not_make_the_rest_look_free_of_noise():
    clean = clean_track(24.0)
    seen = jittering(clean, 0.3)
    mesh, transforms = seen.mesh.copy(), seen.transforms.copy()
    mesh[60:], transforms[60:] = mesh[60], transforms[60]
    held = track_of(mesh, transforms, valid=np.arange(len(mesh)) <= 60)
    start = slice(5, 55)
    before, after = (
        np.abs(t.points - clean.points)[start].mean() for t in (held, smooth_track(held))
    )
    assert after < before / 3


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4])
def test_the_shortest_tracks_pass(num_frames):
    seen = jittering(clean_track(24.0), 0.3)
    short = track_of(seen.mesh[:num_frames], seen.transforms[:num_frames])
    assert smooth_track(short).num_frames == num_frames


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_other_strengths_are_refused(strength):
    with pytest.raises(OptionsError, match="from 0 to 1"):
        smooth_track(clean_track(24.0), strength)

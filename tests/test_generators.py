"""Motion without a driving clip: blinks, glances, a swaying head, a mouth that rests."""

import numpy as np
import pytest
import torch
from face_tracks import moving_face, pixels, posed, still_face, without_mesh
from support import real_input

from echomimic.audio.activity import voice_activity
from echomimic.config import AUDIO_RATE
from echomimic.errors import LandmarkError, OptionsError
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import LEFT_IRIS, LINES, RIGHT_IRIS
from echomimic.media.audio import read_speech
from echomimic.motion.generate import blink_and_gaze, close_mouth_in_silence
from echomimic.motion.idle import blink_closure, glances, head_sway

PORTRAITS = {"3d": still_face(), "2d": without_mesh(still_face())}
FACES = pytest.mark.parametrize("face", PORTRAITS.values(), ids=PORTRAITS)
EYES = ("left_eye", "right_eye")
UPPER_LIP = [191, 80, 81, 82, 13, 312, 311, 310, 415]  # inner edges, above one another
LOWER_LIP = [95, 88, 178, 87, 14, 317, 402, 318, 324]


def lid_gap(track, part):
    """How far the upper lid is above the lower one, point by point (f, 7), in pixels."""
    lower, upper = (list(line.points[1:-1]) for line in LINES[part])
    return (pixels(track)[:, lower] - pixels(track)[:, upper])[..., 1]


def lip_gap(track):
    return (pixels(track)[:, LOWER_LIP] - pixels(track)[:, UPPER_LIP])[..., 1]


def blink_starts(closure):
    return np.flatnonzero(np.diff((closure > 0.5).astype(int)) == 1)


@FACES
def test_a_blink_closes_both_eyes_completely_and_never_crosses_the_lids(face):
    track = blink_and_gaze(face, 500, 25.0, seed=1, gaze=2, head=0)
    closure = blink_closure(track.seconds(), 1, 17)
    assert (closure == 1).any()
    for part in EYES:
        gap = lid_gap(track, part)
        assert gap.min() > -1e-6
        assert abs(gap[closure == 1]).max() < 1e-6
        assert gap[closure == 0].min() > 1


@FACES
def test_a_blinking_face_under_a_moving_head_keeps_its_lids_in_order(face):
    track = blink_and_gaze(face, 250, 25.0, seed=3, blink_rate=40)
    assert min(lid_gap(track, part).min() for part in EYES) > -1e-6


def test_blinks_come_as_often_and_as_irregularly_as_those_of_people():
    seconds = np.arange(0, 1800, 0.02)
    starts = blink_starts(blink_closure(seconds, 5, 17)) * 0.02
    intervals = np.diff(starts)
    assert 3 < intervals.mean() < 4
    assert intervals.std() > 0.4 * intervals.mean()
    assert intervals.min() < 0.6  # a double one
    assert np.median(intervals) < intervals.mean()


def test_a_lid_falls_in_three_frames_and_rises_more_slowly():
    seconds = np.arange(0, 60, 0.002)
    closure = blink_closure(seconds, 5, 17)
    moving = (closure > 0) & (closure < 1)
    first = blink_starts(closure)[0]
    around = slice(first - 200, first + 300)
    falling = (moving & (np.gradient(closure) > 0))[around].sum() * 0.002
    rising = (moving & (np.gradient(closure) < 0))[around].sum() * 0.002
    assert 0.08 <= falling <= 0.14
    assert rising > 1.5 * falling


@pytest.mark.parametrize("signal", [lambda s, seed: blink_closure(s, seed, 17), glances, head_sway])
def test_a_seed_is_one_motion_at_every_length_and_frame_rate(signal):
    long, short, fast = (np.arange(n) / fps for n, fps in ((500, 25), (100, 25), (1000, 50)))
    np.testing.assert_array_equal(signal(long, 9)[:100], signal(short, 9))
    np.testing.assert_allclose(signal(fast, 9)[::2], signal(long, 9), atol=1e-9)
    assert abs(signal(long, 10) - signal(long, 9)).max() > 0


def test_a_clip_begins_with_the_portrait_itself():
    face = still_face()
    track = blink_and_gaze(face, 50, 24.0, seed=2)
    np.testing.assert_array_equal(track.points[0], face.points[0])
    np.testing.assert_array_equal(track.neutral, face.mesh[0])


@FACES
def test_without_amounts_nothing_moves(face):
    track = blink_and_gaze(face, 50, 25.0, seed=2, blink_rate=0, gaze=0, head=0)
    np.testing.assert_allclose(track.points, np.repeat(face.points, 50, axis=0), atol=1e-9)


@FACES
@pytest.mark.parametrize("amount", [1, 10])
def test_pupils_move_together_and_stay_between_lids_and_corners(face, amount):
    track = blink_and_gaze(face, 500, 25.0, seed=4, blink_rate=0, gaze=amount, head=0)
    at = pixels(track)
    left, right = ((at - at[0])[:, iris].mean(axis=1) for iris in (LEFT_IRIS, RIGHT_IRIS))
    for axis in (0, 1):
        assert np.corrcoef(left[:, axis], right[:, axis])[0, 1] > 0.95
    np.testing.assert_allclose(left, right, atol=0.25 if amount == 1 else 1)  # pixels
    assert np.ptp(left[:, 0]) > 1
    for pupil, corners, lower, upper in ((468, (33, 133), 145, 159), (473, (362, 263), 374, 386)):
        assert (at[:, pupil, 0] > at[:, corners[0], 0]).all()
        assert (at[:, pupil, 0] < at[:, corners[1], 0]).all()
        assert (at[:, pupil, 1] > at[:, upper, 1]).all()
        assert (at[:, pupil, 1] < at[:, lower, 1]).all()


@FACES
def test_a_closing_lid_takes_the_pupil_along(face):
    at = pixels(blink_and_gaze(face, 500, 25.0, seed=4, blink_rate=40, gaze=1, head=0))
    for pupil, lower, upper in ((468, 145, 159), (473, 374, 386)):
        assert (at[:, pupil, 1] > at[:, upper, 1] - 0.5).all()
        assert (at[:, pupil, 1] < at[:, lower, 1] + 0.5).all()


def test_the_head_moves_smoothly_by_a_few_degrees():
    seconds = np.arange(0, 600, 0.04)
    sway = head_sway(seconds, 6)
    assert 0.5 < sway[:, :3].std(axis=0).min() < sway[:, :3].std(axis=0).max() < 2
    assert abs(sway[:, :3]).max() < 6
    assert abs(np.diff(sway[:, :3], axis=0)).max() < 0.4  # degrees per frame


def test_mesh_transforms_and_points_agree():
    track = blink_and_gaze(still_face(degrees=(5, 20, 10)), 100, 25.0, seed=8)
    projected = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(projected, track.points[..., :2], atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blink_rate": 200}, "0 to 60 times"),
        ({"gaze": -1}, "gaze movement is -1"),
        ({"head": float("nan")}, "head movement is nan"),
        ({"num_frames": 0}, "at least one frame"),
    ],
)
def test_wrong_amounts_are_explained(changes, words):
    options = {"num_frames": 10, "fps": 25.0, "seed": 0} | changes
    with pytest.raises(OptionsError, match=words):
        blink_and_gaze(still_face(), **options)


def test_a_clip_instead_of_a_face_is_explained():
    with pytest.raises(LandmarkError, match="must be one picture, not 20 frames"):
        blink_and_gaze(moving_face(20), 10, 25.0, seed=0)


@pytest.mark.parametrize("track", [moving_face(), without_mesh(moving_face())], ids=["3d", "2d"])
def test_lips_meet_in_silence_and_stay_as_they_are_in_speech(track):
    activity = np.linspace(0, 1, 20)
    closed = close_mouth_in_silence(track, activity)
    gap, before = lip_gap(closed), lip_gap(track)
    np.testing.assert_array_equal(closed.points[-1], track.points[-1])
    assert before[0].min() > 1
    assert abs(gap[0]).max() < 1e-6
    assert gap.min() > -1e-6
    np.testing.assert_allclose(gap, before * activity[:, None], rtol=0.05, atol=0.05)
    eyes = [point for part in EYES for line in LINES[part] for point in line.points]
    np.testing.assert_array_equal(closed.points[:, eyes, :2], track.points[:, eyes, :2])


def test_a_closed_mouth_keeps_its_lips_thick():
    mouth = posed(moving_face(1).mesh)
    closed = close_mouth_in_silence(mouth, np.zeros(1))
    for inner, outer in ((13, 0), (14, 17)):
        thickness = [abs(np.subtract(*pixels(t)[0, [inner, outer], 1])) for t in (mouth, closed)]
        assert thickness[1] == pytest.approx(thickness[0], rel=0.1)


def test_a_voice_of_another_length_is_explained():
    with pytest.raises(LandmarkError, match="20 frames but the voice 7"):
        close_mouth_in_silence(moving_face(20), np.ones(7))


def bursts(*spans, seconds=6.0, noise=0.0, level=0.2):
    """Noise that swells like syllables within the spans of seconds."""
    random = np.random.default_rng(0)
    time = np.arange(int(seconds * AUDIO_RATE)) / AUDIO_RATE
    loud = sum(((time >= a) & (time < b)).astype(float) for a, b in spans)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)
    return random.normal(size=len(time)) * (noise + level * loud * syllables)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.01])
@pytest.mark.parametrize("level", [0.02, 0.3])
def test_voice_and_pauses_are_told_apart(noise, level):
    speech = bursts((1, 2.5), (4, 5), noise=noise * level / 0.2, level=level)
    activity = voice_activity(torch.from_numpy(speech).float(), 150, 25.0)
    assert activity[27:61].min() > 0.99
    assert activity[103:122].min() > 0.99
    for pause in (slice(0, 20), slice(71, 94), slice(133, 150)):
        assert activity[pause].max() < 0.01
    assert abs(np.diff(activity)).max() < 0.5  # no jumps


def test_a_gap_between_words_leaves_the_mouth_alone():
    activity = voice_activity(bursts((1, 2), (2.2, 3)), 150, 25.0)
    assert activity[27:73].min() > 0.99


@pytest.mark.parametrize("speech", [np.zeros(0), np.zeros(50), np.zeros(20_000)])
def test_silence_is_silent(speech):
    np.testing.assert_array_equal(voice_activity(speech, 30, 25.0), np.zeros(30))


def test_unbroken_sound_is_voice_throughout():
    tone = 0.1 * np.sin(np.arange(3 * AUDIO_RATE) / 10)
    assert voice_activity(tone, 75, 25.0)[3:-3].min() > 0.99


def test_frames_after_the_sound_are_silent():
    activity = voice_activity(bursts((0, 2), seconds=2.0), 100, 25.0)
    assert activity[:48].min() > 0.9
    assert activity[60:].max() == 0


def test_a_real_voice_speaks_and_pauses():
    speech = read_speech(real_input("test_audios/echomimic_en.wav"))
    activity = voice_activity(speech, int(len(speech) / AUDIO_RATE * 25), 25.0)
    assert 0.5 < activity.mean() < 1

"""Puppets: cartoon people with known truth, and the meter that reads it back from pixels."""

from dataclasses import fields

import numpy as np
import pytest

from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import CONTOUR, NUM_POINTS
from echomimic.motion.space import face_space
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.geometry import face_track
from echomimic.puppets.identity import TEST_SEEDS, Identity, identity
from echomimic.puppets.meter import measure, mouth_correlation
from echomimic.puppets.mouth import mouth_curves
from echomimic.puppets.perform import perform
from echomimic.puppets.performance import Performance
from echomimic.puppets.pose_meter import read_poses
from echomimic.puppets.render import render_clip
from echomimic.puppets.voice import speak

cv2 = pytest.importorskip("cv2")
RATE = 16_000


def acting(**channels):
    """A performance of as many frames as the longest channel; all else is still."""
    frames = max(len(values) for values in channels.values())
    still = Performance.still(num_frames=frames)
    values = {f.name: getattr(still, f.name) for f in fields(Performance)}
    return Performance(**values | {name: np.asarray(v, float) for name, v in channels.items()})


def test_a_seed_is_one_person_and_another_seed_another():
    assert identity(5) == identity(5)
    people = {identity(seed) for seed in range(50)}
    assert len(people) == 50
    assert {person.style for person in people} >= {"short", "long", "bun", "curly"}
    assert isinstance(identity(TEST_SEEDS.start), Identity)


def test_hair_stands_out_from_the_background():
    for seed in range(300):
        person = identity(seed)
        assert np.abs(np.subtract(person.hair, person.background)).sum() > 80


@pytest.mark.parametrize("motion", ["still", "calm", "lively"])
def test_the_same_seed_is_the_same_film(motion):
    first, second = (PuppetClip(3, 4, motion=motion, start=0.5) for _ in range(2))
    assert np.array_equal(first.frames(64), second.frames(64))
    assert np.array_equal(first.speech, second.speech)
    assert np.array_equal(first.track(64).points, second.track(64).points)


def test_a_longer_film_begins_like_a_shorter_one():
    speech = speak(8, 3.0)
    short = perform(speech, 8, 10, motion="lively")
    long = perform(speech, 8, 40, motion="lively")
    for item in fields(Performance)[1:]:
        np.testing.assert_allclose(getattr(long, item.name)[:10], getattr(short, item.name))


def test_a_lively_head_moves_far_and_a_calm_one_little():
    turned = [
        np.ptp(np.degrees(perform(speak(s, 2.0), s, 50, motion=motion).rotation[:, 0]))
        for motion in ("calm", "lively")
        for s in range(12)
    ]
    assert max(turned[:12]) < 5
    assert np.median(turned[12:]) > 8
    assert not perform(speak(1, 1.0), 1, 25, motion="still").rotation.any()


@pytest.mark.parametrize("size", [64, 128, 512])
def test_pictures_have_the_size_asked_for_and_show_the_background_in_the_corner(size):
    person = identity(2)
    (picture,) = render_clip(person, Performance.still(), size)
    assert picture.shape == (size, size, 3)
    assert tuple(picture[1, 1].tolist()) == person.background


def test_landmarks_lie_on_the_features_they_name():
    person = identity(4)
    turns = [(0, 0, 0), (0.3, 0.1, 0.1), (-0.3, 0, 0)]
    performance = acting(mouth_open=[1, 1, 1], rotation=turns)
    frames, track = (
        render_clip(person, performance, 256),
        face_track(person, performance, (256, 256)),
    )
    for frame, points in zip(frames, track.points, strict=True):
        pixel = np.rint(points[:, :2] * 256 - 0.5).astype(int)
        for iris in (468, 473):
            x, y = pixel[iris]
            assert frame[y, x].sum() < 90  # the pupil
        inside = points[[13, 14], :2].mean(axis=0) * 256
        x, y = np.rint(inside - 0.5).astype(int)
        assert frame[y, x, 0] - int(frame[y, x, 1]) > 60  # the red of the mouth
        x, y = pixel[CONTOUR[13]]  # the chin: skin above it, neck or shirt below
        assert np.abs(frame[y - 4, x].astype(int) - person.skin).max() < 10


def test_landmarks_in_space_are_those_in_the_picture():
    clip = PuppetClip(7, 6, motion="lively")
    track = clip.track(128)
    seen = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(seen, track.points[..., :2], atol=1e-9)
    assert track.points.shape == (6, NUM_POINTS, 3)
    tip, ear = track.points[0, 4, 2], track.points[0, 234, 2]
    assert tip < ear  # nearer to us
    assert face_space(track).face_width == pytest.approx(2 * clip.identity.face_width * 26, rel=0.2)


def test_a_mouth_follows_the_energy_of_the_voice_and_not_its_level():
    seconds = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 700 * seconds) * ((seconds % 1) < 0.5)
    opening, _ = mouth_curves(tone, 50, 25.0)
    assert opening[1:10].min() > 0.9
    assert opening[15:22].max() < 0.05
    quiet, _ = mouth_curves(0.1 * tone, 50, 25.0)
    np.testing.assert_allclose(quiet, opening, atol=1e-6)


def test_a_mouth_is_spread_by_high_and_rounded_by_low_vowels():
    seconds = np.arange(RATE) / RATE

    def vowel(first, second):
        return np.sin(2 * np.pi * first * seconds) + np.sin(2 * np.pi * second * seconds)

    _, spread = mouth_curves(vowel(300, 2300), 25, 25.0)
    _, rounded = mouth_curves(vowel(400, 750), 25, 25.0)
    assert spread[5:20].mean() > 0.3
    assert rounded[5:20].mean() < -0.3


def test_noise_hardly_changes_what_a_mouth_does():
    speech = speak(11, 3.0)
    noise = np.random.default_rng(0).normal(size=len(speech)) * speech.std() * 0.1  # 20 dB below
    clean, noisy = (mouth_curves(s, 75, 25.0)[0] for s in (speech, speech + noise))
    assert np.corrcoef(clean, noisy)[0, 1] > 0.95


def test_voices_differ_and_pause():
    voices = [speak(seed, 2.0) for seed in range(8)]
    assert all(len(voice) == 2 * RATE and voice.dtype == np.float32 for voice in voices)
    assert all(0.02 < np.abs(voice).max() <= 1 for voice in voices)
    openings = [mouth_curves(voice, 50, 25.0)[0] for voice in voices]
    assert all(opening.max() > 0.8 for opening in openings)
    assert np.mean([(opening < 0.05).mean() for opening in openings]) > 0.03
    matches = np.abs(np.corrcoef(openings)[np.triu_indices(8, 1)])
    assert matches.mean() < 0.4


@pytest.mark.parametrize("seed", range(20))
def test_the_meter_reads_mouths_from_pixels(seed):
    clip = PuppetClip(2000 + seed, 40, motion="lively" if seed % 2 else "calm")
    frames, truth = clip.frames(128), clip.performance.mouth_open
    assert mouth_correlation(measure(frames, clip.identity), truth) >= 0.96
    noise = np.random.default_rng(0).normal(0, 5, frames.shape)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.8) for frame in frames])
    degraded = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert mouth_correlation(measure(degraded, clip.identity), truth) >= 0.93


def test_the_meter_reads_blinks_turns_and_colours():
    person = identity(6)
    open_and_shut = measure(render_clip(person, acting(blink=[0, 0.5, 1]), 128), person).eyes
    assert open_and_shut[0] > 1.3 * open_and_shut[1] > 3 * open_and_shut[2]
    tilts = np.array([-0.2, 0.0, 0.2])
    rolled = acting(rotation=np.stack([0 * tilts, 0 * tilts, tilts], axis=1))
    np.testing.assert_allclose(
        measure(render_clip(person, rolled, 128), person).tilt, tilts, atol=0.04
    )
    shifts = np.array([-0.04, 0.0, 0.04])
    moved = acting(shift=np.stack([shifts, 0 * shifts], axis=1))
    centre = measure(render_clip(person, moved, 128), person).centre[:, 0]
    np.testing.assert_allclose(centre - centre[1], shifts, atol=0.006)
    reading = measure(render_clip(person, Performance.still(), 128), person)
    assert np.abs(reading.skin - person.skin).max() <= 2
    assert np.abs(reading.hair - person.hair).max() <= 2


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_meter_reads_poses_from_pixels(seed):
    clip = PuppetClip(2000 + seed, 12, fps=5.0, motion="lively")
    read, true = read_poses(clip.frames(128), clip.identity), clip.performance
    assert np.degrees(np.abs(read[:, :3] - true.rotation)).mean() < 1.5
    assert np.abs(read[:, 3:] - true.shift).mean() < 0.006
    for angle in range(3):
        assert np.corrcoef(read[:, angle], true.rotation[:, angle])[0, 1] > 0.9
    still = np.repeat(clip.portrait(128)[None], 2, axis=0)
    assert np.degrees(np.abs(read_poses(still, clip.identity)[:, :3])).max() < 0.5


def test_the_meter_sees_no_talking_in_a_still_picture():
    clip = PuppetClip(9, 30)
    frames = np.repeat(clip.portrait(128)[None], 30, axis=0)
    assert mouth_correlation(measure(frames, clip.identity), clip.performance.mouth_open) == 0

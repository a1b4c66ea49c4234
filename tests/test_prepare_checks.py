"""What is measured before a clip is kept: each filter alone, on made-up pictures and curves."""

from dataclasses import replace

import numpy as np
import pytest
from face_tracks import moving_face, posed, still_face, without_mesh
from faces import face, found_face

from echomimic.errors import DatasetError, OptionsError
from echomimic.landmarks.detect import Face
from echomimic.prepare import measures
from echomimic.prepare.camera import APART, background_motion
from echomimic.prepare.checks import REASONS, Check, check, first_failed
from echomimic.prepare.faces import StoredFaces, faces_file, save_faces
from echomimic.prepare.lip_sync import Candidate, MouthVoiceProxy, above_chance
from echomimic.prepare.options import Limits, PrepareOptions
from echomimic.prepare.shots import changes, first_of_shot
from echomimic.prepare.stretches import stretches

FPS = 25.0
LIMITS = Limits()
IN_THE_MIDDLE = (0.4, 0.3, 0.6, 0.6)  # a face box


def noise(seed, size=(64, 64, 3)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def wall(seed=0, height=180, width=320):
    """Soft spots."""
    small = np.random.default_rng(seed).integers(40, 220, (height // 6, width // 6))
    return np.kron(small, np.ones((6, 6))).astype(np.uint8)


def failed(checks):
    return {one.reason for one in checks if not one.passed}


def bursts(opening):
    """16 kHz noise as loud in each 40 ms as a mouth is open."""
    rough = np.random.default_rng(2).standard_normal(len(opening) * 640)
    return (np.repeat(opening + 1e-3, 640) * rough * 0.1).astype(np.float32)


# --- shots ------------------------------------------------------------------------------------


def test_a_cut_is_found_where_it_is():
    pictures = [noise(1)] * 10 + [noise(2)] * 7
    cuts = [*first_of_shot(changes(pictures))]
    assert len(cuts) == 17
    assert np.flatnonzero(cuts).tolist() == [10]


def test_a_cut_next_to_the_end_is_found():
    assert np.flatnonzero([*first_of_shot([0.0] * 5 + [60.0])]).tolist() == [5]


def test_lasting_motion_and_small_changes_are_no_cuts():
    """Every frame of a shaking film differs a lot, a nod differs a little."""
    shaking = np.random.default_rng(3).uniform(15, 30, 200)
    assert not any(first_of_shot([0.0, *shaking]))
    assert not any(first_of_shot([0.5, 0.5, 0.5, 7.0, 0.5, 0.5]))


def test_a_flash_is_no_cut():
    assert not any(first_of_shot([1.0, 1, 1, 90, 90, 1, 1, 1]))
    assert sum(first_of_shot([1.0, 1, 1, 90, 1, 1, 1])) == 1


def test_stretches_end_at_shots_and_at_the_longest_length():
    pictures = [noise(1)] * 8 + [noise(2)] * 12
    made = [*stretches(pictures, lambda picture: [], longest=7)]
    assert [(s.first, s.end) for s in made] == [(0, 7), (7, 8), (8, 15), (15, 20)]


def test_stretches_hold_each_frames_own_faces():
    pictures, number = [noise(k) for k in range(6)], iter(range(6))
    made = [*stretches(pictures, lambda picture: [found_face(0.1 * next(number), 0.5)], longest=3)]
    centres = [f[0].landmarks[:, 0].mean() for s in made for f in s.faces]
    assert np.allclose(np.diff(centres), 0.1)


# --- faces ------------------------------------------------------------------------------------


def test_one_face_passes():
    assert not failed(measures.face_checks([[found_face(0.5, 0.5)]] * 100, LIMITS))


def test_a_large_second_face_in_a_single_frame_is_found():
    frames = [[found_face(0.3, 0.5)]] * 99 + [[found_face(0.3, 0.5), found_face(0.8, 0.5)]]
    checks = measures.face_checks(frames, LIMITS)
    assert failed(checks) == {"second_face"}
    assert {one.reason: one.value for one in checks}["second_face"] == pytest.approx(1)


def test_small_faces_behind_are_tolerated_in_a_few_frames_only():
    two = [found_face(0.3, 0.5, 0.3), found_face(0.8, 0.5, 0.05)]
    assert not failed(measures.face_checks([two[:1]] * 99 + [two], LIMITS))
    assert failed(measures.face_checks([two[:1]] * 90 + [two] * 10, LIMITS)) == {"more_faces"}


def test_frames_without_a_face_are_counted():
    checks = measures.face_checks([[found_face(0.5, 0.5)]] * 95 + [[]] * 5, LIMITS)
    assert failed(checks) == {"no_face"}
    assert checks[0].value == 0.95
    assert checks[0].sentence == "95% of the frames show a face, fewer than 98%"


@pytest.mark.parametrize("degrees", [(0, 50, 0), (0, -50, 0), (0, 0, 50)])
def test_a_turned_or_tilted_head_is_found(degrees):
    track = posed(face(gap=0.4)[None].repeat(4, axis=0), degrees)
    assert "turned" in failed(measures.track_checks(track, LIMITS, 0))
    angles = np.abs(measures.head_angles(track)).max()
    assert angles == pytest.approx(50, abs=8)  # perspective changes it a little


def test_a_moving_head_that_looks_at_us_passes():
    assert not failed(measures.track_checks(moving_face(), LIMITS, 0))


def test_a_face_that_jumps_is_another_one():
    track = without_mesh(posed(face()[None].repeat(10, axis=0)))
    points = track.points.copy()
    points[5:, :, 0] += 0.4
    checks = measures.track_checks(replace(track, points=points), LIMITS, 0)
    assert {"face_jumps", "face_range"} <= failed(checks)
    assert not failed(measures.track_checks(track, LIMITS, 0))


def test_a_face_is_as_small_as_its_pixels_say():
    track = still_face()
    box = measures.pixel_boxes(track)[0]
    side = min(box[2] - box[0], box[3] - box[1])
    assert "small_face" not in failed(measures.track_checks(track, LIMITS, side - 1))
    assert "small_face" in failed(measures.track_checks(track, LIMITS, side + 1))


# --- camera -----------------------------------------------------------------------------------


def shifted(pictures, pixels):
    return [np.roll(p, round(d), axis=1) for p, d in zip(pictures, pixels, strict=True)]


def test_a_still_camera_does_not_move_while_a_head_does():
    pictures = [wall().copy() for _ in range(20)]
    for number, picture in enumerate(pictures):
        picture[60:110, 120 + number : 180 + number] = 255  # inside the surroundings of the face
    motion = background_motion(pictures, [IN_THE_MIDDLE] * 20)
    assert len(motion) == 20 - APART
    assert motion.max() < 0.001


@pytest.mark.parametrize("pixels", [2, 8])
def test_motion_of_the_background_is_measured(pixels):
    pictures = shifted([wall()] * 12, np.arange(12) * pixels / APART)
    motion = background_motion(pictures, [IN_THE_MIDDLE] * 12)
    assert np.median(motion) == pytest.approx(pixels / 320, abs=1 / 320)
    assert failed(measures.camera_checks(pictures, [None] * 12, LIMITS)) >= {"camera"}


def test_a_wall_of_one_colour_says_nothing():
    checks = measures.camera_checks([np.full((180, 320), 90, np.uint8)] * 10, [None] * 10, LIMITS)
    assert [one.value for one in checks] == [None, None]
    assert first_failed(checks) is None


# --- voice ------------------------------------------------------------------------------------


def test_silence_is_found():
    assert not measures.voice_check(np.zeros(16000, np.float32), 25, FPS, LIMITS).passed
    assert measures.voice_check(bursts(np.ones(25)), 25, FPS, LIMITS).passed


def talking(opening):
    """A face whose lips are apart as `opening` (f,) says."""
    return posed(np.stack([face(gap=share) for share in opening]))


def sync(opening, speech):
    clip = Candidate(talking(opening), speech, frames=lambda: iter(()))
    return MouthVoiceProxy()(clip, LIMITS)


@pytest.mark.parametrize("late", [-5, 5])
def test_the_proxy_finds_a_shift_of_five_frames_and_says_its_sign(late):
    opening = np.random.default_rng(5).uniform(0, 1, 110)
    assert not failed(sync(opening, bursts(opening)))
    checks = sync(opening, bursts(np.roll(opening, -late)))
    assert failed(checks) == {"mouth_late"}
    assert {one.reason: one.value for one in checks}["mouth_late"] == late


def test_the_proxy_finds_a_stranger():
    draw = np.random.default_rng(6)
    assert failed(sync(draw.uniform(0, 1, 120), bursts(draw.uniform(0, 1, 120))))


def test_what_a_short_clip_cannot_tell_is_not_held_against_it():
    opening = np.random.default_rng(7).uniform(0, 1, 60)
    assert above_chance(opening, opening, FPS) is None
    assert above_chance(np.zeros(200), np.zeros(200), FPS) is None


# --- limits and words -------------------------------------------------------------------------


def test_every_limit_has_a_reason_in_words():
    for name in vars(LIMITS):
        sentence = Check(name, 1.0, 2.0).sentence
        assert sentence and "{" not in sentence
    assert set(vars(LIMITS)) <= set(REASONS)


def test_limits_are_ends_of_what_passes():
    assert check(LIMITS, camera=0.005)[0].passed and not check(LIMITS, camera=0.0051)[0].passed
    assert check(LIMITS, silent=0.5)[0].passed and not check(LIMITS, silent=0.49)[0].passed
    assert not check(LIMITS, mouth_late=-4.0)[0].passed


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Limits.with_changes({"wobble": 1}), "no limit 'wobble'; choose from no_face"),
        (lambda: Limits.with_changes({"camera": np.nan}), "limit 'camera' must be a number"),
        (lambda: PrepareOptions(size=100), "multiple of 8, not 100"),
        (lambda: PrepareOptions(fps=0), "fps must be between 1 and 120, not 0"),
        (lambda: PrepareOptions(shortest=9, longest=4), "cannot be 9 to 4 seconds long"),
        (lambda: PrepareOptions(quality=0), "quality of JPEG is 1 to 100"),
        (lambda: PrepareOptions(frames="gif"), "frames must be jpg or png or npy"),
        (lambda: PrepareOptions(identity="face"), "identity must be folder or video"),
    ],
)
def test_impossible_options_are_refused(made, message):
    with pytest.raises(OptionsError, match=message):
        made()


# --- stored faces -----------------------------------------------------------------------------


def test_stored_faces_come_back_frame_by_frame(tmp_path):
    video = tmp_path / "a.mp4"
    frames = [[found_face(0.2, 0.5)], [], [found_face(0.2, 0.5), found_face(0.7, 0.5)]]
    save_faces(video, frames)
    with StoredFaces().open(video) as find:
        found = [find(None) for _ in range(4)]
    assert [len(faces) for faces in found] == [1, 0, 2, 0]
    assert isinstance(found[2][1], Face)
    assert np.allclose(found[2][1].landmarks, frames[2][1].landmarks, atol=1e-6)


@pytest.mark.parametrize("content", [None, b"", b"PK nothing"])
def test_missing_and_damaged_stored_faces_are_one_sentence(tmp_path, content):
    video = tmp_path / "a.mp4"
    if content is not None:
        faces_file(video).write_bytes(content)
    with (
        pytest.raises(DatasetError, match=r"a\.faces\.npz cannot be read"),
        StoredFaces().open(video),
    ):
        pass


def test_stored_faces_of_another_shape_are_refused(tmp_path):
    np.savez(tmp_path / "a.faces.npz", landmarks=np.zeros((3, 68, 2)))
    with (
        pytest.raises(DatasetError, match="must hold an array 'landmarks'"),
        StoredFaces().open(tmp_path / "a.mp4"),
    ):
        pass

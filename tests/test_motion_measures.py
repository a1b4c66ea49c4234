"""How a face moves beside the real one: equal clips, known changes, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest
from face_tracks import moving_face, posed
from faces import face

from echomimic.errors import EvaluationError
from echomimic.evaluation import motion
from echomimic.landmarks.track import LandmarkTrack
from echomimic.report.measures import OUTER_CORNERS


def talking(opening):
    return posed(np.stack([face(gap=gap) for gap in opening]))


def with_scores(track: LandmarkTrack, seed=0, **more) -> LandmarkTrack:
    scores = np.random.default_rng(seed).random((track.num_frames, 52))
    return replace(track, blendshapes=scores, **more)


def test_equal_clips_have_no_error():
    track = with_scores(moving_face())
    assert motion.landmark_error(track, track) == {"face": 0, "mouth": 0, "eyes": 0}
    assert motion.blendshape_error(track, track) == 0
    assert motion.lip_motion(track, track) == (pytest.approx(1), 0)


def test_an_error_is_counted_in_distances_between_the_eyes():
    track = moving_face()
    left, right = OUTER_CORNERS
    moved = track.points.copy()
    pixels = track.points[..., :2] * track.size
    eyes = np.linalg.norm(pixels[:, left] - pixels[:, right], axis=-1)
    moved[..., 0] += 0.1 * eyes[:, None] / track.size[0]
    error = motion.landmark_error(replace(track, points=moved), track)
    assert error == {name: pytest.approx(0.1) for name in ("face", "mouth", "eyes")}


def test_an_open_mouth_is_an_error_of_the_mouth():
    error = motion.landmark_error(talking([1.0] * 4), talking([0.2] * 4))
    assert error["mouth"] > 5 * error["eyes"]


def test_frames_without_a_face_do_not_count():
    track = moving_face()
    moved = track.points.copy()
    moved[5] += 0.3
    seen = np.arange(track.num_frames) != 5
    lost = replace(track, points=moved, valid=seen)
    assert motion.landmark_error(lost, track)["face"] == 0
    with pytest.raises(EvaluationError, match="No frame shows a face in both"):
        motion.landmark_error(replace(track, valid=~seen), lost)


@pytest.mark.parametrize("late", [0, 3])
def test_lips_that_are_late_are_found(late):
    opening = np.random.default_rng(0).uniform(0, 1, 60)
    correlation, lag = motion.lip_motion(talking(np.roll(opening, late)), talking(opening))
    assert correlation > 0.99
    assert lag == pytest.approx(late / 25)


def test_a_mouth_follows_a_loudness():
    opening = np.random.default_rng(1).uniform(0, 1, 75)
    noise = np.random.default_rng(2).standard_normal(75 * 640)
    correlation, lag = motion.voice_motion(talking(opening), noise * np.repeat(opening, 640))
    assert correlation > 0.6
    assert lag == 0
    assert motion.voice_motion(talking([0.4] * 75), noise) == (0, pytest.approx(-0.6))


def test_expressions_are_those_of_frames_with_a_face_less_the_neutral_one():
    track = with_scores(moving_face(100))
    seen = np.arange(100) != 7
    rows = motion.blendshapes(replace(track, valid=seen))
    assert rows.shape == (99, 51)
    assert np.array_equal(rows, track.blendshapes[seen][:, 1:])


def test_too_many_frames_without_a_face_have_no_expressions():
    track = with_scores(moving_face(20), source="a.mp4")
    with pytest.raises(EvaluationError, match="a.mp4 shows no face in 5% of its frames"):
        motion.blendshapes(replace(track, valid=np.arange(20) != 7))
    with pytest.raises(EvaluationError, match="no blendshapes"):
        motion.blendshapes(moving_face())


def test_groups_of_expressions_are_all_but_the_neutral_one():
    assert len(motion.MOUTH_SHAPES) == 27
    assert len(motion.UPPER_SHAPES) == 24
    assert {*motion.MOUTH_SHAPES, *motion.UPPER_SHAPES} == set(range(1, 52))


def test_flicker_of_a_still_picture_is_none_and_seams_are_seen():
    track = moving_face(20)
    frames = np.full((20, 32, 32, 3), 100, np.uint8)
    assert motion.flicker(frames, track)["picture"] == 0
    assert motion.flicker(frames, track)["picture_seam"] is None
    noise = np.random.default_rng(0).integers(-2, 3, frames.shape)
    shown = (frames + noise).astype(np.uint8)
    shown[10:] += 30  # every ten frames there is a border
    measured = motion.flicker(shown, track, border_every=10)
    assert measured["picture"] > 0
    assert measured["picture_seam"] > 3
    with pytest.raises(EvaluationError, match="at least 3 frames"):
        motion.flicker(frames[:2], replace(track, points=track.points[:2], mesh=None,
                                           transforms=None, valid=None, neutral=None))  # fmt: skip


def test_clips_of_different_length_are_refused():
    with pytest.raises(EvaluationError, match="of 20 and of 19 frames"):
        motion.landmark_error(moving_face(20), moving_face(19))

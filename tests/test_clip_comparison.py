"""Two clips held against each other: curves, the worst frame, landmarks, and what cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from face_tracks import moving_face, posed
from faces import face

from echomimic.errors import EvaluationError
from echomimic.evaluation.clip_comparison import compare_clips
from echomimic.evaluation.comparison_plot import draw_comparison
from echomimic.evaluation.images import psnr, ssim
from echomimic.train.lpips import BACKBONES, LPIPS

FRAMES = 6


@pytest.fixture(scope="module")
def clip():
    """Soft spots that change from frame to frame."""
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 6, 5, 3), dtype=np.uint8)
    return noise.repeat(8, axis=1).repeat(8, axis=2)  # 48x40


def darker(clip, *numbers):
    made = clip.copy()
    made[list(numbers)] = made[list(numbers)] // 2
    return made


def test_equal_clips_are_equal(clip):
    found = compare_clips(iter(clip), iter(clip), fps=25)
    assert found.figures() == {
        "frames": FRAMES, "ssim": pytest.approx(1), "psnr": 100, "lpips": None,
        "lip_motion": None, "lip_lag": None,
    }  # fmt: skip
    assert "6 frames of 40x48 at 25 fps are compared; 6 are equal" in found.text()


def test_curves_are_those_of_the_measures_and_the_worst_frame_is_found(clip):
    made = darker(clip, 4)
    found = compare_clips(made, clip)
    assert found.ssim == pytest.approx(ssim(made, clip))
    assert found.psnr == pytest.approx(psnr(made, clip))
    assert found.worst_frame == 4
    assert all(np.array_equal(*pair) for pair in zip(found.worst, (made[4], clip[4]), strict=True))
    assert "least alike at frame 4" in found.text()
    assert "fps" not in found.text().splitlines()[0]


def test_lpips_is_the_mean_over_frames(clip):
    network = LPIPS(BACKBONES["alex"]).eval()
    for head in network.heads:
        head.weight.data.abs_()
    found = compare_clips(darker(clip, 2), clip, lpips=network)
    assert found.lpips.shape == (FRAMES,)
    assert found.lpips.argmax() == 2
    assert found.figures()["lpips"] == pytest.approx(found.lpips.mean())
    assert "LPIPS 0." in found.text()


def test_a_larger_reference_is_shrunk_and_another_shape_refused(clip):
    large = clip.repeat(2, axis=1).repeat(2, axis=2)
    found = compare_clips(clip, large)
    assert found.size == (40, 48)
    assert found.ssim.mean() > 0.95
    with pytest.raises(EvaluationError, match="the reference is 40x24 and the clip 40x48, another"):
        compare_clips(clip, clip[:, :24])


@pytest.mark.parametrize("longer", ["clip", "reference"])
def test_the_longer_clip_is_cut_and_that_is_said(clip, longer):
    both = [clip, clip[:4]]
    found = compare_clips(*(both if longer == "clip" else both[::-1]))
    assert found.num_frames == 4
    assert f"the {longer} is longer; what follows after 4 frames" in found.text()


def test_nothing_and_too_little_are_one_sentence(clip):
    with pytest.raises(EvaluationError, match="no frame to compare"):
        compare_clips(iter(()), clip)
    with pytest.raises(EvaluationError, match="at least 11x11 pixels"):
        compare_clips(clip[:, :8, :8], clip[:, :8, :8])


def talking(opening):
    return posed(np.stack([face(gap=share) for share in opening]))


def test_landmarks_say_how_far_the_face_is_and_how_late_the_mouth():
    opening = np.random.default_rng(1).uniform(0, 0.5, 60)
    black = np.zeros((60, 16, 16, 3), np.uint8)
    found = compare_clips(
        black, black, tracks=(talking(np.roll(opening, 2)), talking(opening)), fps=25
    )
    correlation, late = found.lip_motion
    assert correlation > 0.9
    assert late == pytest.approx(2 / 25)
    assert found.figures()["landmarks_mouth"] > 2 * found.figures()["landmarks_eyes"]
    assert "mouth and reference's mouth" in found.text() and "0.08 s late" in found.text()


def test_frames_without_a_face_do_not_count(clip):
    track = moving_face(FRAMES)
    shifted = replace(track, points=track.points + 0.01)
    lost = replace(shifted, valid=np.arange(FRAMES) != 3, points=shifted.points.copy())
    lost.points[3] += 5
    expected = compare_clips(clip, clip, tracks=(shifted, track)).figures()["landmarks_face"]
    found = compare_clips(clip, clip, tracks=(lost, track))
    assert found.figures()["landmarks_face"] == pytest.approx(expected, rel=0.05)
    assert np.isnan(found.landmarks["face"][3])
    nowhere = replace(track, valid=np.zeros(FRAMES, bool))
    found = compare_clips(clip, clip, tracks=(nowhere, track))
    assert not found.landmarks
    assert "No frame shows a face in both clips" in found.text()


def test_landmarks_of_other_clips_are_refused(clip):
    track = moving_face(FRAMES)
    with pytest.raises(EvaluationError, match="have 5 frames, but 6 are compared"):
        compare_clips(clip, clip, tracks=(moving_face(5), track))
    with pytest.raises(EvaluationError, match="30 and 25 frames a second"):
        compare_clips(clip, clip, tracks=(replace(track, fps=30.0), track))


def test_the_plot_shows_the_worst_frame_and_a_curve_for_each_measure(clip):
    white = np.full_like(clip, 255)
    white[3, ..., 1:] = 0  # a red frame
    size = (640, 480)
    plain = draw_comparison(compare_clips(white, np.full_like(clip, 255)), size)
    assert plain.shape == (480, 640, 3)
    pure_red = (plain == (255, 0, 0)).all(axis=-1)
    assert pure_red[:, :220].sum() > 1000 and not pure_red[:, 220:].any()
    track = moving_face(FRAMES)
    more = draw_comparison(compare_clips(white, white, tracks=(track, track)), size)
    orange = (np.abs(more.astype(int) - (199, 119, 0)).max(axis=-1) < 10).sum()
    assert orange > 100


def test_single_pictures_can_be_compared_and_drawn(clip):
    found = compare_clips(clip[:1], darker(clip, 0)[:1])
    assert found.num_frames == 1
    assert draw_comparison(found, (480, 360)).shape == (360, 480, 3)

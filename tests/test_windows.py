"""Windows: who is denoised together, at every step, for many clips."""

import itertools

import pytest
import torch

from echomimic.errors import OptionsError
from echomimic.sampling.context import check_window, looped_windows, overlap_weights, window_rule

LENGTHS = [1, 2, 5, 11, 12, 13, 20, 21, 24, 37, 100]
WINDOWS = [(1, 0), (2, 1), (5, 0), (12, 0), (12, 3), (12, 11), (32, 8)]
CASES = list(itertools.product(LENGTHS, WINDOWS, [0, 2, 3, 7]))


def _layouts(kind, **options):
    for num_frames, (length, overlap), shift in CASES:
        rule = window_rule(kind, num_frames, length, overlap, shift, **options)
        for step in range(12):
            yield (num_frames, length, overlap), rule(step)


@pytest.mark.parametrize("kind", ["open", "looped"])
def test_every_frame_is_covered_at_every_step(kind):
    for case, windows in _layouts(kind, rotate_single=True):
        assert set(itertools.chain(*windows)) == set(range(case[0])), case


@pytest.mark.parametrize("kind", ["open", "looped"])
def test_windows_have_one_length_and_no_frame_twice(kind):
    for (num_frames, length, overlap), windows in _layouts(kind, rotate_single=True):
        for window in windows:
            assert len(window) == len(set(window)) == min(num_frames, length), (num_frames, overlap)


def test_open_windows_are_runs_of_frames_and_none_comes_twice():
    for case, windows in _layouts("open"):
        starts = [window[0] for window in windows]
        assert starts == sorted(set(starts)), case
        for window in windows:
            assert window == list(range(window[0], window[0] + len(window))), case


def test_open_windows_share_at_least_the_overlap_with_the_next():
    for case, windows in _layouts("open"):
        for before, after in itertools.pairwise(windows):
            assert len(set(before) & set(after)) >= case[2], case


def test_open_windows_begin_and_end_with_the_clip():
    for case, windows in _layouts("open"):
        assert windows[0][0] == 0, case
        assert windows[-1][-1] == case[0] - 1, case


@pytest.mark.parametrize("shift", [2, 3])
def test_open_windows_move_by_the_shift_modulo_the_stride(shift):
    rule = window_rule("open", 50, 12, 3, shift)

    for step in range(20):
        inner = [window[0] for window in rule(step)][1:-1]
        assert inner
        assert {start % 9 for start in inner} == {shift * step % 9}


def test_open_windows_cost_at_most_one_more_than_the_fewest():
    for (num_frames, length, overlap), windows in _layouts("open"):
        stride = length - overlap
        fewest = 1 + max(0, -((length - num_frames) // stride))
        assert fewest <= len(windows) <= fewest + 1


def test_looped_windows_wrap_round_the_end():
    windows = looped_windows(240, 12, 3)  # spec, appendix A

    assert [window[0] for window in windows] == list(range(0, 240, 9))
    assert windows[-1] == [234, 235, 236, 237, 238, 239, 0, 1, 2, 3, 4, 5]
    assert looped_windows(13, 12, 3)[1] == [9, 10, 11, 12, 0, 1, 2, 3, 4, 5, 6, 7]


def test_looped_windows_rotate_with_the_step():
    rule = window_rule("looped", 24, 12, 3, shift=2)

    assert rule(0) == looped_windows(24, 12, 3)
    assert rule(5) == [[(f + 10) % 24 for f in window] for window in looped_windows(24, 12, 3)]


@pytest.mark.parametrize("kind", ["open", "looped"])
def test_a_single_window_stays_in_place(kind):
    for num_frames in (1, 7, 12):
        assert window_rule(kind, num_frames, 12, 3, shift=2)(5) == [list(range(num_frames))]


def test_a_single_looped_window_rotates_on_request():
    rule = window_rule("looped", 5, 12, 3, shift=2, rotate_single=True)

    assert rule(1) == [[2, 3, 4, 0, 1]]


def test_weights_are_flat_or_fall_off_from_the_middle():
    assert overlap_weights("flat", 3).tolist() == [1, 1, 1]
    assert overlap_weights("pyramid", 5).tolist() == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    assert overlap_weights("pyramid", 4).tolist() == [0.5, 1, 1, 0.5]


@pytest.mark.parametrize("kind", ["flat", "pyramid"])
def test_weights_are_positive_symmetric_float32(kind):
    for length in range(1, 40):
        weights = overlap_weights(kind, length)
        assert weights.dtype == torch.float32
        assert weights.min() > 0
        assert weights.max() == 1
        assert torch.equal(weights, weights.flip(0))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("open", 10, 12, 12),
            r"context_overlap \(12\) must be at least 0 and smaller than context_frames \(12\)",
        ),
        (("looped", 10, 12, 40), r"context_overlap \(40\) must be"),
        (("open", 10, 12, -1), r"context_overlap \(-1\) must be at least 0"),
        (("open", 10, 0, 0), "context_frames must be 1 or more, not 0"),
        (("open", 0, 12, 3), "at least 1 frame, not 0"),
        (("round", 10, 12, 3), "windows must be one of open, looped, not 'round'"),
    ],
)
def test_impossible_windows_are_refused(arguments, sentence):
    with pytest.raises(OptionsError, match=sentence):
        window_rule(*arguments)


def test_unknown_weights_are_refused():
    with pytest.raises(OptionsError, match="one of flat, pyramid, not 'gauss'"):
        overlap_weights("gauss", 3)


def test_a_window_longer_than_the_position_table_is_refused():
    check_window(32, max_frames=32)
    with pytest.raises(OptionsError, match="context_frames is 33, .* 32 positions; choose 32"):
        check_window(33, max_frames=32)

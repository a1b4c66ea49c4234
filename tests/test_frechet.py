"""Distances of feature sets: what they are of known Gaussians, and what has none."""

import numpy as np
import pytest

from echomimic.errors import EvaluationError
from echomimic.evaluation import frechet
from echomimic.evaluation.frechet import frechet_distance, halves, kernel_distance


def features(num=60, width=4, seed=0):
    return np.random.default_rng(seed).normal(size=(num, width))


def test_a_shift_costs_its_square_and_nothing_else():
    a = features()
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a + [3, 0, 4, 0]) == pytest.approx(25)


def test_scaling_costs_the_square_of_the_difference_of_deviations():
    a = features() - features().mean(axis=0)
    variance = a.var(axis=0, ddof=1).sum()
    assert frechet_distance(a, 3 * a) == pytest.approx((3 - 1) ** 2 * variance)


def test_fewer_samples_than_features_are_exact():
    """In a space of 50 dimensions the samples span a few: the distance is the one within these."""
    a, b = features(6, 4), features(5, 4, seed=1)
    turned = np.linalg.qr(features(50, 50, seed=2))[0][:4]  # four directions of length 1
    assert frechet_distance(a @ turned, b @ turned) == pytest.approx(
        frechet_distance(a, b), rel=1e-9
    )


def test_many_samples_are_reduced_without_a_difference():
    a, b = features(300, 3), features(400, 3, seed=1) * [1, 2, 3]
    whole = np.linalg.svd(
        (a - a.mean(0)) @ (b - b.mean(0)).T / np.sqrt(299 * 399), compute_uv=False
    ).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + a.var(0, ddof=1).sum()
    expected += b.var(0, ddof=1).sum() - 2 * whole
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased_and_sees_a_shift():
    values = [kernel_distance(features(30, 8, s), features(40, 8, s + 1)) for s in range(0, 80, 2)]
    assert abs(np.mean(values)) < 2.5 * np.std(values) / np.sqrt(len(values))
    assert kernel_distance(features(30, 8), features(40, 8, 1) + 1) > 10 * np.std(values)


def test_subsets_of_many_samples_are_drawn_by_seed(monkeypatch):
    monkeypatch.setattr(frechet, "SUBSET_SIZE", 50)
    a, b = features(60, 2), features(70, 2, 1)
    assert kernel_distance(a, b, seed=1) == kernel_distance(a, b, seed=1)
    assert kernel_distance(a, b, seed=1) != kernel_distance(a, b, seed=2)


def test_halves_are_of_whole_clips_and_of_one_clip_in_time():
    clips = [np.full((3, 2), number) for number in range(5)]
    first, second = halves(clips)
    assert sorted(np.concatenate([first, second])[::3, 0]) == [0, 1, 2, 3, 4]
    assert not {*first[:, 0]} & {*second[:, 0]}
    before, after = halves([np.arange(10)[:, None]])
    assert before.max() < after.min()


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (features(1), features(), "1 sample has no covariance.*give at least 2 of each kind"),
        (features(), features(60, 5), r"shapes \(60, 4\) and \(60, 5\) cannot be compared"),
        (features()[0], features(), "two sets"),
        (features() * np.inf, features(), "not numbers"),
    ],
)
def test_what_has_no_distance_is_explained(a, b, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        frechet_distance(a, b)


def test_a_single_frame_has_no_halves():
    with pytest.raises(EvaluationError, match="at least two clips"):
        halves([features(1)])

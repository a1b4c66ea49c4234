"""SSIM and PSNR: equal pictures, known errors, and pictures that do not lie over one another."""

import numpy as np
import pytest

from echomimic.errors import EvaluationError
from echomimic.evaluation.images import psnr, ssim


def film(num_frames=2, height=20, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), np.uint8)


def test_equal_pictures_are_one_and_a_hundred_decibels():
    assert ssim(film(), film()) == pytest.approx([1, 1])
    assert psnr(film(), film()).tolist() == [100, 100]


def test_an_error_of_one_level_is_48_decibels_in_every_direction():
    a = film() // 2 + 10
    expected = 20 * np.log10(255)
    assert psnr(a, a + 1) == pytest.approx([expected] * 2)
    assert psnr(a, a - 1) == pytest.approx([expected] * 2)  # no overflow of uint8


def test_each_frame_is_measured_on_its_own():
    a, b = film(), film()
    b[1] //= 2
    assert ssim(a, b)[0] == pytest.approx(1)
    assert ssim(a, b)[1] < 0.95
    assert psnr(a, b)[1] < psnr(a, b)[0]


def test_ssim_of_a_single_window_is_its_formula():
    """11x11 pixels hold one window: weighted means and variances, computed outright."""
    a, b = film(1, 11, 11), film(1, 11, 11, seed=1)
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    scores = []
    for x, y in zip(np.moveaxis(a[0] / 255, -1, 0), np.moveaxis(b[0] / 255, -1, 0), strict=True):
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        both = (weights * (x - mx) * (y - my)).sum()
        scores.append(
            (2 * mx * my + 1e-4) * (2 * both + 9e-4) / (mx**2 + my**2 + 1e-4) / (vx + vy + 9e-4)
        )
    assert ssim(a, b)[0] == pytest.approx(np.mean(scores), abs=1e-9)


def test_pictures_that_cannot_be_compared_are_explained():
    with pytest.raises(EvaluationError, match="2 frames of 16x20 and 3 frames of 16x20"):
        ssim(film(), film(3))
    with pytest.raises(EvaluationError, match="uint8 RGB"):
        psnr(film() / 255, film() / 255)
    with pytest.raises(EvaluationError, match="at least 11x11 pixels; these have 16x8"):
        ssim(film(1, 8), film(1, 8))

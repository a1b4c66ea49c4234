"""SSIM and PSNR of pictures that lie exactly over one another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import EvaluationError

RADIUS, SIGMA = 5, 1.5  # pixels, of the Gaussian window
_BELL = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
WINDOW = tuple((_BELL / _BELL.sum()).tolist())
C1, C2 = 0.01**2, 0.03**2  # of values in 0..1
MOST_PSNR = 100.0  # dB; equal pictures have infinitely many


def ssim(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Structural similarity of uint8 RGB frames (f, H, W, 3), (f,): at most 1, which is equality.

    Window 11x11, a Gaussian of 1.5 pixels, population covariances, K1 0.01, K2 0.03, range 1;
    the mean over colours and over the pixels at least 5 away from the border. Without unit; can
    fall below 0. Source: Wang et al. 2004, doi 10.1109/TIP.2003.819861; equals scikit-image with
    `gaussian_weights=True, use_sample_covariance=False`. `quality.ssim` is another: grey, 7x7.
    Raises `EvaluationError`.
    """
    _check(frames, others)
    side = 2 * RADIUS + 1
    if min(frames.shape[1:3]) < side:
        raise EvaluationError(
            f"SSIM needs pictures of at least {side}x{side} pixels; these have "
            f"{frames.shape[2]}x{frames.shape[1]}."
        )
    return np.array([_ssim(_unit(a), _unit(b)) for a, b in zip(frames, others, strict=True)])


def psnr(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """10 log10(255² / squared error) of uint8 RGB frames (f, H, W, 3), (f,) in dB: 0 to 100.

    Equal frames count as 100 dB. The figure of a clip is the mean over its frames, which is not
    that of the mean error. Source: the usual definition, as scikit-image's. Raises
    `EvaluationError`.
    """
    _check(frames, others)
    errors = [
        np.square(a.astype(np.float64) - b).mean() for a, b in zip(frames, others, strict=True)
    ]
    least = 255**2 / 10 ** (MOST_PSNR / 10)
    return 10 * np.log10(255**2 / np.maximum(errors, least))


def _ssim(a: Tensor, b: Tensor) -> float:
    """Of one picture (3, H, W) float64."""
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    both = _smooth(a * b) - mean_a * mean_b
    score = (2 * mean_a * mean_b + C1) * (2 * both + C2)
    score /= (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)
    return float(score.mean())


def _smooth(x: Tensor) -> Tensor:
    """(3, H, W) → (3, H - 10, W - 10): only where the window fits."""
    return _along(_along(x, 1), 2)


def _along(x: Tensor, axis: int) -> Tensor:
    """One axis, as a sum of shifted pictures: convolutions in float64 take seven times as long."""
    size = x.shape[axis] - 2 * RADIUS
    total = torch.zeros_like(x.narrow(axis, 0, size))
    for place, weight in enumerate(WINDOW):
        total.add_(x.narrow(axis, place, size), alpha=weight)
    return total


def _unit(picture: np.ndarray) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(picture)).double() / 255
    return values.movedim(-1, 0).contiguous()  # (3, H, W)


def _check(frames: np.ndarray, others: np.ndarray) -> None:
    for film in (frames, others):
        if film.dtype != np.uint8 or film.ndim != 4 or film.shape[-1] != 3:
            raise EvaluationError(
                "Pictures are compared as uint8 RGB (f, H, W, 3), "
                f"not as {film.dtype} {film.shape}."
            )
    if frames.shape != others.shape:
        raise EvaluationError(
            f"Films of {_said(frames)} and {_said(others)} cannot be compared frame by frame; "
            "bring them to one size and length."
        )


def _said(film: np.ndarray) -> str:
    return f"{len(film)} frames of {film.shape[2]}x{film.shape[1]}"

"""How an animated crop differs from the original: in colour, and where it moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 128  # movement is looked at in at most this many cells along the crop's shorter side
SMALLEST_CELL = 4  # pixels; fewer do not average the decoder's noise away
STILL, MOVED = 4.0, 14.0  # levels; below is the VAE's error, above has something moved
GAINS = (0.8, 1.25)  # a larger difference in contrast is not one of colour


@dataclass(frozen=True)
class Colours:
    """A gain and an offset for each channel, `(3, 1, 1)`."""

    gain: Tensor
    offset: Tensor

    def apply(self, image: Tensor, strength: float = 1.0) -> Tensor:
        """The image `(3, H, W)` in levels, changed by a share of it."""
        return image + strength * (image * (self.gain - 1) + self.offset)


def match_colours(image: Tensor, target: Tensor, weight: Tensor) -> Colours:
    """What gives `image` the mean and the contrast of `target`, `(3, H, W)` both, in levels.

    `weight` `(H, W)` says where they are compared; where it is 0, nothing is changed.
    """
    total = weight.sum()
    if total == 0:
        return Colours(torch.ones(3, 1, 1), torch.zeros(3, 1, 1))
    (mean, spread), (wanted, wanted_spread) = (
        _statistics(picture, weight / total) for picture in (image, target)
    )
    gain = torch.where(spread > 0, wanted_spread / spread, 1.0).clamp(*GAINS)
    return Colours(gain, wanted - gain * mean)


def movement(difference: Tensor) -> Tensor:
    """Where a face has moved, `(1, h, w)` in 0..1 on a coarse grid, from its `(3, H, W)` difference
    in levels.

    Means over cells are compared, as decoded frames lack fine texture even where nothing moves.
    """
    cell = max(SMALLEST_CELL, round(min(difference.shape[-2:]) / CELLS))
    means = F.avg_pool2d(difference[None], cell, ceil_mode=True, count_include_pad=False)
    largest = means.abs().amax(dim=1)  # (1, h, w)
    around = F.max_pool2d(largest, 5, stride=1, padding=2)
    return ((around - STILL) / (MOVED - STILL)).clamp(0, 1)


def resized(images: Tensor, size: tuple[int, int], *, mode: str = "bicubic") -> Tensor:
    """Images `(c, H, W)` at `size` (width, height), antialiased where that is smaller."""
    if images.shape[-2:] == size[::-1]:
        return images.clone()
    # Enlarging needs no antialiasing, but the code for it is twice as fast.
    return F.interpolate(images[None], size[::-1], mode=mode, antialias=True)[0]


def _statistics(picture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    mean = (picture * weight).sum(dim=(1, 2), keepdim=True)
    variance = ((picture - mean).square() * weight).sum(dim=(1, 2), keepdim=True)
    return mean, variance.sqrt()

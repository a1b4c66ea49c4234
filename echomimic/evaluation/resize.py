"""Resizing as the networks of measures were fed: three definitions of bilinear."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Resize = Literal["tf1", "bilinear", "antialias"]
RESIZES: tuple[Resize, ...] = get_args(Resize)


def resized(images: Tensor, size: tuple[int, int], how: Resize) -> Tensor:
    """(b, c, H, W) float → (b, c, *size), size being height and width.

    `tf1`: TensorFlow 1, whose pixels lie on the corners (torch-fidelity and the published FID);
    `bilinear`: torch's, pixels are squares, shrinking skips some (pytorch-fid); `antialias`: the
    same with shrinking that averages. They differ by whole levels, so FIDs do too.
    """
    if how == "tf1":
        return _along(_along(images, size[0], 2), size[1], 3)
    return F.interpolate(
        images, size, mode="bilinear", align_corners=False, antialias=how == "antialias"
    )


def _along(images: Tensor, length: int, axis: int) -> Tensor:
    """One axis as TensorFlow 1 did it: output i reads input i * scale."""
    before = images.shape[axis]
    place = torch.arange(length, dtype=torch.float32, device=images.device) * (before / length)
    low = place.long().clamp(max=before - 1)
    high = (low + 1).clamp(max=before - 1)
    share = (place - low).reshape([-1 if dim == axis else 1 for dim in range(images.ndim)])
    first, second = images.index_select(axis, low), images.index_select(axis, high)
    return first + (second - first) * share.to(images.dtype)

"""Roughly what latents look like, without decoding: one affine map from channels to colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGE = 1e-3  # of the latents' power; a picture of one colour says little


def fit_colours(latents: Tensor, pictures: Tensor) -> Tensor:
    """The map (c + 1, 3) that turns latents (n, c, h, w) into their pictures (n, 3, H, W) best.

    By least squares; colours are in -1..1.
    """
    inputs, colours = _with_one(latents), _cells(pictures, latents)
    gram = inputs.T @ inputs  # (c + 1, c + 1)
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    ridge[-1, -1] = 0  # brightness is free
    return torch.linalg.solve(gram + ridge, inputs.T @ colours)


def colours_of(latents: Tensor, colours: Tensor) -> Tensor:
    """Latents (n, c, h, w) → pictures (n, 3, h, w) in -1..1, by a map (c + 1, 3)."""
    flat = _with_one(latents) @ colours.to(latents.device)  # (n h w, 3)
    n, _, h, w = latents.shape
    return flat.reshape(n, h, w, 3).movedim(-1, 1).clamp(-1, 1)


def explained(latents: Tensor, pictures: Tensor, colours: Tensor) -> float:
    """Share of the pictures' variance that a map explains: 1 all of it, 0 or less nothing."""
    truth = _cells(pictures, latents)
    error = (_with_one(latents) @ colours - truth).square().sum()
    spread = (truth - truth.mean(dim=0)).square().sum()
    return float(1 - error / spread.clamp_min(1e-9))


def _with_one(latents: Tensor) -> Tensor:
    """(n, c, h, w) → (n h w, c + 1) float32, a constant last."""
    flat = latents.float().movedim(1, -1).flatten(0, -2)
    return torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1)


def _cells(pictures: Tensor, latents: Tensor) -> Tensor:
    """Mean colours below each latent cell, (n h w, 3)."""
    small = F.interpolate(pictures.float(), latents.shape[-2:], mode="area")
    return small.movedim(1, -1).flatten(0, -2)

"""The perceptual part of the spatial loss: LPIPS, or features of the VAE in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from .lpips import read_lpips

Perceptual = Callable[[Tensor, Tensor], Tensor]


class FeatureDistance(nn.Module):
    """Squared distance of unit-length features, averaged over space and layers (LPIPS' form).

    The features are those after each level of a VAE's encoder, which never changes here. They
    stand in for LPIPS' network where that is not at hand; figures of the two do not compare.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self._encoder = [vae.encoder]  # in a list: the VAE's parameters are not this module's

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """(b, 3, H, W) in -1..1 twice → (b,)."""
        distances = [
            (_unit(a) - _unit(b)).square().sum(dim=1).mean(dim=(1, 2))
            for a, b in zip(self._features(images), self._features(others), strict=True)
        ]
        return torch.stack(distances).mean(dim=0)

    def _features(self, images: Tensor) -> list[Tensor]:
        encoder = self._encoder[0]
        x, features = encoder.conv_in(images), []
        for block in encoder.down_blocks:
            x = block(x)
            features.append(x.float())
        return features


def make_perceptual(lpips: str, vae: AutoencoderKL) -> tuple[Perceptual, str]:
    """The distance and its name, for logs and checkpoints.

    `lpips` is a file or folder (`read_lpips`), or empty: features of the VAE stand in for it.
    """
    if lpips:
        return read_lpips(Path(lpips)), "lpips-vgg"
    return FeatureDistance(vae), "vae-features"


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()

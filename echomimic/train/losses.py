"""The paper's objective (section 3.3, eq. 2-4), per sample; v-prediction, zero terminal SNR."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..sampling.schedule import TRAIN_TIMESTEPS, alphas_cumprod

LEAST_PIXEL_WEIGHT = 0.05  # w(t) below which decoding is not worth it; such samples count as 0


def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Latents as they are at timesteps t (b,)."""
    signal, amount = _amounts(t, clean)
    return signal * clean + amount * noise


def v_target(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the denoising UNet should predict."""
    signal, amount = _amounts(t, clean)
    return signal * noise - amount * clean


def predicted_z0(noisy: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The clean latents that a prediction points at, in one step."""
    signal, amount = _amounts(t, noisy)
    return signal * noisy - amount * v


def snr_weight(t: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR + 1, gamma) / (SNR + 1), (b,): easy, little noised samples count less.

    The form of v-prediction in which the first sampling step, of zero SNR, keeps its weight.
    """
    alphas = alphas_cumprod(t.device)[t]
    snr = alphas / (1 - alphas)
    return (snr + 1).clamp(max=gamma) / (snr + 1)


def pixel_weight(t: Tensor) -> Tensor:
    """w(t) = cos(pi t / 2T), (b,): estimates from much noise say little of pixels (eq. 4)."""
    return torch.cos(math.pi * t.float() / (2 * TRAIN_TIMESTEPS))


def latent_loss(
    v: Tensor,
    target: Tensor,
    t: Tensor,
    *,
    snr_gamma: float | None = 5.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Squared error of v (b, c, h, w), weighted, (b,).

    `mask` (b, 1, h, w) says how much each place counts; it is divided by its mean, so that it
    shifts attention without changing the size of the loss.
    """
    error = (v - target).square()
    if mask is not None:
        error = error * (mask / mask.mean(dim=(1, 2, 3), keepdim=True))
    loss = error.flatten(1).mean(dim=1)
    return loss if snr_gamma is None else loss * snr_weight(t, snr_gamma)


def spatial_loss(
    decode: Callable[[Tensor], Tensor],
    z0: Tensor,
    images: Tensor,
    t: Tensor,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """w(t) * (L2 + perceptual distance) between decoded estimates and pictures, (b,).

    z0 (b, c, h, w) are scaled latents, images (b, 3, H, W) in -1..1.
    """
    weight = pixel_weight(t)
    losses = z0.new_zeros(len(z0), dtype=torch.float32)
    counted = weight >= LEAST_PIXEL_WEIGHT
    if not counted.any():
        return losses
    decoded = decode(z0[counted]).float()
    distance = (decoded - images[counted]).square().flatten(1).mean(dim=1)
    if perceptual is not None:
        distance = distance + perceptual(decoded, images[counted])
    return losses.masked_scatter(counted, (weight[counted] * distance).float())


def _amounts(t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of signal and of noise, shaped to multiply (b, ...)."""
    alphas = alphas_cumprod(t.device)[t].to(like.dtype)
    alphas = alphas.reshape(-1, *[1] * (like.ndim - 1))
    return alphas.sqrt(), (1 - alphas).sqrt()

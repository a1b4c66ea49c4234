"""Classifier-free guidance around a predictor of v."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import OptionsError

# (latents (n, f, c, h, w), t, windows, conditional) → v (n, f, c, h, w)
PredictV = Callable[[Tensor, float, list[list[int]], Sequence[bool]], Tensor]
# (latents (n, f, c, h, w), t, windows) → v (n, f, c, h, w)
Denoise = Callable[[Tensor, float, list[list[int]]], Tensor]


def guided(predict_v: PredictV, scale: float) -> Denoise:
    """Push every prediction away from the unconditional one: v_u + scale (v_c - v_u) (spec 10.5).

    One call of `predict_v` sees the unconditional rows first, then the conditional ones, with
    `windows` given for both. Scale 1 needs, and computes, conditional rows only.
    Raises `OptionsError` for a scale below 1.
    """
    if not scale >= 1:
        raise OptionsError(f"cfg must be 1 (no guidance) or more, not {scale}.")

    def conditional_only(latents: Tensor, t: float, windows: list[list[int]]) -> Tensor:
        return predict_v(latents, t, windows, [True] * len(windows)).to(latents.dtype)

    def both(latents: Tensor, t: float, windows: list[list[int]]) -> Tensor:
        n = len(windows)
        rows = torch.cat([latents, latents])  # (2n, f, c, h, w)
        v = predict_v(rows, t, windows * 2, [False] * n + [True] * n).to(latents.dtype)
        unconditional, conditional = v.chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return conditional_only if scale == 1 else both

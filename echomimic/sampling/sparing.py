"""Fewer windows at once after the memory ran out, instead of giving up."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ..config import LATENT_STRIDE
from ..errors import SamplingError
from ..models.memory import is_out_of_memory
from .guidance import Denoise

log = logging.getLogger(__name__)


def sparing(denoise: Denoise, release: Callable[[], None]) -> Denoise:
    """`denoise`, called with half as many windows whenever the memory runs out.

    Smaller calls stay smaller: what did not fit once would not fit at the next step. `release`
    gives cached memory back before the next try. Raises `SamplingError` if one window does not
    fit; errors of other kinds pass.
    """
    most: int | None = None  # windows that may go together; None: nothing has failed yet

    def run(latents: Tensor, t: float, windows: list[list[int]]) -> Tensor:
        nonlocal most
        parts, done = [], 0
        while done < len(windows):
            few = slice(done, done + (most or len(windows)))
            v = _if_it_fits(denoise, latents[few], t, windows[few])
            if v is None:
                most = _half(len(windows[few]), latents)
                release()
                continue
            parts.append(v)
            done += len(v)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return run


def _if_it_fits(
    denoise: Denoise, latents: Tensor, t: float, windows: list[list[int]]
) -> Tensor | None:
    # Leaving this function drops the error's traceback, and with it the tensors it holds.
    try:
        return denoise(latents, t, windows)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise


def _half(windows: int, latents: Tensor) -> int:
    if windows == 1:
        frames, (height, width) = (
            latents.shape[1],
            (LATENT_STRIDE * side for side in latents.shape[-2:]),
        )
        raise SamplingError(
            f"There is not enough memory to denoise one window of {frames} frames of "
            f"{width}x{height}; make the video smaller, choose fewer context_frames or bfloat16, "
            "or close other programs."
        )
    log.warning("The memory ran out; going on with %d windows at once.", windows // 2)
    return windows // 2

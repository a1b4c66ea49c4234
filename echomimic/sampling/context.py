"""Context windows: which frames are denoised together, and how much each prediction counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import OptionsError

Windows = list[list[int]]  # frame indices, window by window
WindowRule = Callable[[int], Windows]  # step → windows


def looped_windows(num_frames: int, context_frames: int, overlap: int) -> Windows:
    """The official windows at step 0: evenly spaced, the last ones wrap round (spec 10.4)."""
    if num_frames <= context_frames:
        return [list(range(num_frames))]
    starts = range(0, num_frames, context_frames - overlap)
    return [[(start + k) % num_frames for k in range(context_frames)] for start in starts]


def open_windows(num_frames: int, context_frames: int, overlap: int, offset: int = 0) -> Windows:
    """Windows that never wrap: evenly spaced from `offset`, the ends clamped to the clip's ends.

    Neighbours share at least `overlap` frames; `offset` counts modulo the spacing.
    """
    last = num_frames - context_frames
    if last <= 0:
        return [list(range(num_frames))]
    stride = context_frames - overlap
    starts = sorted({0, *range(offset % stride, last, stride), last})
    return [list(range(start, start + context_frames)) for start in starts]


def windows_in_turn(num_frames: int, context_frames: int) -> Windows:
    """Windows side by side, for models that see the frames before each; the last may be shorter."""
    starts = range(0, num_frames, context_frames)
    return [list(range(start, min(start + context_frames, num_frames))) for start in starts]


def window_rule(
    kind: str,
    num_frames: int,
    context_frames: int,
    overlap: int,
    shift: int = 0,
    *,
    rotate_single: bool = False,
) -> WindowRule:
    """The windows of every step, moved by `shift` frames from step to step.

    `kind` is "open" or "looped". A single window stays in place, unless `rotate_single` asks for
    the official rotation of a looped one (spec 12, D13). Raises `OptionsError`.
    """
    _check(num_frames, context_frames, overlap)
    if kind == "open":
        return lambda step: open_windows(num_frames, context_frames, overlap, shift * step)
    if kind != "looped":
        raise OptionsError(f"windows must be one of open, looped, not {kind!r}.")
    windows = looped_windows(num_frames, context_frames, overlap)
    if len(windows) == 1 and not rotate_single:
        shift = 0
    return lambda step: [[(f + shift * step) % num_frames for f in window] for window in windows]


def overlap_weights(kind: str, length: int) -> Tensor:
    """How much each place of a window counts where windows overlap: (f,) float32, largest 1.

    "flat" counts all alike (official), "pyramid" falls off linearly from the middle.
    """
    if kind == "flat":
        return torch.ones(length)
    if kind != "pyramid":
        raise OptionsError(f"overlap_weights must be one of flat, pyramid, not {kind!r}.")
    place = torch.arange(length)
    height = torch.minimum(place + 1, length - place)  # 1 2 3 … 3 2 1
    return height / height.max()


def check_window(context_frames: int, max_frames: int) -> None:
    """Raise `OptionsError` if the model has no position for every frame of a window."""
    if context_frames < 1:
        raise OptionsError(f"context_frames must be 1 or more, not {context_frames}.")
    if context_frames > max_frames:
        raise OptionsError(
            f"context_frames is {context_frames}, but this model's motion module knows only "
            f"{max_frames} positions; choose {max_frames} or less."
        )


def _check(num_frames: int, context_frames: int, overlap: int) -> None:
    if num_frames < 1:
        raise OptionsError(f"A clip needs at least 1 frame, not {num_frames}.")
    if context_frames < 1:
        raise OptionsError(f"context_frames must be 1 or more, not {context_frames}.")
    if not 0 <= overlap < context_frames:
        raise OptionsError(
            f"context_overlap ({overlap}) must be at least 0 and smaller than "
            f"context_frames ({context_frames})."
        )

"""From noise to a clip: windows around a denoiser, and the loop over the steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import OptionsError, SamplingError
from .context import WindowRule, windows_in_turn
from .guidance import Denoise
from .schedule import Schedule

After = Callable[[Tensor], Denoise]  # finished latents (f, c, h, w) → what denoises the next ones
Predict = Callable[[Tensor, int, float], Tensor]  # (latents (f, c, h, w), step, t) → v
OnStep = Callable[[int, Tensor, Tensor], None]  # (step, latents, clean estimate)


def windowed(
    denoise: Denoise,
    windows: WindowRule,
    *,
    weights: Tensor | None = None,
    batch: int = 1,
    divide: bool = True,
    on_window: Callable[[int], None] | None = None,
) -> Predict:
    """Predict a clip window by window, `batch` windows per call; overlaps are averaged.

    `weights` (f,) says how much each place of a window counts (None: all alike). `divide=False`
    leaves the overlaps summed, as the official code does without guidance (spec 12, D1).
    `on_window` hears after every call how many windows of this step are done.
    Raises `OptionsError` for a batch below 1 and for sums of unequal weights.
    """
    if batch < 1:
        raise OptionsError(f"window_batch must be 1 or more, not {batch}.")
    if not divide and weights is not None and bool((weights != 1).any()):
        raise OptionsError("Overlaps can only be summed with overlap_weights=flat; choose it.")

    def predict(latents: Tensor, step: int, t: float) -> Tensor:
        layout = windows(step)
        place = torch.ones(len(layout[0])) if weights is None else weights
        place = place.to(latents).view(-1, 1, 1, 1)  # (f, 1, 1, 1)
        total = torch.zeros_like(latents)  # (F, c, h, w)
        weight = latents.new_zeros(len(latents), 1, 1, 1)  # (F, 1, 1, 1)
        for first in range(0, len(layout), batch):
            part = layout[first : first + batch]
            v = denoise(torch.stack([latents[frames] for frames in part]), t, part)
            for frames, prediction in zip(part, v.to(total), strict=True):
                total[frames] += place * prediction
                weight[frames] += place
            if on_window:
                on_window(first + len(part))
        return total.div_(weight) if divide else total

    return predict


def sample(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    on_step: OnStep | None = None,
    *,
    known: Tensor | None = None,
) -> Tensor:
    """Follow `schedule` from noise (f, c, h, w) to clean latents of the same shape.

    `known` (k, c, h, w) are finished latents of the first k frames: the model sees them at each
    step with the noise of that step (the paper's motion continuity), so that the rest goes on
    from them. They come out as `faded` says. `on_step` hears, after each step, its index, the new
    latents, and the clean clip as it is foreseen at this point (for previews). Raises
    `SamplingError` at the first NaN or infinity.
    """
    latents = schedule.initial(noise)
    for step, t in enumerate(schedule.timesteps):
        if known is not None:
            start = schedule.renoised(known, noise[: len(known)], step)
            latents = torch.cat([start, latents[len(known) :]])
        inputs = schedule.model_input(latents, step)
        v = predict(inputs, step, t)
        latents = schedule.step(v, latents, step)
        if not torch.isfinite(latents).all():
            raise SamplingError(
                f"The latents became NaN or infinite at step {step + 1} of "
                f"{len(schedule.timesteps)} (t={t}); choose bfloat16 or float32 as dtype."
            )
        if on_step:
            on_step(step, latents, schedule.clean(v, inputs, step))
    return latents if known is None else faded(known, latents)


def faded(known: Tensor, latents: Tensor) -> Tensor:
    """Clean latents (f, c, h, w) whose first k frames go over from `known` (k, c, h, w).

    What the model itself makes of known frames differs a little from them, and the frames that
    follow fit its own; were the known ones kept, all of that would change in a single frame.
    """
    count = len(known)
    share = torch.arange(1, count + 1, dtype=known.dtype, device=known.device) / (count + 1)
    first = torch.lerp(known, latents[:count], share[:, None, None, None])
    return torch.cat([first, latents[count:]])


def sample_in_turn(
    after: After,
    noise: Tensor,
    schedule: Schedule,
    context_frames: int,
    *,
    on_window: Callable[[int], None] | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Follow `schedule` for one window after another, each knowing what came before it is done.

    noise (f, c, h, w) → clean latents of the same shape; windows lie side by side, the last may be
    shorter. `after` makes what denoises the frames that follow finished ones. `on_window` hears
    after every call how many windows were denoised; `on_step` is called as by `sample`, with the
    whole clip: frames whose turn has not come are noise, and zeros in the clean clip.
    """
    latents, clean, calls = noise.clone(), torch.zeros_like(noise), 0
    for frames in windows_in_turn(len(noise), context_frames):
        window = slice(frames[0], frames[-1] + 1)
        denoise = after(latents[: window.start])

        def predict(
            part: Tensor, _step: int, t: float, denoise: Denoise = denoise, frames: list = frames
        ) -> Tensor:
            nonlocal calls
            v, calls = denoise(part[None], t, [frames])[0], calls + 1
            if on_window:
                on_window(calls)
            return v

        def show(step: int, part: Tensor, foreseen: Tensor, window: slice = window) -> None:
            latents[window], clean[window] = part, foreseen
            if on_step:
                on_step(step, latents.clone(), clean.clone())

        latents[window] = sample(predict, noise[window], schedule, show)
    return latents

"""Where a clip starts: noise that depends on the seed and, by default, on nothing but the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..config import MAX_SEED, SamplingOptions
from ..errors import OptionsError


def frame_noise(seed: int, frames: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Noise of the given frames, each a function of (seed, frame index) alone.

    The same frame has the same noise in a longer clip and under any window layout (spec 12, D15).
    `shape` is (c, h, w); returns (f, c, h, w) float32 on the CPU.
    """
    _check_seed(seed)
    noise = np.empty((len(frames), math.prod(shape)), np.float32)
    for row, frame in enumerate(frames):
        noise[row] = _philox_normal(seed, frame, noise.shape[1])
    return torch.from_numpy(noise).reshape(-1, *shape)


def clip_noise(
    seed: int, num_frames: int, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """The official noise: one draw of (1, c, f, h, w) in `dtype` for the whole clip (spec 10.3).

    It changes with the clip's length and, in half precision, with the release of torch.
    Returns (f, c, h, w) in `dtype` on the CPU.
    """
    _check_seed(seed)
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn(_clip_shape(num_frames, shape), generator=generator, dtype=dtype)
    return _frames_first(noise)


def legacy_fp16_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """What `torch.randn(shape, dtype=float16)` gave up to torch 2.2 (spec 10.3), as float32.

    Numbers come in blocks of 16; where `shape` does not fill the last block, its last 16 numbers
    are drawn anew, as torch does. Torch has another algorithm for fewer than 16 numbers, which no
    clip of more than three frames of one latent cell needs: `OptionsError`.
    """
    _check_seed(seed)
    count = math.prod(shape)
    if count < 16:
        raise OptionsError(
            f"legacy_fp16_noise needs at least 16 numbers, not {count}; make the clip larger."
        )
    tail = count % 16
    # RandomState is frozen by numpy; full-range 32-bit integers are the generator's raw words.
    # Like torch.manual_seed it is seeded with 32 bits only.
    source = np.random.RandomState(seed & 0xFFFFFFFF)
    words = source.randint(0, 2**32, size=count + (16 if tail else 0), dtype=np.uint32)
    levels = (words & 2047).astype(np.uint16)  # uniforms in steps of 1/2048
    values = _half_box_muller(levels[: count - tail])
    if tail:
        values = np.concatenate([values[: count - 16], _half_box_muller(levels[count:])])
    return torch.from_numpy(values.astype(np.float32)).reshape(*shape)


def initial_noise(
    options: SamplingOptions,
    num_frames: int,
    shape: tuple[int, int, int],
    clamp: float | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    first: int = 0,
) -> Tensor:
    """The noise that `options` ask for, kept within ±`clamp`: (f, c, h, w) float32 on the CPU.

    `shape` is (c, h, w). `dtype` is the run's; only the official whole-clip draw depends on it.
    `first` is the first frame's number in a longer clip; raises `OptionsError` if it is not 0 and
    `options` want noise that is drawn for the whole clip.
    """
    if first and draws_whole_clip(options):
        raise OptionsError("Noise drawn for a whole clip cannot be drawn for a part of it.")
    if options.legacy_fp16_noise:
        noise = _frames_first(legacy_fp16_noise(options.seed, _clip_shape(num_frames, shape)))
    elif options.compatibility.clip_noise:
        noise = clip_noise(options.seed, num_frames, shape, dtype).float()
    else:
        noise = frame_noise(options.seed, range(first, first + num_frames), shape)
    return noise if clamp is None else noise.clamp(-clamp, clamp)


def draws_whole_clip(options: SamplingOptions) -> bool:
    """Whether a frame's noise depends on the clip's length, as the official code has it."""
    return options.legacy_fp16_noise or options.compatibility.clip_noise


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise OptionsError(f"seed must be between 0 and {MAX_SEED}, not {seed}.")


def _clip_shape(num_frames: int, shape: tuple[int, int, int]) -> tuple[int, ...]:
    channels, height, width = shape
    return (1, channels, num_frames, height, width)


def _frames_first(clip: Tensor) -> Tensor:
    """(1, c, f, h, w) → (f, c, h, w)"""
    return clip[0].transpose(0, 1).contiguous()


def _philox_normal(seed: int, frame: int, count: int) -> np.ndarray:
    """`count` normal numbers, float32, from the counter-based generator keyed (seed, frame).

    Built on the raw words, which numpy promises never to change, unlike its normal numbers.
    """
    key = np.array([seed, frame], dtype=np.uint64)
    half = (count + 1) // 2
    uniform = (np.random.Philox(key=key).random_raw(2 * half) >> 11) * 2.0**-53  # 0 <= u < 1
    radius = np.sqrt(-2 * np.log1p(-uniform[:half]))
    angle = 2 * np.pi * uniform[half:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return normal[:count].astype(np.float32)


def _half_box_muller(levels: np.ndarray) -> np.ndarray:
    """Uniforms in 2048ths (16 n) → normal numbers (16 n), every operation rounded to half.

    With 2048 levels, the roots, sines and cosines are tables; computing a table entry in more
    precision before each rounding makes no difference, which has been checked for all of them.
    """
    uniform = np.arange(2048) / 2048
    minus_two_log = (-2 * np.log(1 - uniform).astype(np.float16)).astype(np.float16)
    radius = np.sqrt(minus_two_log.astype(np.float64)).astype(np.float16)
    angle = (2 * np.pi * uniform).astype(np.float16).astype(np.float64)
    cos, sin = np.cos(angle).astype(np.float16), np.sin(angle).astype(np.float16)

    first, second = levels.reshape(-1, 2, 8).swapaxes(0, 1)  # (n, 8) each
    pairs = np.stack([radius[first] * cos[second], radius[first] * sin[second]], axis=1)
    return pairs.reshape(-1)  # (n, 2, 8) → (16 n)

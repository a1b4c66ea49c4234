"""Noise: reproducible, independent of the clip's length, and in parity as torch drew it."""

import math

import numpy as np
import pytest
import torch

from echomimic.config import MAX_SEED, Compatibility, SamplingOptions
from echomimic.errors import OptionsError
from echomimic.sampling.noise import clip_noise, frame_noise, initial_noise, legacy_fp16_noise

SHAPE = (4, 6, 5)  # c h w
DEFAULT = SamplingOptions(seed=3)
OFFICIAL = SamplingOptions(seed=3, compatibility=Compatibility.parity())
LEGACY = SamplingOptions(seed=3, legacy_fp16_noise=True)


def test_a_frame_has_the_same_noise_in_every_clip():
    long = initial_noise(DEFAULT, 30, SHAPE)

    torch.testing.assert_close(initial_noise(DEFAULT, 7, SHAPE), long[:7], rtol=0, atol=0)
    torch.testing.assert_close(frame_noise(3, [21, 4], SHAPE), long[[21, 4]], rtol=0, atol=0)


def test_frames_and_seeds_differ():
    draws = [frame_noise(seed, [frame], SHAPE) for seed in (0, 1, MAX_SEED) for frame in (0, 1, 9)]

    stacked = torch.stack(draws).flatten(1)
    correlation = torch.corrcoef(stacked) - torch.eye(len(draws))
    assert correlation.abs().max() < 0.5


def test_frame_noise_is_normal():
    noise = frame_noise(0, range(64), (4, 32, 32)).double()

    assert noise.mean().abs() < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs(noise.pow(4).mean() - 3) < 0.05
    assert 4 < noise.abs().max() < 7


def test_frame_noise_never_changes():
    """Clips made with a seed last week must come out the same next year."""
    noise = frame_noise(420, [5], (1, 1, 3)).flatten()

    torch.testing.assert_close(
        noise, torch.tensor([0.2064474, 1.7669096, 0.8597436]), rtol=0, atol=1e-6
    )


def test_an_odd_number_of_values_is_not_a_special_case():
    assert frame_noise(0, [0], (1, 1, 1)).shape == (1, 1, 1, 1)
    assert frame_noise(0, [0, 1], (1, 3, 5)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_parity_noise_is_one_channel_major_draw_in_the_dtype_of_the_run(dtype):
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn(1, 4, 9, 6, 5, generator=generator, dtype=dtype)  # (1, c, f, h, w)

    assert clip_noise(3, 9, SHAPE, dtype).dtype == dtype
    noise = initial_noise(OFFICIAL, 9, SHAPE, dtype=dtype)
    torch.testing.assert_close(noise, draw[0].transpose(0, 1).float(), rtol=0, atol=0)


@pytest.mark.parametrize("options", [DEFAULT, OFFICIAL, LEGACY])
def test_noise_is_float32_and_clamped_only_where_asked(options):
    free, clamped = (initial_noise(options, 20, SHAPE, clamp) for clamp in (None, 1.5))

    assert free.dtype == torch.float32
    assert free.shape == (20, *SHAPE)
    assert free.abs().max() > 1.5
    torch.testing.assert_close(clamped, free.clamp(-1.5, 1.5))


def test_legacy_noise_is_that_of_torch_2_2():
    noise = legacy_fp16_noise(420, (1, 4, 24, 64, 64))  # spec, appendix A

    first = torch.tensor([0.9907, 0.8481, -0.5488, 0.3052, -0.4436, 0.3611])
    torch.testing.assert_close(noise.flatten()[:6], first, rtol=0, atol=5e-5)
    assert round(noise.abs().max().item(), 4) == 3.9043
    assert torch.equal(noise, noise.half().float())


@pytest.mark.parametrize("count", [16, 32, 37, 63])
def test_legacy_noise_equals_the_plain_recipe_of_blocks(count):
    """Block by block, number by number, with a word per number (spec 10.3)."""
    engine = torch.Generator().manual_seed(2**32 + 7)  # torch seeds with 32 bits
    words = torch.empty(count + 16, dtype=torch.int64).random_(0, 2**24, generator=engine)
    expected = [0.0] * count
    blocks = [(start, start) for start in range(0, count - 15, 16)]
    if count % 16:
        blocks.append((count - 16, count))  # where it goes, the words it takes
    for place, source in blocks:
        u = [(int(word) & 2047) / 2048 for word in words[source : source + 16]]
        for j in range(8):
            expected[place + j], expected[place + j + 8] = _half_pair(1 - u[j], u[j + 8])

    noise = legacy_fp16_noise(2**32 + 7, (count,))

    assert noise.tolist() == expected


def _half_pair(a: float, b: float) -> tuple[float, float]:
    h = np.float16
    radius = h(math.sqrt(h(-2 * float(h(math.log(a))))))
    angle = float(h(2 * math.pi * b))
    return float(radius * h(math.cos(angle))), float(radius * h(math.sin(angle)))


@pytest.mark.parametrize("count", [16, 17, 40])
def test_torch_still_redraws_the_last_16_numbers_of_an_uneven_shape(count):
    """The layout that `legacy_fp16_noise` assumes, seen on this torch in float32."""
    draw = torch.randn(count, generator=torch.Generator().manual_seed(1))
    engine = torch.Generator().manual_seed(1)
    words = torch.empty(count + 16, dtype=torch.int64).random_(0, 2**24, generator=engine)
    u = words / 2**24
    tail = u[count:] if count % 16 else u[count - 16 : count]

    radius = (-2 * torch.log(1 - tail[:8])).sqrt()
    pair = torch.cat(
        [radius * (2 * math.pi * tail[8:]).cos(), radius * (2 * math.pi * tail[8:]).sin()]
    )

    torch.testing.assert_close(draw[-16:], pair, rtol=1e-4, atol=1e-5)


def test_legacy_noise_refuses_fewer_numbers_than_a_block():
    with pytest.raises(OptionsError, match="at least 16 numbers, not 12"):
        legacy_fp16_noise(0, (1, 4, 3, 1, 1))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: frame_noise(seed, [0], SHAPE),
        lambda seed: clip_noise(seed, 1, SHAPE),
        lambda seed: legacy_fp16_noise(seed, (1, *SHAPE)),
    ],
)
def test_a_seed_out_of_range_is_refused(draw, seed):
    with pytest.raises(OptionsError, match=f"seed must be between 0 and {MAX_SEED}, not {seed}"):
        draw(seed)

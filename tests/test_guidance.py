"""Guidance: what is asked of the model, and how the answers are combined."""

import pytest
import torch

from echomimic.errors import OptionsError
from echomimic.sampling.guidance import guided

LATENTS = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))  # (n, f, c, h, w)
WINDOWS = [[0, 1, 2], [2, 3, 4]]


def _recorder(calls, dtype=torch.float32):
    """Predicts 1 for unconditional rows and 2 for conditional ones."""

    def predict_v(latents, t, windows, conditional):
        calls.append((latents, t, windows, conditional))
        rows = torch.tensor([2.0 if row else 1.0 for row in conditional])
        return rows.view(-1, 1, 1, 1, 1).expand_as(latents).to(dtype)

    return predict_v


def test_unconditional_rows_come_first_in_one_call():
    calls = []

    guided(_recorder(calls), 2.5)(LATENTS, 999, WINDOWS)

    [(latents, t, windows, conditional)] = calls
    assert torch.equal(latents, torch.cat([LATENTS, LATENTS]))
    assert t == 999
    assert windows == WINDOWS + WINDOWS
    assert conditional == [False, False, True, True]


def test_without_guidance_only_conditional_rows_are_computed():
    calls = []

    v = guided(_recorder(calls), 1.0)(LATENTS, 7, WINDOWS)

    [(latents, _, windows, conditional)] = calls
    assert torch.equal(latents, LATENTS)
    assert windows == WINDOWS
    assert conditional == [True, True]
    assert torch.equal(v, torch.full_like(LATENTS, 2.0))


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.5, 7.0])
def test_guidance_extrapolates_from_unconditional_to_conditional(scale):
    v = guided(_recorder([]), scale)(LATENTS, 0, WINDOWS)

    torch.testing.assert_close(v, torch.full_like(LATENTS, 1 + scale))


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_half_precision_model_is_combined_in_the_precision_of_the_latents(scale):
    v = guided(_recorder([], torch.float16), scale)(LATENTS, 0, WINDOWS)

    assert v.dtype == torch.float32


@pytest.mark.parametrize("scale", [0.99, 0.0, -1.0, float("nan")])
def test_guidance_below_one_is_refused(scale):
    with pytest.raises(OptionsError, match="cfg must be 1"):
        guided(_recorder([]), scale)

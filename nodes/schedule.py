"""The noise schedule of the models in units in which nothing is infinite."""

from __future__ import annotations

import comfy.supported_models_base
from comfy.model_sampling import CONST, ModelSamplingDiscrete, reshape_sigma
from torch import Tensor

from ..echomimic.sampling.schedule import alphas_cumprod


class StraightLines(CONST, ModelSamplingDiscrete):
    """The schedule of spec 10.2, carried as (1 - s) clip + s noise.

    ComfyUI carries such models as clip + sigma noise. Where the signal is zero, as at their first
    step, sigma would be infinite; it takes 4519 there, which moves the result by up to 0.002 even
    in float64 and costs float32 half of its digits. In these units of flow models, whose samplers
    it knows as well, s is 1 there, and a step of `euler` is a step of DDIM. The network is called
    at the same timesteps with the same inputs either way.
    """

    def __init__(self, config: comfy.supported_models_base.BASE) -> None:
        super().__init__(config)
        self.set_sigmas(noise_shares(alphas_cumprod()))

    def calculate_input(self, sigma: Tensor, noise: Tensor) -> Tensor:
        """What is carried → the network's input, of variance about 1."""
        signal, amount = _amounts(sigma, noise.ndim)
        return noise * (signal + amount)

    def calculate_denoised(
        self, sigma: Tensor, model_output: Tensor, model_input: Tensor
    ) -> Tensor:
        """v, and what is carried → the clip that they point at."""
        signal, amount = _amounts(sigma, model_output.ndim)
        return signal * (signal + amount) * model_input - amount * model_output


def noise_shares(alphas: Tensor) -> Tensor:
    """Alpha bar (n,) → s, the share of noise in a sum of clip and noise, (n,) float32."""
    signal, noise = alphas.double().sqrt(), (1 - alphas.double()).sqrt()
    return (noise / (signal + noise)).float()


def _amounts(share: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
    """Amplitudes of signal and noise whose squares add up to 1; inverse of `noise_shares`."""
    share = reshape_sigma(share, ndim)
    length = ((1 - share) ** 2 + share**2) ** 0.5
    return (1 - share) / length, share / length

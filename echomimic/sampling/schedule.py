"""Timesteps, noise levels and the update of one step; v-prediction with zero terminal SNR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import OptionsError

TRAIN_TIMESTEPS = 1000
OFFICIAL = {  # spec 1.3
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
SCHEDULERS: dict[str, str] = {  # name → diffusers class; deterministic, finite from t=999 on
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}
_INFINITE = "divides by the signal that is zero at t=999 and gives NaN"
_RANDOM = "adds noise at every step, which would depend on the clip's length"
_DISTILLED = "is for models distilled to it, and adds noise at every step"
LEFT_OUT: dict[str, tuple[str, str]] = {  # name → diffusers class, why it is not offered
    "heun": ("HeunDiscreteScheduler", _INFINITE),
    "kdpm2": ("KDPM2DiscreteScheduler", _INFINITE),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", _INFINITE),
    "deis": ("DEISMultistepScheduler", _INFINITE),
    "pndm": ("PNDMScheduler", _INFINITE),
    "sa_solver": ("SASolverScheduler", _INFINITE),
    "lms": ("LMSDiscreteScheduler", "needs scipy, and starts from the infinite level of t=999"),
    "ipndm": ("IPNDMScheduler", "has noise levels of its own instead of the model's"),
    "ddpm": ("DDPMScheduler", _RANDOM),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", _RANDOM),
    "lcm": ("LCMScheduler", _DISTILLED),
    "tcd": ("TCDScheduler", _DISTILLED),
}


@cache
def alphas_cumprod(device: torch.device | None = None) -> Tensor:
    """Share of signal (alpha bar) at each of the 1000 timesteps, float32; 0 at the last."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**OFFICIAL).alphas_cumprod.to(device or "cpu")


class Schedule(Protocol):
    """What a sampler needs to know of time. `step` counts from 0 and may not be skipped."""

    @property
    def timesteps(self) -> list[int]:
        """The t that the model is told, step by step; falling."""

    def initial(self, noise: Tensor) -> Tensor:
        """Noise of variance 1 → latents before the first step; starts a new run."""

    def model_input(self, latents: Tensor, step: int) -> Tensor:
        """Latents as the model was trained to see them: variance about 1."""

    def step(self, v: Tensor, latents: Tensor, step: int) -> Tensor:
        """Latents one step closer to the clip, in the dtype of `latents`."""

    def clean(self, v: Tensor, inputs: Tensor, step: int) -> Tensor:
        """The clip that `v` points at, from the model's `inputs` at this step."""

    def renoised(self, clean: Tensor, noise: Tensor, step: int) -> Tensor:
        """Latents, as they are before this step, of a clip that is known to end in `clean`."""


@dataclass(frozen=True)
class DDIM:
    """Deterministic DDIM (spec 10.2): each step leads from one noise level to the next."""

    timesteps: list[int]
    alphas: list[float]  # share of signal (alpha bar) at each step, and after the last
    next_alphas: list[float]

    def initial(self, noise: Tensor) -> Tensor:
        return noise

    def model_input(self, latents: Tensor, step: int) -> Tensor:
        return latents

    def step(self, v: Tensor, latents: Tensor, step: int) -> Tensor:
        signal, noise = _amounts(self.alphas[step])
        next_signal, next_noise = _amounts(self.next_alphas[step])
        # next_signal * clean + next_noise * epsilon, with the terms of each tensor collected
        of_latents = next_signal * signal + next_noise * noise
        of_v = next_noise * signal - next_signal * noise
        return of_latents * latents + of_v * v.to(latents.dtype)

    def clean(self, v: Tensor, inputs: Tensor, step: int) -> Tensor:
        return _clean(v, inputs, self.alphas[step])

    def renoised(self, clean: Tensor, noise: Tensor, step: int) -> Tensor:
        signal, amount = _amounts(self.alphas[step])
        return signal * clean + amount * noise


class DiffusersSchedule:
    """One of diffusers' stateful schedulers; `initial` forgets the previous run."""

    def __init__(self, scheduler: Any, num_inference_steps: int, alphas: list[float]) -> None:
        self._scheduler = scheduler
        self._num_inference_steps = num_inference_steps
        self._reset()
        self.timesteps = [int(t) for t in scheduler.timesteps]
        self._alphas = [alphas[t] for t in self.timesteps]

    def initial(self, noise: Tensor) -> Tensor:
        self._reset()
        return noise * float(self._scheduler.init_noise_sigma)

    def model_input(self, latents: Tensor, step: int) -> Tensor:
        return self._scheduler.scale_model_input(latents, self._scheduler.timesteps[step])

    def step(self, v: Tensor, latents: Tensor, step: int) -> Tensor:
        # The result has v's dtype, and half precision would lose the latents.
        v, t = v.to(latents.dtype), self._scheduler.timesteps[step]
        return self._scheduler.step(v, t, latents, return_dict=False)[0]

    def clean(self, v: Tensor, inputs: Tensor, step: int) -> Tensor:
        return _clean(v, inputs, self._alphas[step])

    def renoised(self, clean: Tensor, noise: Tensor, step: int) -> Tensor:
        return self._scheduler.add_noise(clean, noise, self._scheduler.timesteps[step : step + 1])

    def _reset(self) -> None:
        scheduler = self._scheduler
        scheduler.set_timesteps(self._num_inference_steps)
        if scheduler.timesteps[-1] < 0:  # see `_timesteps`
            scheduler.timesteps = scheduler.timesteps[:-1]
            scheduler.sigmas = torch.cat([scheduler.sigmas[:-2], scheduler.sigmas[-1:]])


def make_schedule(
    name: str, num_inference_steps: int, *, official_previous_timestep: bool = False
) -> Schedule:
    """A fresh schedule; `name` is a key of SCHEDULERS.

    "ddim" steps to the true next timestep and ends without noise. `official_previous_timestep`
    gives it the official rule, t - 1000 // n, which leaves some noise wherever 1000 is not a
    multiple of n (spec 12, D14); the other schedulers have no such rule. Raises `OptionsError`.
    """
    import diffusers  # takes seconds, and only sampling needs it

    if not 1 <= num_inference_steps <= TRAIN_TIMESTEPS:
        raise OptionsError(
            f"steps must be between 1 and {TRAIN_TIMESTEPS}, not {num_inference_steps}."
        )
    if name not in SCHEDULERS:
        raise OptionsError(_unknown(name))
    ddim = diffusers.DDIMScheduler(**OFFICIAL, clip_sample=False)
    alphas = ddim.alphas_cumprod.tolist()
    if name != "ddim":
        scheduler = getattr(diffusers, SCHEDULERS[name])(**OFFICIAL)
        return DiffusersSchedule(scheduler, num_inference_steps, alphas)
    ddim.set_timesteps(num_inference_steps)
    timesteps = _timesteps(ddim)
    if official_previous_timestep:
        following = [t - TRAIN_TIMESTEPS // num_inference_steps for t in timesteps]
    else:
        following = [t for _, t in pairwise(timesteps)] + [-1]
    next_alphas = [alphas[t] if t >= 0 else 1.0 for t in following]
    return DDIM(timesteps, [alphas[t] for t in timesteps], next_alphas)


def _timesteps(scheduler: Any) -> list[int]:
    """Without the t=-1 that rounding appends to diffusers' list for some step counts (61, 103)."""
    return [t for t in scheduler.timesteps.tolist() if t >= 0]


def _amounts(alpha: float) -> tuple[float, float]:
    """Amplitudes of signal and noise."""
    return alpha**0.5, (1 - alpha) ** 0.5


def _clean(v: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    signal, noise = _amounts(alpha)
    return signal * inputs - noise * v.to(inputs.dtype)


def _unknown(name: str) -> str:
    names = ", ".join(SCHEDULERS)
    if name in LEFT_OUT:
        return f"The scheduler {name} {LEFT_OUT[name][1]}; choose one of {names}."
    return f"There is no scheduler {name!r}; choose one of {names}."

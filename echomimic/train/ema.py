"""Averages of weights over the last steps, which sample better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of parameters, in float32; `decay` 0 keeps none."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay, self._parameters = decay, dict(parameters)
        self.shadow: dict[str, Tensor] = {}
        if decay:
            self.shadow = {k: v.detach().float().clone() for k, v in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimiser step number `step`, counted from 1; warms up over the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self.shadow:  # all at once: a GPU would wait longer for each than it takes to average
            present = [self._parameters[name].float() for name in self.shadow]
            torch._foreach_lerp_(list(self.shadow.values()), present, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters are the averages while the context lasts."""
        kept = {name: self._parameters[name].detach().clone() for name in self.shadow}
        self._copy(self.shadow)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)

"""LoRA: pairs of small matrices beside frozen attention weights, which alone are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionsError
from .trainable import TRAINS

PAIR = ("lora_A", "lora_B")  # names of the parameters, as peft and diffusers have them
PREFIX = "diffusion_model."  # of a model's weights in ComfyUI, whose LoRA loaders look for it
NETWORKS = ("reference_unet", "denoising_unet")


@dataclass(frozen=True)
class LoRASettings:
    """Which layers get a pair, and how large it is: W + alpha / rank * B A."""

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")  # ends of names of layers
    networks: tuple[str, ...] = NETWORKS  # of those that train in a stage

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise OptionsError(
                f"rank ({self.rank}) must be 1 or more, and alpha ({self.alpha}) more than 0."
            )
        unknown = sorted(set(self.networks) - set(NETWORKS))
        if unknown or not self.networks:
            raise OptionsError(f"networks must be some of {', '.join(NETWORKS)}, not {unknown}.")


class LowRankLinear(nn.Linear):
    """A linear layer with a pair beside its weight; weight and bias keep their names."""

    def __init__(self, linear: nn.Linear, settings: LoRASettings, draw: torch.Generator) -> None:
        inputs, outputs = linear.in_features, linear.out_features
        super().__init__(inputs, outputs, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.alpha, self.scale = settings.alpha, settings.alpha / settings.rank
        down = torch.randn(settings.rank, inputs, generator=draw) / math.sqrt(inputs)
        self.lora_A = nn.Parameter(down)
        self.lora_B = nn.Parameter(torch.zeros(outputs, settings.rank))  # no change to begin with

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., outputs)."""
        change = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return super().forward(x) + self.scale * change

    def merged(self) -> Tensor:
        """The weight of a plain layer that does the same, (outputs, inputs)."""
        return self.weight.detach() + self.scale * (self.lora_B @ self.lora_A).detach()


def add_pairs(stage: str, module: nn.Module, settings: LoRASettings, seed: int) -> None:
    """Give a pair to the target layers of what would train in a stage.

    Raises `OptionsError` if there is no such layer.
    """
    draw, count = torch.Generator().manual_seed(seed), 0
    for component in (name for name in TRAINS[stage] if name in settings.networks):
        network = getattr(module, component)
        trained = TRAINS[stage][component](network)
        for name, layer in list(network.named_modules()):
            if f"{name}.weight" in trained and _is_target(name, layer, settings):
                parent, _, own = name.rpartition(".")
                pair = LowRankLinear(layer, settings, draw)
                setattr(network.get_submodule(parent), own, pair)
                count += 1
    if not count:
        raise OptionsError(
            f"No layer that trains in {stage} ends in {', '.join(settings.targets)}; correct the "
            "targets or networks of lora."
        )


def freeze_all_but_pairs(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of all pairs, by name; the others ask for no gradient. Empty without pairs."""
    if not any(isinstance(layer, LowRankLinear) for layer in module.modules()):
        return {}
    module.eval()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[2] in PAIR)
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network without pairs that does the same."""
    state = network.state_dict()
    for name, layer in _pairs(network).items():
        for part in PAIR:
            del state[f"{name}.{part}"]
        state[f"{name}.weight"] = layer.merged()
    return state


def pairs_state(network: nn.Module) -> dict[str, Tensor]:
    """The pairs alone, as ComfyUI's LoRA loaders map them onto the network; {} if it has none."""
    state: dict[str, Tensor] = {}
    for name, layer in _pairs(network).items():
        state[f"{PREFIX}{name}.lora_A.weight"] = layer.lora_A.detach()
        state[f"{PREFIX}{name}.lora_B.weight"] = layer.lora_B.detach()
        state[f"{PREFIX}{name}.alpha"] = torch.tensor(layer.alpha)
    return state


def _pairs(network: nn.Module) -> Mapping[str, LowRankLinear]:
    return {n: layer for n, layer in network.named_modules() if isinstance(layer, LowRankLinear)}


def _is_target(name: str, layer: nn.Module, settings: LoRASettings) -> bool:
    ends = tuple(f".{target}" for target in settings.targets)
    return isinstance(layer, nn.Linear) and name.endswith(ends)

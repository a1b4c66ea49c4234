"""What trains when (paper section 3.3): the table, and its application to a stage's networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..models.unet import UNet

Chooses = Callable[[nn.Module], set[str]]  # a network → names of its parameters that train


def everything(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters()}


def temporal(network: nn.Module) -> set[str]:
    """The motion modules."""
    return {name for name in everything(network) if ".motion_modules." in name}


def spatial(network: nn.Module) -> set[str]:
    """All but the motion modules."""
    return everything(network) - temporal(network)


def read(network: UNet) -> set[str]:
    """Those parameters of a reference UNet that its features depend on.

    What comes after the last feature is computed by nobody (spec 3.3). Found by asking autograd
    on a copy without data.
    """
    copy = UNet(network.config, device="meta")
    cells = 2 ** len(network.config.channels)
    latents = torch.empty(1, network.config.in_channels, cells, cells, device="meta")
    features, _ = copy.reference_features(latents)
    names, parameters = zip(*copy.named_parameters(), strict=True)
    gradients = torch.autograd.grad(
        sum(feature.sum() for feature in features.values()), parameters, allow_unused=True
    )
    return {name for name, g in zip(names, gradients, strict=True) if g is not None}


def heard(network: nn.Module) -> set[str]:
    """Those of an audio encoder that its states depend on: not the norm after the last layer."""
    return {name for name in everything(network) if not name.startswith("encoder.layer_norm.")}


def decoding(network: nn.Module) -> set[str]:
    """Those of a VAE that turn latents into pictures."""
    return {
        name for name in everything(network) if name.startswith(("decoder.", "post_quant_conv."))
    }


TRAINS: dict[str, dict[str, Chooses]] = {
    "vae": {"vae": everything},
    "decoder": {"vae": decoding},
    "audio": {"audio_encoder": heard, "head": everything},
    "stage1": {"reference_unet": read, "denoising_unet": spatial, "landmark_encoder": everything},
    "stage2": {"denoising_unet": temporal},
}


def freeze_all_but_trainable(stage: str, module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a stage's module that train, by name; the others ask for no gradient.

    Frozen networks are put into evaluation mode.
    """
    chosen: dict[str, nn.Parameter] = {}
    for component, network in module.named_children():
        names = TRAINS[stage].get(component, lambda _: set())(network)
        network.train(bool(names))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in names)
            if name in names:
                chosen[f"{component}.{name}"] = parameter
    return chosen

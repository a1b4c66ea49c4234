"""Where the ablations begin: a trained model that has forgotten what drives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from echomimic.config import variant
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.unet import UNet
from echomimic.train.export import export_networks
from echomimic.train.initial import initialise_landmark_encoder
from echomimic.train.recipe import Recipe
from echomimic.weights.files import find_models
from echomimic.weights.load import load_denoising_unet, load_landmark_encoder, load_reference_unet

HEARING = ".attn2."  # in the names of attention to the voice


def begin(start: Path, folder: Path, recipe: Recipe) -> Recipe:
    """Write where a run begins into `folder`; returns the recipe that goes on from there.

    Attention to the voice and the landmark encoder are as new, by the recipe's seed. All else is
    the trained model's, motion modules too, so that pictures are good from the first step on and a
    short schedule is enough to see how well driving is learned.

    Raises `WeightsError` if `start` is no whole model.
    """
    row, files = variant(recipe.variant), find_models([start], recipe.variant)
    denoising_unet = load_denoising_unet(files, dtype="float32")
    torch.manual_seed(recipe.seed)
    new = UNet(denoising_unet.config).state_dict()
    forgotten = {name: tensor for name, tensor in new.items() if HEARING in name}
    denoising_unet.load_state_dict(forgotten, strict=False)
    encoder = LandmarkEncoder(load_landmark_encoder(files).config)
    initialise_landmark_encoder(encoder)
    export_networks(
        folder, row, notes={"beginning": f"of {start.name}, without what drives it"},
        reference_unet=load_reference_unet(files, dtype="float32"),
        denoising_unet=denoising_unet, landmark_encoder=encoder,
    )  # fmt: skip
    temporal = recipe.stages["stage2"]
    motion = {"motion_module": str(folder / f"{row.motion_module}.safetensors")}
    temporal = replace(temporal, settings={**temporal.settings, **motion})
    return replace(
        recipe,
        model={**recipe.model, "start": str(folder)},
        stages={**recipe.stages, "stage2": temporal},
    )

"""From a recipe to the stages that the engine runs."""

from __future__ import annotations

from pathlib import Path

import torch

from ..models.vae import VAE_CONFIG, make_vae
from .clips import Dataset
from .recipe import Recipe, StageOptions, strict
from .stage import Stage
from .vae_stage import VAESettings, VAEStage


def make_stage(name: str, recipe: Recipe, data: Path, models: Path) -> Stage:
    """A stage of a recipe, on the clips of `data` and the networks that lie in `models` so far.

    Raises `OptionsError` for settings that do not exist.
    """
    options = recipe.stages[name]
    torch.manual_seed(recipe.seed)  # of new weights; samples have their own random numbers
    return _MAKERS[name](recipe, options, data, models)


def _vae(recipe: Recipe, options: StageOptions, data: Path, models: Path) -> Stage:
    clips = Dataset(data)
    return VAEStage(
        make_vae(VAE_CONFIG | recipe.model.get("vae", {})),
        clips.clips("train"),
        clips.clips("validate"),
        strict(VAESettings, options.settings, f"the settings of stage vae of {recipe.name}"),
        recipe.seed,
    )


_MAKERS = {"vae": _vae}

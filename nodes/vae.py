"""ComfyUI's VAE from the VAE file of a model set, and as the library's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.sd
import torch
from comfy.diffusers_convert import convert_vae_state_dict
from torch import Tensor

from ..echomimic.config import LATENT_SCALE, LATENT_STRIDE
from ..echomimic.errors import OptionsError, WeightsError
from ..echomimic.weights.load import load_vae
from .convert import image_from_pictures, pictures_from_image

FIXED = {"layers_per_block": 2, "norm_num_groups": 32}  # what ComfyUI's code takes for granted
LEVELS = 4
LATENT_CHANNELS = 4


def make_vae(path: Path) -> comfy.sd.VAE:
    """A stock VAE of the widths that the file has; the stock VAELoader takes full-size ones only.

    Raises `WeightsError` for a file that is no VAE, or one that ComfyUI cannot build.
    """
    model = load_vae(path, dtype=torch.float32).model  # has checked every tensor
    widths = model.config.block_out_channels
    if len(widths) != LEVELS or any(model.config[name] != n for name, n in FIXED.items()):
        raise WeightsError(
            f"{path} is a VAE that ComfyUI cannot build: it must have {LEVELS} levels, "
            f"{FIXED['layers_per_block']} layers and {FIXED['norm_num_groups']} groups."
        )
    state = convert_vae_state_dict(model.state_dict())
    return comfy.sd.VAE(sd=state, config={"params": _autoencoder_arguments(widths)})


def _autoencoder_arguments(widths: list[int]) -> dict[str, Any]:
    """What ComfyUI's AutoencoderKL wants to know."""
    config = {
        "double_z": True,
        "z_channels": LATENT_CHANNELS,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": FIXED["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"ddconfig": config, "embed_dim": LATENT_CHANNELS}


class ComfyVAE:
    """`echomimic.models.vae.VAE` on top of ComfyUI's VAE, which loads and casts itself.

    Raises `OptionsError` for the VAE of another family.
    """

    def __init__(self, vae: comfy.sd.VAE) -> None:
        if (vae.latent_channels, vae.latent_dim) != (LATENT_CHANNELS, 2):
            raise OptionsError(
                "The VAE is of another model family; connect that of EchoMimic Model Loader, "
                "or one of Stable Diffusion 1."
            )
        self.vae = vae

    @property
    def device(self) -> torch.device:
        return self.vae.device

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) in -1..1 → scaled latents (n, c, h, w)."""
        return self.vae.encode(image_from_pictures(images)) * LATENT_SCALE

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (n, c, h, w) → (n, 3, H, W) in -1..1."""
        return pictures_from_image(self.vae.decode(latents / LATENT_SCALE))

    def frame_bytes(self, height: int, width: int) -> int:
        shape = (1, LATENT_CHANNELS, height // LATENT_STRIDE, width // LATENT_STRIDE)
        return int(self.vae.memory_used_decode(shape, self.vae.vae_dtype))

"""ComfyUI's VAE from the VAE file of a model set, and as the library's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.sd
import torch
from comfy.diffusers_convert import convert_vae_state_dict
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..echomimic.config import LATENT_SCALE, LATENT_STRIDE
from ..echomimic.errors import OptionsError, WeightsError
from ..echomimic.models.vae import VAE_CONFIG
from ..echomimic.models.vae import make_vae as diffusers_vae
from ..echomimic.weights.load import load_vae
from .convert import image_from_pictures, pictures_from_image

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

FIXED = {"layers_per_block": 2, "norm_num_groups": 32}  # what ComfyUI's code takes for granted
LEVELS = 4
LATENT_CHANNELS = 4
SMALLEST = 32  # width of a VAE that ComfyUI can build


def make_vae(path: Path) -> comfy.sd.VAE:
    """A stock VAE of the shape that the file has; the stock VAELoader takes full-size ones only.

    Raises `WeightsError` for a file that is no VAE, or one of another compression.
    """
    model = load_vae(path, dtype=torch.float32).model  # has checked every tensor
    widths = model.config.block_out_channels
    if len(widths) != LEVELS or model.config.latent_channels != LATENT_CHANNELS:
        raise WeightsError(
            f"{path} is not a VAE of this family: it must have {LEVELS} levels and "
            f"{LATENT_CHANNELS} latent channels."
        )
    if all(model.config[name] == n for name, n in FIXED.items()):
        return _stock(model)
    vae = _stock(diffusers_vae(VAE_CONFIG | {"block_out_channels": [SMALLEST] * LEVELS}))
    vae.first_stage_model = FirstStage(model).to(vae.vae_dtype)
    vae.patcher = ModelPatcher(
        vae.first_stage_model, vae.patcher.load_device, vae.patcher.offload_device
    )
    return vae


def _stock(model: AutoencoderKL) -> comfy.sd.VAE:
    state = convert_vae_state_dict(model.state_dict())
    widths = model.config.block_out_channels
    return comfy.sd.VAE(sd=state, config={"params": _autoencoder_arguments(widths)})


class FirstStage(nn.Module):
    """A VAE of a shape that ComfyUI's own code cannot build, as it wants to call it."""

    def __init__(self, model: AutoencoderKL) -> None:
        super().__init__()
        self.model = model

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) in -1..1 → (n, c, h, w), the posterior's mean."""
        return self.model.encode(images).latent_dist.mean

    def decode(self, latents: Tensor) -> Tensor:
        """(n, c, h, w) → (n, 3, H, W) in -1..1."""
        return self.model.decode(latents).sample


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

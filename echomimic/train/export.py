"""Trained networks as model files: the official names, the configuration in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..audio.whisper import AudioEncoder
from ..config import Variant
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..weights.read import shapes
from ..weights.settings import make_metadata
from ..weights.write import write_safetensors
from .lora import merged_state, pairs_state

VAE = "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"
AUDIO_ENCODER = "audio_processor/whisper_tiny.safetensors"
MOTION = ".motion_modules."
LORAS = "loras"  # folder of pairs, beside the model files


def export_vae(vae: AutoencoderKL, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write the VAE as diffusers names it."""
    config = {k: v for k, v in vae.config.items() if not k.startswith("_")}
    return _write(folder / VAE, vae.state_dict(), make_metadata("vae", None, config), dtype)


def export_audio_encoder(
    encoder: AudioEncoder, folder: Path, dtype: torch.dtype = torch.float32
) -> Path:
    """Write the audio encoder as transformers names it."""
    metadata = make_metadata("audio_encoder", None, encoder.config)
    return _write(folder / AUDIO_ENCODER, encoder.state_dict(), metadata, dtype)


def export_networks(
    folder: Path,
    variant: Variant,
    *,
    reference_unet: UNet,
    denoising_unet: UNet,
    landmark_encoder: LandmarkEncoder,
    notes: Mapping[str, Any],
    notes_of: Mapping[str, Mapping[str, Any]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[Path]:
    """Write the networks of the paper's stages; `notes` say how they were trained, `notes_of` how
    components were that have a history of their own.

    LoRA's pairs are merged into the weights beside them.

    Motion modules get a file of their own, as published; without any, there is none.
    """
    state = merged_state(denoising_unet)
    motion = {name: tensor for name, tensor in state.items() if MOTION in name}
    spatial = {name: tensor for name, tensor in state.items() if MOTION not in name}

    def write(component: str, name: str, state: Mapping[str, Tensor], config: Any) -> Path:
        training = dict((notes_of or {}).get(component, notes))
        metadata = make_metadata(component, variant.name, config, training=training)
        return _write(folder / f"{name}.safetensors", state, metadata, dtype)

    written = [
        write("reference_unet", variant.reference_unet, merged_state(reference_unet),
              reference_unet.config),
        write("denoising_unet", variant.denoising_unet, spatial, denoising_unet.config),
        write("landmark_encoder", variant.landmark_encoder, landmark_encoder.state_dict(),
              landmark_encoder.config),
    ]  # fmt: skip
    if motion:
        written.append(write("motion_module", variant.motion_module, motion, denoising_unet.config))
    return written


def export_pairs(
    folder: Path, variant: Variant, notes: Mapping[str, Any], networks: Mapping[str, nn.Module]
) -> list[Path]:
    """Write the LoRA pairs of each network that has some to `loras/<its name>_lora.safetensors`."""
    written = []
    for name, network in networks.items():
        if pairs := pairs_state(network):
            path = folder / LORAS / f"{name}_lora.safetensors"
            metadata = make_metadata("lora", variant.name, notes["lora"], training=dict(notes))
            written.append(_write(path, pairs, metadata, torch.float32))
    return written


def _write(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype
) -> Path:
    write_safetensors(path, shapes(state), state.__getitem__, dtype=dtype, metadata=metadata)
    return path

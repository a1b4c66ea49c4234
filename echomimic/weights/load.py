"""Fill the networks from their files; every tensor must find its place (spec 1.5, D18, D33)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..audio.whisper import AudioEncoder
from ..errors import OptionsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..models.vae import DiffusersVAE
from .files import ModelFiles
from .networks import (
    Network,
    read_audio_encoder,
    read_denoising_unet,
    read_landmark_encoder,
    read_reference_unet,
    read_vae,
)

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

DType = torch.dtype | str | None


def default_dtype(device: torch.device | str) -> torch.dtype:
    """Half precision on accelerators, as published; CPUs compute it slowly or not at all."""
    return torch.float16 if torch.device(device).type in ("cuda", "mps", "xpu") else torch.float32


def choose_dtype(dtype: DType, device: torch.device | str) -> torch.dtype:
    """A dtype from its name, or the device's default for None; raises `OptionsError`."""
    if dtype is None:
        return default_dtype(device)
    dtype = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype
    if dtype not in DTYPES.values():
        raise OptionsError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype}.")
    return dtype


def load_denoising_unet(
    files: ModelFiles,
    *,
    dtype: DType = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
) -> UNet:
    """The denoising UNet with its motion modules. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    network = read_denoising_unet(files, operations=operations, dtype=dtype)
    if network.random and torch.device(device).type != "meta":
        log.warning("%s holds random weights: the video will show noise.", files.denoising_unet)
    return fill(network, dtype=dtype, device=device)


def load_reference_unet(
    files: ModelFiles,
    *,
    dtype: DType = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
) -> UNet:
    """The reference UNet, from its file alone. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    network = read_reference_unet(files, operations=operations, dtype=dtype)
    return fill(network, dtype=dtype, device=device)


def load_landmark_encoder(
    files: ModelFiles,
    *,
    dtype: DType = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
) -> LandmarkEncoder:
    """The landmark encoder for the variant's kind of image. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    network = read_landmark_encoder(files, operations=operations, dtype=dtype)
    return fill(network, dtype=dtype, device=device)


def load_audio_encoder(
    files: ModelFiles | Path, *, dtype: DType = None, device: torch.device | str = "cpu"
) -> AudioEncoder:
    """The audio encoder, in OpenAI's or transformers' layout. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    path = files.audio_encoder if isinstance(files, ModelFiles) else Path(files)
    return fill(read_audio_encoder(path, dtype=dtype), dtype=dtype, device=device)


def load_vae(
    files: ModelFiles | Path, *, dtype: DType = None, device: torch.device | str = "cpu"
) -> DiffusersVAE:
    """The VAE, in diffusers' layout (old or new) or that of single files. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    path = files.vae if isinstance(files, ModelFiles) else Path(files)
    return DiffusersVAE(fill(read_vae(path), dtype=dtype, device=device))


def fill(network: Network, *, dtype: torch.dtype, device: torch.device | str) -> Any:
    """The network's model, built on the meta device, with its weights.

    Tensors that need no cast stay mapped from their file: nothing is read before it is used.
    """
    cast = {name: tensor.to(device, dtype) for name, tensor in network.state.items()}
    network.model.load_state_dict(cast, assign=True)
    return network.model.eval().requires_grad_(False)


LOADERS = {
    "denoising_unet": load_denoising_unet,
    "reference_unet": load_reference_unet,
    "landmark_encoder": load_landmark_encoder,
    "audio_encoder": load_audio_encoder,
    "vae": load_vae,
}

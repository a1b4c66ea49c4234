"""Names and shapes of the tensors in the official files (spec 1.1, 2.7, 3.2, 5.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..config import AudioEncoderConfig, LandmarkEncoderConfig, UNetConfig
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..models.vae import make_vae
from .read import shapes

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TextDecoder:
    """Shape of Whisper's text decoder, which is in the file but never used."""

    vocabulary: int = 51_865
    context: int = 448
    num_layers: int = 4


def unet_shapes(config: UNetConfig) -> Shapes:
    """Names and shapes of a UNet's tensors."""
    return shapes(UNet(config, device="meta").state_dict())


def landmark_shapes(config: LandmarkEncoderConfig) -> Shapes:
    """Names and shapes of a landmark encoder's tensors."""
    return shapes(LandmarkEncoder(config, device="meta").state_dict())


def vae_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes of a VAE's tensors, in diffusers' layout."""
    with torch.device("meta"):
        return shapes(make_vae(dict(config)).state_dict())


def whisper_shapes(audio: AudioEncoderConfig, text: TextDecoder) -> Shapes:
    """Names and shapes of a Whisper checkpoint in OpenAI's layout (spec 5.4)."""
    width = audio.width
    encoder = {
        "positional_embedding": (audio.max_states, width),
        "conv1.weight": (width, audio.num_mels, 3),
        "conv1.bias": (width,),
        "conv2.weight": (width, width, 3),
        "conv2.bias": (width,),
        **_whisper_blocks(audio.num_layers, width, ("attn",)),
        **_gain("ln_post", width),
    }
    decoder = {
        "positional_embedding": (text.context, width),
        "token_embedding.weight": (text.vocabulary, width),
        **_whisper_blocks(text.num_layers, width, ("attn", "cross_attn")),
        **_gain("ln", width),
    }
    parts = {"encoder": encoder, "decoder": decoder}
    return {
        f"{part}.{name}": shape for part, names in parts.items() for name, shape in names.items()
    }


def _whisper_blocks(num_layers: int, width: int, attentions: Sequence[str]) -> Shapes:
    block: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        for name in ("query", "key", "value", "out"):
            block |= _linear(f"{attention}.{name}", width, width)
        del block[f"{attention}.key.bias"]
        block |= _gain(f"{attention}_ln", width)
    block |= _linear("mlp.0", 4 * width, width) | _linear("mlp.2", width, 4 * width)
    block |= _gain("mlp_ln", width)
    blocks: dict[str, tuple[int, ...]] = {}
    for index in range(num_layers):
        blocks |= _prefixed(f"blocks.{index}", block)
    return blocks


def _prefixed(prefix: str, names: Shapes) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}": shape for name, shape in names.items()}


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _gain(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

"""Pictures ↔ latents: a small protocol, diffusers' AutoencoderKL behind it, decoding in chunks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ..config import LATENT_SCALE, LATENT_STRIDE
from ..errors import OptionsError, SamplingError
from .memory import free_memory, is_out_of_memory, release_cached_memory

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

VAE_CONFIG: dict[str, Any] = {  # sd-vae-ft-mse
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 256,
}
MAX_CHUNK = 8  # frames per decoder call; more is not faster (spec 12.2, E7)
CPU_BUDGET = 512 * 1024**2  # bytes per decoder call on a CPU, which gains nothing from long chunks
MEMORY_SHARE = 0.5  # of the free memory; the rest is left to the encoder and to other programs
MAX_LAYERS = 16  # per level
LIVE_LAYERS = 8  # full-size layers of the second width that a decoder call keeps at its peak


class VAE(Protocol):
    """What the rest of the library needs of a VAE."""

    @property
    def device(self) -> torch.device:
        """Where the decoder works; its free memory decides how many frames go at once."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) in -1..1 → scaled latents (n, c, h, w), the posterior's mean."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (n, c, h, w) → (n, 3, H, W), about -1..1."""
        ...

    def frame_bytes(self, height: int, width: int) -> int:
        """Estimate of the memory that decoding one frame of that many pixels takes."""
        ...


class DiffusersVAE:
    """`VAE` on top of a diffusers `AutoencoderKL`, which the caller casts and moves."""

    def __init__(self, model: AutoencoderKL) -> None:
        self.model = model.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) in -1..1 → (n, c, h, w), mean of the posterior times 0.18215 (spec 7)."""
        posterior = self.model.encode(images.to(self.device, self.dtype)).latent_dist
        return posterior.mean * LATENT_SCALE

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(n, c, h, w) → (n, 3, H, W), about -1..1 (spec 10.7)."""
        latents = latents.to(self.device, self.dtype) / LATENT_SCALE
        return self.model.decode(latents).sample

    def frame_bytes(self, height: int, width: int) -> int:
        widths = self.model.config.block_out_channels
        full_size = max(widths[:2])  # the last level starts with the width of the one before
        return LIVE_LAYERS * full_size * height * width * self.dtype.itemsize


def make_vae(config: dict[str, Any] | None = None) -> AutoencoderKL:
    """An `AutoencoderKL` without its weights; `config` is a diffusers config.json's content."""
    from diffusers import AutoencoderKL  # absent from ComfyUI, which brings a VAE of its own

    config = VAE_CONFIG if config is None else config
    layers = config.get("layers_per_block", 1)
    if not 1 <= layers <= MAX_LAYERS:  # building them would not end
        raise OptionsError(f"layers_per_block must be 1 to {MAX_LAYERS}, not {layers}.")
    return AutoencoderKL(**{k: v for k, v in config.items() if not k.startswith("_")})


def rename_deprecated_attention(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Current names for the attention of files made before diffusers 0.18 (spec 1.5).

    Weights stored as 1x1 convolutions, (c, c, 1, 1), become the (c, c) of linear layers.
    """
    return {_rename(k, _DEPRECATED): _linear(k, v) for k, v in state.items()}


def rename_single_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' names for a VAE in the layout of single-file checkpoints, such as
    `vae-ft-mse-840000`; a state that is in diffusers' layout already is returned as it is."""
    numbers = [int(m[1]) for key in state if (m := re.match(r"decoder\.up\.(\d{1,3})\.", key))]
    if not numbers:
        return state
    levels = 1 + max(numbers)
    names = {key: _rename(_reverse_level(key, levels), _SINGLE_FILE) for key in state}
    return {name: _linear(name, state[key]) for key, name in names.items()}


def decode_chunk(vae: VAE, height: int, width: int) -> int:
    """Frames of height x width pixels that the VAE's device can decode at once, 1 to 8."""
    usable = MEMORY_SHARE * free_memory(vae.device)
    if vae.device.type == "cpu":
        usable = min(usable, CPU_BUDGET)
    return int(min(MAX_CHUNK, max(1, usable // vae.frame_bytes(height, width))))


def decode_frames(
    vae: VAE,
    latents: Tensor,
    *,
    chunk: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Tensor]:
    """Decode (f, c, h, w) a few frames at a time: yields (n, 3, H, W), float32 on the CPU.

    `chunk` frames go at once (None: as many as fit), fewer after the memory ran out. Only one
    chunk exists at a time. Raises `OptionsError` if a single frame does not fit and
    `SamplingError` if the decoder's numbers overflow.
    """
    height, width = (LATENT_STRIDE * side for side in latents.shape[-2:])
    chunk = chunk or decode_chunk(vae, height, width)
    done = 0
    while done < len(latents):
        images = _decode_if_it_fits(vae, latents[done : done + chunk])
        if images is None:
            chunk = _smaller(chunk, len(latents) - done, f"{width}x{height}")
            release_cached_memory(vae.device)
            continue
        done += len(images)
        if on_progress is not None:
            on_progress(done, len(latents))
        yield images


def _decode_if_it_fits(vae: VAE, latents: Tensor) -> Tensor | None:
    # Leaving this function drops the error's traceback, and with it the tensors it holds.
    try:
        images = vae.decode(latents).to("cpu", torch.float32)  # (n, 3, H, W)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise
    if not images.isfinite().all():
        raise SamplingError("The VAE produced NaN or infinite pixels; choose float32 for the VAE.")
    return images


def _smaller(chunk: int, remaining: int, size: str) -> int:
    chunk = min(chunk, remaining)
    if chunk == 1:
        raise OptionsError(
            f"There is not enough memory to decode a single frame of {size}; "
            "make the video smaller or close other programs."
        )
    return chunk // 2


_DEPRECATED = (
    (r"(attentions\.\d+)\.query\.", r"\1.to_q."),
    (r"(attentions\.\d+)\.key\.", r"\1.to_k."),
    (r"(attentions\.\d+)\.value\.", r"\1.to_v."),
    (r"(attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
)
_SINGLE_FILE = (
    (r"\.(down|up)\.(\d+)\.block\.", r".\1_blocks.\2.resnets."),
    (r"\.(down|up)\.(\d+)\.(down|up)sample\.", r".\1_blocks.\2.\3samplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


def _rename(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _reverse_level(key: str, levels: int) -> str:
    # Single files count the decoder's levels from the picture, diffusers from the latents.
    return re.sub(r"^decoder\.up\.(\d+)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}", key)


def _linear(name: str, weight: Tensor) -> Tensor:
    is_attention = ".attentions." in name and weight.shape[2:] == (1, 1)
    return weight[:, :, 0, 0] if is_attention else weight

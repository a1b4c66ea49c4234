"""Random weights in the official names and layout, for tests, benchmarks and first tries."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..config import (
    PUBLISHED,
    AudioEncoderConfig,
    LandmarkEncoderConfig,
    UNetConfig,
    Variant,
    variant,
)
from ..errors import OptionsError, WeightsError
from ..models.motion_module import position_table
from ..models.vae import VAE_CONFIG
from .load import DType, choose_dtype
from .networks import POSITION_TABLE
from .official import (
    Shapes,
    TextDecoder,
    landmark_shapes,
    unet_shapes,
    vae_shapes,
    whisper_shapes,
)
from .settings import CONFIG_FILE, FORMAT, make_metadata
from .write import write_pickle, write_safetensors, write_text

AUDIO_ENCODER = "audio_processor/whisper_tiny.pt"
VAE = "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"
NOTICE = "RANDOM_WEIGHTS.txt"
NOTICE_TEXT = """\
The model files in this folder hold random numbers, made by `echomimic models make-random`.
They have the official names and layout, for tests and benchmarks. A video made with them shows
noise. Get the published weights with `echomimic models download`.
"""


@dataclass(frozen=True)
class ModelSet:
    """The shapes of all networks of a set of files."""

    unet: UNetConfig
    landmark_encoder: LandmarkEncoderConfig
    audio_encoder: AudioEncoderConfig
    text_decoder: TextDecoder
    vae: dict[str, Any]


FULL = ModelSet(
    UNetConfig(), LandmarkEncoderConfig(), AudioEncoderConfig(), TextDecoder(), VAE_CONFIG
)
TINY = ModelSet(
    UNetConfig(channels=(32, 64, 64, 64), audio_dim=64),
    LandmarkEncoderConfig(out_channels=32),
    AudioEncoderConfig(width=64, num_heads=4, num_layers=2),
    TextDecoder(vocabulary=64, context=16, num_layers=1),
    VAE_CONFIG | {"block_out_channels": [32, 32, 64, 64], "sample_size": 64},
)
SIZES = {"tiny": TINY, "full": FULL}


def make_random(
    folder: Path,
    size: Literal["tiny", "full"] = "tiny",
    variants: Sequence[str] | None = None,
    dtype: DType = "float16",
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write every file of the chosen variants (None: of all), with random weights (spec 1.1).

    One file is in memory at a time. The same seed gives the same tensors, whatever else is
    written. Raises `OptionsError` for an unknown size or variant, `WeightsError` when a file
    cannot be written or would replace one that is not known to be random.
    """
    if size not in SIZES:
        raise OptionsError(f"size must be one of {', '.join(SIZES)}, not {size!r}.")
    models, folder = SIZES[size], Path(folder)
    rows = [variant(name) for name in variants or PUBLISHED]
    dtype = choose_dtype(dtype, "cpu")
    plan = _networks(models, rows)
    _spare_real_weights(folder, [*plan, CONFIG_FILE, AUDIO_ENCODER, VAE])
    write_text(folder / NOTICE, NOTICE_TEXT)
    write_text(folder / CONFIG_FILE, json.dumps(_settings(models), indent=2))
    written = []
    for path, expected in plan.items():
        write_pickle(folder / path, random_state(expected, f"{seed}/{path}", dtype))
        written.append(folder / path)
        if on_progress is not None:
            on_progress(len(written), len(plan) + 2)
    for write in (_write_audio_encoder, _write_vae):
        written.append(write(folder, models, seed, dtype))
        if on_progress is not None:
            on_progress(len(written), len(plan) + 2)
    return written


def _spare_real_weights(folder: Path, names: Sequence[str]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there and not (folder / NOTICE).exists():
        raise WeightsError(
            f"{folder / there[0]} is there already and may be a real model file; "
            "choose an empty folder for random weights."
        )


def random_state(expected: Shapes, seed: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """A tensor for every name, scaled so that activations keep their size."""
    return {name: random_tensor(name, shape, seed).to(dtype) for name, shape in expected.items()}


def random_tensor(name: str, shape: tuple[int, ...], seed: str) -> Tensor:
    """Weights by fan-in, gains near 1, small biases; position tables follow their formula."""
    if name.endswith(POSITION_TABLE):
        return position_table(*shape[1:])
    if name == "encoder.positional_embedding":
        return sinusoids(*shape)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
    values = torch.randn(shape, generator=generator)
    if len(shape) >= 2:
        return values / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * values if name.endswith("weight") else 0.05 * values


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's position table (length, width): sines, then cosines (spec 5.4)."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half))
    angle = torch.arange(length)[:, None] * rates  # (length, width / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _networks(models: ModelSet, rows: Sequence[Variant]) -> dict[str, Shapes]:
    """File name → names and shapes, of the variants' own files."""
    denoising = unet_shapes(models.unet)
    reference = unet_shapes(models.unet.as_reference())
    motion = {name: shape for name, shape in denoising.items() if ".motion_modules." in name}
    spatial = {name: shape for name, shape in denoising.items() if name not in motion}
    plan: dict[str, Shapes] = {}
    for row in rows:
        landmark = replace(models.landmark_encoder, in_channels=row.landmark_channels)
        plan |= {
            f"{row.denoising_unet}.pth": spatial,
            f"{row.motion_module}.pth": motion,
            f"{row.reference_unet}.pth": reference,
            f"{row.landmark_encoder}.pth": landmark_shapes(landmark),
        }
    return plan


def _write_audio_encoder(folder: Path, models: ModelSet, seed: int, dtype: torch.dtype) -> Path:
    path, audio, text = AUDIO_ENCODER, models.audio_encoder, models.text_decoder
    dims = {
        "n_mels": audio.num_mels,
        "n_vocab": text.vocabulary,
        "n_audio_ctx": audio.max_states,
        "n_audio_state": audio.width,
        "n_audio_head": audio.num_heads,
        "n_audio_layer": audio.num_layers,
        "n_text_ctx": text.context,
        "n_text_state": audio.width,
        "n_text_head": audio.num_heads,
        "n_text_layer": text.num_layers,
    }
    state = random_state(whisper_shapes(audio, text), f"{seed}/{path}", dtype)
    write_pickle(folder / path, {"dims": dims, "model_state_dict": state})
    return folder / path


def _write_vae(folder: Path, models: ModelSet, seed: int, dtype: torch.dtype) -> Path:
    path = folder / VAE
    config = {"_class_name": "AutoencoderKL", **models.vae}
    write_text(path.parent / CONFIG_FILE, json.dumps(config, indent=2))
    write_safetensors(
        path,
        expected := vae_shapes(models.vae),
        lambda name: random_tensor(name, expected[name], f"{seed}/vae"),
        dtype=dtype,
        metadata=make_metadata("vae", None, models.vae, random=True),
    )
    return path


def _settings(models: ModelSet) -> dict[str, Any]:
    landmark = asdict(models.landmark_encoder)
    del landmark["in_channels"]  # the variant's
    return {
        "format": FORMAT,
        "random": True,
        "unet": models.unet.to_dict(),
        "landmark_encoder": landmark,
        "audio_encoder": asdict(models.audio_encoder),
        "vae": models.vae,
    }

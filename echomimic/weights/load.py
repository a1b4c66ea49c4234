"""Fill the networks from their files; every tensor must find its place (spec 1.5, D18, D33)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..audio.whisper import AudioEncoder, config_from_state, encoder_state
from ..config import AudioEncoderConfig, variant
from ..errors import OptionsError, WeightsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.motion_module import position_table
from ..models.unet import UNet
from ..models.vae import (
    DiffusersVAE,
    make_vae,
    rename_deprecated_attention,
    rename_single_file,
)
from .files import ModelFiles
from .identify import describe
from .read import read_state, shapes
from .settings import (
    audio_config,
    explained_settings,
    file_note,
    folder_settings,
    landmark_config,
    unet_config,
    vae_config,
)

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
POSITION_TABLE = ".pos_encoder.pe"  # end of the names that need not be in a file
FIRST = 3  # keys that an error names of each kind

DType = torch.dtype | str | None
Module = TypeVar("Module", bound=nn.Module)


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
    state, metadata = merged_state(files.denoising_unet, files.motion_module)
    config = unet_config(files.denoising_unet, metadata, "denoising_unet")
    _check_variant(files, metadata, "denoising_unet")
    is_check = torch.device(device).type == "meta"
    if not is_check and is_random(files.denoising_unet, metadata, "denoising_unet"):
        log.warning("%s holds random weights: the video will show noise.", files.denoising_unet)
    with explained_settings(files.denoising_unet):
        model = UNet(config, operations=operations, device="meta", dtype=dtype)
    names = [files.denoising_unet] + ([files.motion_module] if files.motion_module else [])
    return fill(model, with_position_tables(state, model), names, dtype=dtype, device=device)


def load_reference_unet(
    files: ModelFiles,
    *,
    dtype: DType = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
) -> UNet:
    """The reference UNet, from its file alone. Raises `WeightsError`."""
    dtype, path = choose_dtype(dtype, device), files.reference_unet
    state, metadata = read_state(path)
    config = unet_config(path, metadata, "reference_unet")
    with explained_settings(path):
        model = UNet(config, operations=operations, device="meta", dtype=dtype)
    return fill(model, state, [path], dtype=dtype, device=device)


def load_landmark_encoder(
    files: ModelFiles,
    *,
    dtype: DType = None,
    device: torch.device | str = "cpu",
    operations: Any = nn,
) -> LandmarkEncoder:
    """The landmark encoder for the variant's kind of image. Raises `WeightsError`."""
    dtype, path = choose_dtype(dtype, device), files.landmark_encoder
    state, metadata = read_state(path)
    config = landmark_config(path, metadata, variant(files.variant).landmark_channels)
    with explained_settings(path):
        model = LandmarkEncoder(config, operations=operations, device="meta", dtype=dtype)
    return fill(model, state, [path], dtype=dtype, device=device)


def load_audio_encoder(
    files: ModelFiles | Path, *, dtype: DType = None, device: torch.device | str = "cpu"
) -> AudioEncoder:
    """The audio encoder, in OpenAI's or transformers' layout. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    path = files.audio_encoder if isinstance(files, ModelFiles) else Path(files)
    if path is None:
        raise WeightsError(
            "There is no audio encoder beside the models; put whisper_tiny.pt there."
        )
    state, metadata = read_state(path)
    config = None if "dims" in metadata else audio_config(path, metadata)
    config = config or _described_audio(path, state, metadata)  # OpenAI's file describes itself
    with explained_settings(path):
        model = AudioEncoder(config, device="meta", dtype=dtype)
    return fill(model, encoder_state(state), [path], dtype=dtype, device=device)


def load_vae(
    files: ModelFiles | Path, *, dtype: DType = None, device: torch.device | str = "cpu"
) -> DiffusersVAE:
    """The VAE, in diffusers' layout (old or new) or that of single files. Raises `WeightsError`."""
    dtype = choose_dtype(dtype, device)
    path = files.vae if isinstance(files, ModelFiles) else Path(files)
    state, metadata = read_state(path)
    with explained_settings(path), torch.device("meta"):
        model = make_vae(vae_config(path, metadata))
    state = rename_deprecated_attention(rename_single_file(vae_part(state)))
    return DiffusersVAE(fill(model, state, [path], dtype=dtype, device=device))


def merged_state(
    denoising_unet: Path, motion_module: Path | None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Denoising UNet over motion module, the official order of precedence (spec 1.5), and the
    metadata of the former. Raises `WeightsError`."""
    state, metadata = read_state(denoising_unet)
    if motion_module is None:
        return state, metadata
    motion, _ = read_state(motion_module)
    if not any(".motion_modules." in name for name in motion):
        raise WeightsError(
            f"{motion_module} is not a motion module{_looks_like(motion)}; "
            "put the right file in its place."
        )
    return motion | state, metadata


def with_position_tables(state: Mapping[str, Tensor], model: UNet) -> dict[str, Tensor]:
    """Adds the position tables a file may lack; they follow from a formula (spec 2.6)."""
    tables = {
        name: position_table(*buffer.shape[1:])
        for name, buffer in model.named_buffers()
        if name.endswith(POSITION_TABLE) and name not in state
    }
    return {**state, **tables}


def vae_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE of a whole Stable Diffusion checkpoint, or the state itself."""
    prefix = "first_stage_model."
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return part or {k: v for k, v in state.items() if not k.startswith(("loss.", "model_ema."))}


def check(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], files: Iterable[Path], network: str
) -> None:
    """Raises `WeightsError` unless both have the same names and shapes."""
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    misshaped = [
        f"{name} is {list(state[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    problems = [
        f"{len(names)} {kind} (first: {', '.join(names[:FIRST])})"
        for kind, names in (
            ("keys missing", missing),
            ("keys unknown", unknown),
            ("of another shape", misshaped),
        )
        if names
    ]
    if problems:
        sources = " with ".join(str(path) for path in files)
        raise WeightsError(
            f"{sources} does not fit the {network}: {'; '.join(problems)}{_looks_like(state)}; "
            "check that the file is complete and of the right model."
        )


def fill(
    model: Module,
    state: Mapping[str, Tensor],
    files: Iterable[Path],
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Module:
    """Give `model`, built on the meta device, its weights; raises `WeightsError` if they differ.

    Tensors that need no cast stay mapped from their file: nothing is read before it is used.
    """
    check(model.state_dict(), state, files, type(model).__name__)
    cast = {name: tensor.to(device, dtype) for name, tensor in state.items()}
    model.load_state_dict(cast, assign=True)
    return model.eval().requires_grad_(False)


def _looks_like(state: Mapping[str, Tensor]) -> str:
    guess = describe(shapes(state))
    return f"; it looks like {guess}" if guess else ""


def _check_variant(files: ModelFiles, metadata: Mapping[str, str], component: str) -> None:
    path = getattr(files, component)
    found = file_note(path, metadata, component).get("variant")
    if found not in (None, files.variant):
        raise WeightsError(
            f"{path} is of variant {found!r} by its metadata, but {files.variant!r} is needed; "
            "files of different variants cannot be mixed."
        )


def is_random(path: Path, metadata: Mapping[str, str], component: str) -> bool:
    """Whether a file says, or the settings beside it say, that its weights are random."""
    note = file_note(path, metadata, component)
    return bool(note.get("random") or folder_settings(path).get("random"))


def _described_audio(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> AudioEncoderConfig:
    described = {"dims": json.loads(metadata["dims"])} if "dims" in metadata else state
    try:
        return config_from_state(dict(described))
    except (KeyError, WeightsError) as error:
        raise WeightsError(
            f"{path} is not a Whisper checkpoint{_looks_like(state)}; put whisper_tiny.pt there."
        ) from error

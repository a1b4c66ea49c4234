"""What a network needs, read and checked but not yet in its place: for loading and converting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..audio.whisper import AudioEncoder, config_from_state, encoder_state
from ..config import AudioEncoderConfig, variant
from ..errors import WeightsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.motion_module import position_table
from ..models.unet import UNet
from ..models.vae import VAE_CONFIG, make_vae, rename_deprecated_attention, rename_single_file
from .files import ModelFiles
from .identify import describe
from .read import read_state, shapes
from .settings import (
    audio_config,
    explained_settings,
    file_note,
    folder_settings,
    landmark_config,
    stated_motion_frames,
    unet_config,
    vae_config,
)

POSITION_TABLE = ".pos_encoder.pe"  # end of the names that need not be in a file
FIRST = 3  # keys that an error names of each kind


@dataclass(frozen=True)
class Network:
    """A network and the weights that belong to it. Raises `WeightsError` unless they fit."""

    component: str
    model: nn.Module  # on the meta device, without weights
    config: Any  # a dataclass of `echomimic.config`, or a dict for diffusers
    state: Mapping[str, Tensor]  # named as the model names it, mapped from the files
    files: tuple[Path, ...]
    random: bool  # whether the weights are known to be random numbers

    def __post_init__(self) -> None:
        check(self.model.state_dict(), self.state, self.files, type(self.model).__name__)


def read_denoising_unet(files: ModelFiles, **options: Any) -> Network:
    """The denoising UNet with its motion modules; `options` are those of `UNet`."""
    component, path = "denoising_unet", files.denoising_unet
    state, metadata = merged_state(path, files.motion_module)
    config = unet_config(path, metadata, component)
    _check_variant(files, metadata, component)
    if files.motion_module is not None and config.motion is not None:
        check_motion_frames(files.motion_module, config.motion.motion_frames)
    with explained_settings(path):
        model = UNet(config, device="meta", **options)
    paths = (path, files.motion_module) if files.motion_module else (path,)
    random = is_random(path, metadata, component)
    return Network(component, model, config, with_position_tables(state, model), paths, random)


def read_reference_unet(files: ModelFiles, **options: Any) -> Network:
    """The reference UNet, from its file alone; `options` are those of `UNet`."""
    component, path = "reference_unet", files.reference_unet
    state, metadata = read_state(path)
    config = unet_config(path, metadata, component)
    with explained_settings(path):
        model = UNet(config, device="meta", **options)
    return Network(component, model, config, state, (path,), is_random(path, metadata, component))


def read_landmark_encoder(files: ModelFiles, **options: Any) -> Network:
    """The landmark encoder of the variant; `options` are those of `LandmarkEncoder`."""
    component, path = "landmark_encoder", files.landmark_encoder
    state, metadata = read_state(path)
    config = landmark_config(path, metadata, variant(files.variant).landmark_channels)
    with explained_settings(path):
        model = LandmarkEncoder(config, device="meta", **options)
    return Network(component, model, config, state, (path,), is_random(path, metadata, component))


def read_audio_encoder(path: Path | None, **options: Any) -> Network:
    """The audio encoder, without the text decoder; `options` are those of `AudioEncoder`."""
    if path is None:
        raise WeightsError(
            "There is no audio encoder beside the models; put whisper_tiny.pt there."
        )
    component = "audio_encoder"
    state, metadata = read_state(path)
    config = None if "dims" in metadata else audio_config(path, metadata)
    with explained_settings(path):
        config = config or _described_audio(path, state, metadata)  # OpenAI's describes itself
        model = AudioEncoder(config, device="meta", **options)
    random, state = is_random(path, metadata, component), encoder_state(state)
    return Network(component, model, config, state, (path,), random)


def read_vae(path: Path) -> Network:
    """The VAE, its tensors named as diffusers names them today."""
    state, metadata = read_state(path)
    config = vae_config(path, metadata) or VAE_CONFIG
    with explained_settings(path), torch.device("meta"):
        model = make_vae(config)
    state = rename_deprecated_attention(rename_single_file(vae_part(state)))
    return Network("vae", model, config, state, (path,), is_random(path, metadata, "vae"))


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


def check_motion_frames(motion_module: Path, motion_frames: int) -> None:
    """Raise `WeightsError` for motion modules that say they were trained with another number of
    frames before each window."""
    stated = stated_motion_frames(read_state(motion_module)[1])
    if stated not in (None, motion_frames):
        raise WeightsError(
            f"{motion_module} was trained with motion_frames {stated}, but {motion_frames} is "
            "asked for; use the motion module that belongs to the model, or correct the recipe."
        )


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


def is_random(path: Path, metadata: Mapping[str, str], component: str) -> bool:
    """Whether a file says, or the settings beside it say, that its weights are random."""
    note = file_note(path, metadata, component)
    return bool(note.get("random") or folder_settings(path).get("random"))


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


def _described_audio(
    path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> AudioEncoderConfig:
    try:
        described = {"dims": json.loads(metadata["dims"])} if "dims" in metadata else state
        return config_from_state(dict(described))
    except (ValueError, RecursionError, KeyError, WeightsError) as error:
        raise WeightsError(
            f"{path} is not a Whisper checkpoint{_looks_like(state)}; put whisper_tiny.pt there."
        ) from error

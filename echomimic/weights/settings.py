"""The configuration of a model file: in its metadata, in `config.json` beside it, or official."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import AudioEncoderConfig, LandmarkEncoderConfig, UNetConfig
from ..errors import WeightsError, brief
from .read import read_state

FORMAT = 1  # of `config.json` and of the metadata; other packs' config.json has no such entry
METADATA_KEY = "echomimic"
CONFIG_FILE = "config.json"
SECTIONS = ("unet", "landmark_encoder", "audio_encoder", "vae")  # of our `config.json`
# What wrong values break in the dataclasses of `config`, in our networks and in diffusers.
SETTINGS_ERRORS = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
)
SUBFOLDERS = ("audio_processor", "sd-vae-ft-mse", "vae")  # their settings lie one folder up


def make_metadata(component: str, variant: str | None, config: Any, **more: Any) -> dict[str, str]:
    """Metadata of a safetensors file; `config` is a dataclass of `echomimic.config` or a dict."""
    config = config if isinstance(config, dict) else asdict(config)
    note = {"format": FORMAT, "component": component, "variant": variant, "config": config}
    return {METADATA_KEY: json.dumps(note | more)}


def folder_settings(path: Path) -> dict[str, Any]:
    """Our `config.json` of the folder that a model file is in, or {}.

    Raises `WeightsError` if it is ours but of a format this version does not know, or if a
    section is no object.
    """
    folder = path.parent.parent if path.parent.name in SUBFOLDERS else path.parent
    settings = _read_json(folder / CONFIG_FILE)
    if "format" not in settings or not settings.keys() & set(SECTIONS):
        return {}
    if settings["format"] != FORMAT:
        raise WeightsError(
            f"{folder / CONFIG_FILE} has format {settings['format']!r}, but this version "
            f"reads format {FORMAT}; update EchoMimic."
        )
    for name in SECTIONS:
        _require_object(settings.get(name, {}), f"The entry {name!r} of {folder / CONFIG_FILE}")
    return settings


def file_note(path: Path, metadata: Mapping[str, str], component: str) -> dict[str, Any]:
    """What a file's own metadata says, or {}. Raises `WeightsError` if it is another component."""
    if METADATA_KEY not in metadata:
        return {}
    try:
        note = json.loads(metadata[METADATA_KEY])
        found = note["component"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(
            f"The metadata of {path} cannot be understood ({brief(error)}); convert it again."
        ) from error
    if found != component:
        raise WeightsError(
            f"{path} is a {found} by its metadata, but a {component} is needed; "
            "put the right file in its place."
        )
    _require_object(note.get("config", {}), f"The configuration in the metadata of {path}")
    return note


@dataclass(frozen=True)
class Native:
    """What a model was trained on, and therefore does best."""

    size: tuple[int, int] = (512, 512)  # width, height in pixels
    fps: float = 24.0


def native(path: Path) -> Native:
    """Of the model whose denoising UNet is `path`; the published models' if it does not say."""
    with explained_settings(path):
        note = file_note(path, read_state(path)[1], "denoising_unet")
        training = note.get("training", {})
        if "size" not in training:
            return Native()
        width, height = training["size"]
        return Native((int(width), int(height)), float(training["fps"]))


@contextmanager
def explained_settings(path: Path) -> Iterator[None]:
    """For reading a file's configuration and building its network, before weights are looked at.

    Raises `WeightsError` that names `path` where a value makes either fail.
    """
    try:
        yield
    except SETTINGS_ERRORS as error:
        reason = brief(f"{type(error).__name__}: {error}")
        raise WeightsError(
            f"The configuration of {path} is not valid ({reason}); correct the {CONFIG_FILE} "
            "beside it or make the file again."
        ) from error


def unet_config(path: Path, metadata: Mapping[str, str], component: str) -> UNetConfig:
    """Configuration of a denoising or reference UNet; the official one if nothing else is said."""
    note = file_note(path, metadata, component)
    with explained_settings(path):
        if "config" in note:
            return UNetConfig.from_dict(note["config"])
        values = folder_settings(path).get("unet")
        config = UNetConfig() if values is None else UNetConfig.from_dict(values)
        return config.as_reference() if component == "reference_unet" else config


def stated_motion_frames(metadata: Mapping[str, str]) -> int | None:
    """How many frames before a window a file's motion modules were trained with, if it says so."""
    try:
        motion = json.loads(metadata[METADATA_KEY])["config"]["motion"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return motion.get("motion_frames", 0) if isinstance(motion, dict) else None


def landmark_config(
    path: Path, metadata: Mapping[str, str], channels: int
) -> LandmarkEncoderConfig:
    """Configuration of a landmark encoder for images of `channels` channels."""
    values = file_note(path, metadata, "landmark_encoder").get("config")
    values = values or folder_settings(path).get("landmark_encoder", {})
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    with explained_settings(path):
        return LandmarkEncoderConfig(**values | {"in_channels": channels})


def audio_config(path: Path, metadata: Mapping[str, str]) -> AudioEncoderConfig | None:
    """Configuration of an audio encoder, or None: take it from the file's tensors."""
    values = file_note(path, metadata, "audio_encoder").get("config")
    values = values or folder_settings(path).get("audio_encoder")
    with explained_settings(path):
        return None if values is None else AudioEncoderConfig(**values)


def vae_config(path: Path, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """A diffusers configuration of the VAE, or None: the official one.

    It is diffusers' own `config.json` in the VAE's folder, or the `vae` entry of ours.
    """
    values = file_note(path, metadata, "vae").get("config")
    if values is not None:
        return values
    beside = _read_json(path.parent / CONFIG_FILE)
    if beside.get("_class_name") == "AutoencoderKL":
        return beside
    return folder_settings(path).get("vae")


def _require_object(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise WeightsError(f"{name} must be a JSON object, not {value!r:.40}; correct it.")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path} cannot be read as JSON ({brief(error)}); correct it."
        ) from error
    return content if isinstance(content, dict) else {}

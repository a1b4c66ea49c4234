"""Turn `.pth` files into half-precision safetensors: half the disk, a faster start (spec E11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import VARIANTS, Variant, variant
from ..errors import WeightsError
from .files import AUDIO_ENCODERS, VAES, ModelFiles, find_models, look_up
from .load import DType, choose_dtype
from .networks import (
    POSITION_TABLE,
    Network,
    read_audio_encoder,
    read_denoising_unet,
    read_landmark_encoder,
    read_reference_unet,
    read_vae,
)
from .read import read_state, shapes
from .settings import file_note, make_metadata
from .write import write_safetensors

READERS: dict[str, Callable[[ModelFiles], Network]] = {
    "denoising_unet": read_denoising_unet,
    "reference_unet": read_reference_unet,
    "landmark_encoder": read_landmark_encoder,
    "audio_encoder": lambda files: read_audio_encoder(files.audio_encoder),
    "vae": lambda files: read_vae(files.vae),
}
KEPT_EXACT = ("audio_encoder",)  # stays in float32: it is small, and the lips follow it


def convert(
    folders: Sequence[Path],
    destination: Path,
    variants: Sequence[str] | None = None,
    dtype: DType = "float16",
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write safetensors of the variants found in `folders` (None: of all that are there).

    `destination` then holds all that the variants need. The motion module is merged into the
    denoising UNet, of the audio encoder the unused text decoder is left out; configurations go
    into the metadata. Files that exist already are kept, and tensors are written one by one.
    Raises `WeightsError` for a file that is missing, before anything is written, or does not fit.
    """
    dtype, jobs = choose_dtype(dtype, "cpu"), {}
    for row in _rows(folders, variants):
        files = find_models(folders, row.name)
        for component in READERS:
            path = Path(destination) / f"{_stem(row, component)}.safetensors"
            jobs.setdefault(path, (component, files))
    for done, (path, (component, files)) in enumerate(jobs.items(), 1):
        if not path.exists():
            _write(path, READERS[component](files), files.variant, dtype)
        if on_progress is not None:
            on_progress(done, len(jobs))
    return list(jobs)


def _rows(folders: Sequence[Path], variants: Sequence[str] | None) -> list[Variant]:
    if variants is not None:
        return [variant(name) for name in variants]
    rows = [row for row in VARIANTS.values() if look_up(folders, row, "denoising_unet")]
    if not rows:
        searched = ", ".join(map(str, folders))
        raise WeightsError(f"There is no denoising UNet to convert in {searched}.")
    return rows


def _stem(row: Variant, component: str) -> str:
    shared = {"audio_encoder": AUDIO_ENCODERS[0], "vae": VAES[0]}  # the official places
    return shared.get(component) or getattr(row, component)


def _write(path: Path, network: Network, variant_name: str, dtype: torch.dtype) -> None:
    # Shared files belong to more than one variant, so they name none.
    name = variant_name if network.component == "denoising_unet" else None
    dtype = torch.float32 if network.component in KEPT_EXACT else dtype
    notes = {"random": network.random, **_training(network)}
    metadata = make_metadata(network.component, name, network.config, **notes)
    # Position tables follow from a formula; `networks` makes them where a file has none.
    state = {k: v for k, v in network.state.items() if not k.endswith(POSITION_TABLE)}
    write_safetensors(path, shapes(state), state.__getitem__, dtype=dtype, metadata=metadata)


def _training(network: Network) -> dict[str, Any]:
    """How the network was trained, where its file says so."""
    path = network.files[0]
    if path.suffix != ".safetensors":
        return {}
    note = file_note(path, read_state(path)[1], network.component)
    return {"training": note["training"]} if "training" in note else {}

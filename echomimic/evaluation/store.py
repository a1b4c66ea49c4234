"""What was measured of each pair, kept on disk, so that a long evaluation goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import MediaError
from ..fingerprint import digest, file_digest
from ..weights.write import writing
from .measure import Measured, Setup
from .pairs import Pair

VERSION = 2  # of our definitions: raise it when a figure would come out differently


def pair_contents(pair: Pair) -> tuple[str, str]:
    """Names of what is in the real and the generated file; raises `MediaError`."""
    return _contents(pair.real, "real"), _contents(pair.generated, "generated")


def pair_key(contents: tuple[str, str], setup: Setup, tracked_by: str) -> str:
    """Name of everything that the figures of a pair depend on."""
    return digest((VERSION, *contents, setup.settings(), tracked_by))


def save_measured(path: Path, measured: Measured, key: str) -> None:
    """One file per pair, whole or not at all. Raises `WeightsError`."""
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(array))
        for name, array in measured.features.items()
    }
    said = {
        "frames": measured.num_frames,
        "size": measured.size,
        "figures": measured.figures,
        "notes": measured.notes,
        "missing": measured.missing,
    }
    with writing(path) as temporary:
        save_file(tensors, temporary, {"key": key, "measured": json.dumps(said)})


def load_measured(path: Path, key: str) -> Measured | None:
    """What was measured under that name; None if there is nothing, something else, or damage."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            features = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _measured(json.loads(metadata["measured"]), features)
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, ArithmeticError,
            AttributeError, RecursionError):  # fmt: skip
        return None


def _contents(path: Path, side: str) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise MediaError(
            f"The {side} {path.name} cannot be read ({error.strerror}); check the path {path}."
        ) from error


def _measured(said: dict[str, Any], features: dict[str, np.ndarray]) -> Measured:
    """Of what a file says; raises `ValueError` or `TypeError` for what was never written."""
    count, (width, height), notes = (
        said["frames"],
        said["size"],
        [str(note) for note in said["notes"]],
    )
    figures = {name: float(value) for name, value in said["figures"].items()}
    missing = {name: str(reason) for name, reason in said["missing"].items()}
    flat = all(array.ndim == 2 and array.dtype.kind == "f" for array in features.values())
    whole = all(type(number) is int and number > 0 for number in (count, width, height))
    if not whole or not flat:
        raise ValueError("the measurements are damaged")
    return Measured(count, (width, height), figures, features, notes, missing)

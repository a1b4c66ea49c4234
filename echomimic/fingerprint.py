"""Short names for values: equal for equal contents, in every process."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LENGTH = 16  # bytes
BLOCK = 2**22  # bytes that are read at once


def digest(value: object) -> str:
    """Hexadecimal name of tensors, arrays, numbers, texts, dataclasses, and what holds them.

    Functions count by their name, other objects by their attributes. A `Path` is a name here; for
    what is in the file there is `file_digest`.
    """
    summary = hashlib.blake2b(digest_size=LENGTH)
    _add(summary, value)
    return summary.hexdigest()


def file_digest(path: Path) -> str:
    """Hexadecimal name of a file's contents."""
    summary = hashlib.blake2b(digest_size=LENGTH)
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            summary.update(block)
    return summary.hexdigest()


def _add(summary: Any, value: object) -> None:
    """Kinds and lengths go in too, so that [1, 2] and [12] differ."""
    if isinstance(value, Tensor):
        _add_bytes(summary, f"tensor {value.dtype} {tuple(value.shape)}", _bytes(value))
    elif isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        _add_bytes(summary, f"array {array.dtype.str} {array.shape}", array.tobytes())
    elif isinstance(value, bytes):
        _add_bytes(summary, "bytes", value)
    elif value is None or isinstance(value, str | bool | int | float | Path | torch.dtype):
        _add_bytes(summary, type(value).__name__, repr(value).encode())
    elif isinstance(value, Mapping):
        _add_all(summary, "mapping", sorted(value.items(), key=lambda item: str(item[0])))
    elif isinstance(value, set | frozenset):
        _add_all(summary, "set", sorted(value, key=repr))
    elif isinstance(value, list | tuple):
        _add_all(summary, "sequence", value)
    elif dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        _add_all(summary, type(value).__name__, [(name, getattr(value, name)) for name in fields])
    elif callable(value) and hasattr(value, "__qualname__"):
        _add_bytes(summary, "function", value.__qualname__.encode())
    else:
        attributes = getattr(value, "__dict__", {})
        _add_all(summary, type(value).__name__, sorted(attributes.items()))


def _add_bytes(summary: Any, kind: str, content: bytes | np.ndarray) -> None:
    summary.update(f"{kind} {len(content)}:".encode())
    summary.update(content)


def _add_all(summary: Any, kind: str, items: list | tuple) -> None:
    summary.update(f"{kind} {len(items)}:".encode())
    for item in items:
        _add(summary, item)


def _bytes(tensor: Tensor) -> np.ndarray:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()

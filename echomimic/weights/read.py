"""Read checkpoint files, never running what they hold (spec 12.1, D31)."""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import WeightsError, brief

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")  # in the order of preference
ZIP_MAGIC = b"PK\x03\x04"  # of files written by torch.save since 1.6; only these can be mapped
PICKLE_MAGIC = b"\x80"  # of the files before
NUMBERS = {  # dtypes that can become any other; not complex, quantised, or several in a byte
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
}  # fmt: skip
WRAPPERS = ("model_state_dict", "state_dict")  # keys under which some files keep their tensors
# Words of the restricted unpickler's complaint when a file asks for more than tensors; the
# operands 147 and 149 are those of pickles newer than torch writes.
CODE = re.compile(r"GLOBAL|function|create new object|operand 14[79]")
# What torch's restricted unpickler raises on damaged bytes, found by feeding it such bytes.
UNPICKLING_ERRORS = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
    OverflowError,
)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata (empty for `.pth`).

    Tensors are mapped from the file where its format allows, so that reading shapes reads no
    weights. OpenAI's Whisper layout becomes its `model_state_dict`, with `dims` as JSON in the
    metadata. Raises `WeightsError` if the file is missing, damaged, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} does not exist; check the path.")
    try:
        if path.suffix == ".safetensors":
            state, metadata = _read_safetensors(path)
        else:
            state, metadata = _tensors(_read_pickle(path), path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({brief(error)}); download it again.") from error
    for name, tensor in state.items():
        if odd := _oddity(tensor):
            raise WeightsError(
                f"{path} cannot be used: its tensor {name!r:.80} is {odd}; use a file of plain "
                "numbers."
            )
    return state, metadata


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged or incomplete ({brief(error)}); download it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        beginning = file.read(len(ZIP_MAGIC))
    mappable = beginning == ZIP_MAGIC
    try:
        with warnings.catch_warnings():
            # torch doubts pickles newer than its own before it refuses them; we say it once.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", mmap=mappable, weights_only=True)
    except UNPICKLING_ERRORS as error:
        if isinstance(error, pickle.UnpicklingError) and CODE.search(str(error)):
            raise WeightsError(
                f"{path} holds executable pickle content and was refused (nothing of it ran); "
                "use a file that holds tensors only."
            ) from error
        if not mappable and beginning[:1] != PICKLE_MAGIC:
            raise WeightsError(
                f"{path} is no file of PyTorch, or damaged at its beginning; download it again or "
                "give another one."
            ) from error
        raise WeightsError(f"{path} is damaged or incomplete; download it again.") from error


def _tensors(content: Any, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    metadata = {}
    if isinstance(content, Mapping):
        if isinstance(content.get("dims"), Mapping):
            metadata["dims"] = _as_json(content["dims"], path)
        content = next((content[key] for key in WRAPPERS if key in content), content)
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} is not a checkpoint: it holds no named tensors.")
    for name, value in content.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            kind = type(value).__name__
            raise WeightsError(f"{path} is not a checkpoint: its entry {name!r:.80} is a {kind}.")
    return dict(content), metadata


def _oddity(tensor: Tensor) -> str:
    """What no network here computes with, in a word; empty for a tensor of plain numbers."""
    if tensor.is_meta:
        return "without values"
    if tensor.layout is not torch.strided:
        return "sparse"
    return "" if tensor.dtype in NUMBERS else f"of {tensor.dtype}"


def _as_json(dims: Mapping[Any, Any], path: Path) -> str:
    try:
        return json.dumps(dict(dims))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a Whisper checkpoint: its dims are no numbers ({brief(error)})."
        ) from error

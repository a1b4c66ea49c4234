"""Write model files whole or not at all, tensor by tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsError
from ..files import replacing

SAFETENSORS_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """`files.replacing` for model files: creates the folder and raises `WeightsError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be written ({error}); check the folder's permissions and free space."
        ) from error


def write_safetensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    make: Callable[[str], Tensor],
    *,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> None:
    """Write `make(name)` for every name, one at a time: one tensor in memory, not the file's sum.

    `make` returns a tensor of the given shape; it is cast to `dtype`. Raises `WeightsError`.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": SAFETENSORS_TYPES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with writing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            tensor = make(name).reshape(shape).to("cpu", dtype).contiguous()
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())


def write_pickle(path: Path, content: Mapping[str, object]) -> None:
    """Write a `.pth` file of tensors, as the official files are. Raises `WeightsError`."""
    with writing(path) as temporary:
        torch.save(dict(content), temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8. Raises `WeightsError`."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

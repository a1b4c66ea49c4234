"""Arrays from .npz and .npy files of strangers: nothing is executed, no size is believed.

numpy reserves what the header of an array declares before it has read it, so headers and the
zip's own directory are checked first.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ..errors import LandmarkError, brief

MAX_BYTES = 3 * 2**29  # of one file, unpacked: an hour at 30 fps with all that a track knows
PLAIN_KINDS = "biufU"  # bool, integers, floats and text: what is nothing but its bytes
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
DAMAGED = (  # what zip, its decompressors and numpy raise for damaged files
    *(OSError, EOFError, ValueError, KeyError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(SyntaxError, TypeError, MemoryError, tokenize.TokenError),  # headers are Python expressions
)


def read_npz(path: Path, names: Set[str] | None = None) -> dict[str, np.ndarray]:
    """Every array of an .npz by its name, or those of `names`; raises `LandmarkError`."""
    with _explained(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if names is None or member.filename.removesuffix(".npy") in names
        ]
        check_size(path, sum(member.file_size for member in members))
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _read_array(file, member.file_size, f"{name!r} in {path.name}")
        return arrays


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy; raises `LandmarkError`."""
    with _explained(path, ".npy"), path.open("rb") as file:
        length = path.stat().st_size
        check_size(path, length)
        return _read_array(file, length, path.name)


def _read_array(file: IO[bytes], length: int, name: str) -> np.ndarray:
    """The array in the `length` bytes of a file in numpy's format."""
    shape, fortran, dtype = HEADERS[npy.read_magic(file)](file)
    if dtype.kind not in PLAIN_KINDS:
        raise LandmarkError(
            f"The array {name} holds Python objects or records, which are not loaded because "
            "they could run code; save it as plain numbers."
        )
    data = file.read(length)
    if min(shape, default=0) < 0 or len(data) != math.prod(shape) * dtype.itemsize:
        raise LandmarkError(
            f"The array {name} is cut off or damaged: it should hold {math.prod(shape)} values of "
            f"{dtype.itemsize} bytes and has {len(data)} bytes; copy or make the file again."
        )
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def check_size(path: Path, size: int) -> None:
    """Raise `LandmarkError` for a file whose arrays take more bytes than are read again."""
    if size > MAX_BYTES:
        raise LandmarkError(
            f"{path.name} would take {size / 2**30:.1f} GB unpacked, more than the "
            f"{MAX_BYTES / 2**30:.1f} GB that landmarks may take; use a shorter track."
        )


@contextmanager
def _explained(path: Path, kind: str) -> Iterator[None]:
    """What numpy and zip say of a damaged file becomes one sentence that names it."""
    if not path.is_file():
        raise LandmarkError(f"There is no file {path}; check the name.")
    try:
        yield
    except DAMAGED as error:
        raise LandmarkError(
            f"{path.name} is damaged or no {kind} file of numpy ({brief(error)}); "
            "copy or make it again."
        ) from error

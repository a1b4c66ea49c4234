"""One numpy array from a pickle, without trusting it (spec 8.4).

Pickles are programs. This one may only say what an array is made of: every name that it calls is
answered by a class here that writes its arguments down, so neither foreign code nor numpy runs
on what a stranger wrote. The array is made afterwards from what was written down.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LandmarkError, brief

MAX_BYTES = 4 * 2**20  # of one file; a frame of landmarks takes 12 kB
MAX_MEMO = 1000  # the unpickler reserves as many places as the highest number it is told
NUMBERS = re.compile(r"[fiu][248]")  # dtypes that are read: floats and integers
# fmt: off
OPCODES = {  # numbers, text, bytes, tuples and calls; no containers that hash or grow
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET",
    "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "EMPTY_TUPLE", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2",
    "LONG", "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}
# fmt: on
DAMAGED = (
    *(ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError, EOFError),
    *(MemoryError, pickle.UnpicklingError),
)


def read_array_pickle(path: Path) -> np.ndarray:
    """The array of numbers in a pickle file; raises `LandmarkError` for everything else."""
    if not path.is_file():  # a pipe would never end
        raise LandmarkError(f"There is no file {path}; check the name.")
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise LandmarkError(f"{path} cannot be read: {error.strerror}.") from error
    if content is None:
        raise LandmarkError(
            f"{path.name} is larger than landmarks in a pickle are ({MAX_BYTES // 2**20} MB) and "
            "is not read; save the array as .npy."
        )
    try:
        _check_opcodes(content, path)
        return _array(_ArrayUnpickler(content, path).load(), path)
    except DAMAGED as error:
        raise LandmarkError(
            f"{path.name} is damaged or no pickle of an array ({brief(error)}); copy or make it "
            "again."
        ) from error


def _check_opcodes(content: bytes, path: Path) -> None:
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in OPCODES:
            raise LandmarkError(
                f"{path.name} holds more than one plain array of numbers ({opcode.name}), which "
                "is not loaded; save only the landmarks, as .npy."
            )
        if "PUT" in opcode.name and argument > MAX_MEMO:
            raise LandmarkError(f"{path.name} is no pickle that numpy wrote; it is not loaded.")


class _Dtype:
    """Stands for numpy.dtype: a code such as f8, and a byte order."""

    def __init__(self, code: Any = None, *_flags: Any) -> None:
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """Stands for an array that is made empty and then told what it holds (protocols 2 to 4)."""

    def __init__(self, *_: Any) -> None:
        self.data = self.dtype = self.shape = self.order = None

    def __setstate__(self, state: Any) -> None:
        _version, self.shape, self.dtype, fortran, self.data = state
        self.order = "F" if fortran else "C"


class _Buffer(_Array):
    """Stands for an array that is made around its bytes (protocol 5)."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.data, self.dtype, self.shape, self.order = data, dtype, shape, order


STAND_INS: dict[str, type] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _Array,  # numpy 1
    "numpy._core.multiarray._reconstruct": _Array,  # numpy 2
    "numpy.core.numeric._frombuffer": _Buffer,
    "numpy._core.numeric._frombuffer": _Buffer,
}


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content))
        self.path = path

    def find_class(self, module: str, name: str) -> type:
        stand_in = STAND_INS.get(f"{module}.{name}")
        if stand_in is None:
            raise LandmarkError(
                f"{self.path.name} wants to call {module}.{name}, which an array of numbers does "
                "not need and which was not run; do not trust the file, or save it as .npy."
            )
        return stand_in


def _array(recorded: Any, path: Path) -> np.ndarray:
    if not isinstance(recorded, _Array):
        raise LandmarkError(
            f"{path.name} holds a {type(recorded).__name__} and no numpy array; save the "
            "landmarks alone, as .npy."
        )
    code, order = recorded.dtype.code, recorded.dtype.order
    if not NUMBERS.fullmatch(code) or order not in ("<", ">", "=", "|"):
        raise LandmarkError(f"The array in {path.name} is of {code}, not of numbers.")
    return np.frombuffer(recorded.data, order + code).reshape(recorded.shape, order=recorded.order)

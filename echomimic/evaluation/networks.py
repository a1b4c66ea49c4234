"""What measures know of a network of others: a protocol, its file, the checksum, the licence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..errors import WeightsError

BLOCK = 2**22  # bytes


@dataclass(frozen=True)
class Weights:
    """A file of a network, as reports name it."""

    file: str
    sha256: str
    licence: str


class FeatureNetwork(Protocol):
    """Turns pictures or clips into features whose distribution is compared.

    `protocol` says in words how pictures reach the network: figures of different protocols or
    weights do not compare. No network comes with this package, and none stands in for another.
    """

    name: str
    protocol: str
    weights: Weights

    def features(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (f, H, W, 3) → (n, d) float32; n are frames or clips of frames."""
        ...


class IdentityNetwork(Protocol):
    """Turns aligned faces into vectors that are alike for pictures of one person."""

    name: str
    protocol: str
    weights: Weights

    def embed(self, faces: np.ndarray) -> np.ndarray:
        """uint8 RGB (f, 112, 112, 3), aligned (`faces.aligned_faces`) → (f, d)."""
        ...


@contextmanager
def full_precision() -> Iterator[None]:
    """What networks compute within it is in full float32 on NVIDIA's GPUs too, and repeatable.

    By default their convolutions round to 10 bits (TF32), which moves features by a thousandth.
    """
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def known_file(path: Path, licence: str, sha256: str | None = None) -> Weights:
    """The file with its checksum; raises `WeightsError` if missing, locked, or another one.

    `sha256` may be the beginning of it, as in the names of torch's hub.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no weight file {path}; check the path.")
    try:
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if sha256 is not None and not found.startswith(sha256.lower()):
        raise WeightsError(
            f"{path.name} has the sha256 {found[:16]}… instead of {sha256[:16]}…; give the file "
            "that was meant, or its own checksum."
        )
    return Weights(path.name, found, licence)


def sha256_of(path: Path) -> str:
    """Hexadecimal, of a file's contents."""
    summary = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            summary.update(block)
    return summary.hexdigest()

"""The frames of a clip as pictures in one zip archive: small, and each can be read alone.

Anything opens such a file. One file instead of hundreds is what disks and object storage like, and
any frame is found without decoding those before it, as a video would need.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import MediaError, brief
from ..files import replacing
from .image import decode_image, encode_image, image_size

UNREADABLE = (  # what zipfile raises for a damaged member; RuntimeError: encrypted, or packed in
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError,  # a way it does not know
)  # fmt: skip


def write_frames(
    path: Path, frames: Iterable[np.ndarray], *, suffix: str = "jpg", quality: int = 95
) -> None:
    """Write frames, uint8 (H, W, 3), as 000000.jpg (or .png) and so on; they are not zipped again.

    The archive appears when it is complete. Raises `OSError` where it cannot be written.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for number, frame in enumerate(frames):
            data = encode_image(frame, suffix, quality=quality)
            # A date of its own would make the same frames another file.
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.{suffix}"), data)


@dataclass(frozen=True)
class FrameZip:
    """The frames in an archive, as an array (f, H, W, 3) of which only what is asked for is read.

    The archive is opened for each, so any number of threads and processes may read.
    """

    path: Path

    @cached_property
    def names(self) -> list[str]:
        """Of the pictures, in their order. Raises `MediaError`."""
        with self._opened() as archive:
            names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        if not names:
            raise MediaError(f"{self.path} holds no frames (.jpg or .png); make it again.")
        return names

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the first frame is believed for all; `read` checks each."""
        return (len(self), *self._decoded([0])[0].shape)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the first frame, of which no pixels are read. Raises `MediaError`."""
        name = self.names[0]
        with self._opened() as archive:
            try:
                with archive.open(name) as file:
                    return image_size(file, f"{name} in {self.path.name}")
            except UNREADABLE as error:
                raise _damaged(self.path, error) from error

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.read([range(len(self))[number]])[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        frames = self.read(range(len(self)))
        return frames if dtype is None else frames.astype(dtype)

    def read(self, numbers: Iterable[int]) -> np.ndarray:
        """These frames, uint8 (n, H, W, 3). Raises `MediaError` if one is damaged or other in
        size."""
        frames = self._decoded(numbers)
        for frame in frames:
            if frame.shape != self.shape[1:]:
                raise MediaError(f"{self.path} holds frames of several sizes; make it again.")
        return np.stack(frames)

    def _decoded(self, numbers: Iterable[int]) -> list[np.ndarray]:
        with self._opened() as archive:
            names = [self.names[number] for number in numbers]
            try:
                return [decode_image(archive.read(n), f"{n} in {self.path.name}") for n in names]
            except UNREADABLE as error:
                raise _damaged(self.path, error) from error

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise MediaError(
                f"{self.path} is no archive of frames ({brief(error)}); make it again."
            ) from error


def _damaged(path: Path, error: Exception) -> MediaError:
    return MediaError(f"{path} is damaged ({brief(error)}); make it again.")

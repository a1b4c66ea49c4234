"""Pictures from and to files: always uint8 RGB arrays, upright, without transparency."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import MediaError, brief
from ..files import replacing

# What Pillow raises for damaged files, depending on the format.
_DAMAGED = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)
_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(path: Path) -> np.ndarray:
    """Read any common picture as uint8 `(H, W, 3)` RGB.

    The EXIF orientation is applied, transparency is laid over white, grey, palette, CMYK and
    16 bit pictures are converted, and of an animation the first frame counts. Raises `MediaError`
    for a file that is missing, damaged or not a picture.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaError(f"There is no picture {path}; check the path.")
    return _decoded(path, path.name)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """As `read_image`, of a file's contents; errors call it `name`."""
    return _decoded(BytesIO(data), name)


def image_size(file: IO[bytes], name: str) -> tuple[int, int]:
    """Width and height that `decode_image` will find, of which only the header is read."""
    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size[::-1] if turned else image.size
    except _DAMAGED as error:
        raise MediaError(
            f"{name} cannot be read as a picture ({brief(error)}); save it again as PNG or JPEG."
        ) from error


def encode_image(image: np.ndarray, suffix: str, *, quality: int = 95) -> bytes:
    """uint8 `(H, W, 3)` RGB as the contents of a file: "jpg", colours at full resolution, or "png".

    `quality` is that of JPEG.
    """
    file = BytesIO()
    options = {"quality": quality, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(image).save(file, {"jpg": "JPEG", "png": "PNG"}[suffix], **options)
    return file.getvalue()


def _decoded(source: Path | BytesIO, name: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # Pillow warns from 90 megapixels on and refuses 180; we accept what it accepts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as file:
                ImageOps.exif_transpose(file, in_place=True)
                return np.array(_to_rgb(file))
    except _DAMAGED as error:
        raise MediaError(
            f"{name} cannot be read as a picture ({brief(error)}); save it again as PNG or JPEG."
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_GREY:  # Pillow would clip these at 255 instead of scaling them
        levels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating point pixels")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # converting copies


def write_image(path: Path, image: np.ndarray) -> None:
    """Write uint8 `(H, W, 3)` RGB in the format of the file's suffix, complete or not at all.

    Raises `MediaError` where the folder cannot be written to or the suffix is unknown.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            Image.fromarray(image).save(temporary)
    except (OSError, ValueError) as error:
        raise MediaError(
            f"{path} cannot be written ({error}); check the folder and the suffix."
        ) from error

"""A picture becomes a portrait that the models can animate (spec 7)."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import LATENT_STRIDE, Compatibility
from ..errors import OptionsError, PortraitError
from .face_box import (
    CROP_RATIO,
    MASK_RATIO,
    Crop,
    FaceBox,
    crop_face,
    cut,
    face_mask,
    whole_picture,
    whole_pixels,
)

log = logging.getLogger(__name__)

SMALLEST_SIDE = 32  # pixels; below, the networks' lowest level has less than one cell
LARGEST_ENLARGEMENT = 4  # beyond, the portrait is visibly blurred


@dataclass(frozen=True)
class Portrait:
    """What the models see of a portrait."""

    image: Tensor  # (3, H, W) in -1..1
    face_mask: Tensor  # (1, H, W) in 0..1
    crop: Crop  # where in the picture this is
    face_box: FaceBox | None  # in pixels of the picture; None: not known


def prepare_portrait(
    image: np.ndarray,
    size: tuple[int, int],
    *,
    face_box: FaceBox | None = None,
    mask: np.ndarray | None = None,
    crop_ratio: float = CROP_RATIO,
    mask_ratio: float = MASK_RATIO,
    compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
) -> Portrait:
    """Crop a uint8 RGB picture `(H, W, 3)` around its face and resize it to `size` (width, height).

    `mask` `(H, W)` in 0..1 replaces the rectangle around the face; without a face box its extent
    is the face. Without either, all of the picture counts as face and a warning is logged.
    Raises `OptionsError` for a size or ratio, `PortraitError` for a picture, box or mask that
    cannot work.
    """
    _check_options(size, crop_ratio, mask_ratio)
    _check_image(image)
    source_size = (image.shape[1], image.shape[0])
    official = compatibility.official_crop
    if mask is not None:
        mask = _checked_mask(mask, source_size)
        face_box = face_box or _extent(mask)
    if face_box is None:
        crop = _crop_without_face(source_size, size, official=official)
    else:
        _check_box(face_box, source_size)
        crop = crop_face(face_box, source_size, size, ratio=crop_ratio, official=official)
        _warn_of_cut_face(crop, face_box)
    _warn_of_enlargement(crop)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (3, H, W)
    return Portrait(
        image=cut(pixels, crop, antialias=not official) / 255 * 2 - 1,
        face_mask=_mask(crop, face_box, mask, mask_ratio, official=official),
        crop=crop,
        face_box=face_box,
    )


def check_size(width: int, height: int) -> None:
    """Raises `OptionsError` unless both are multiples of a latent cell, 8 pixels, from 32 up."""
    for name, length in (("width", width), ("height", height)):
        if length < SMALLEST_SIDE or length % LATENT_STRIDE:
            nearest = max(SMALLEST_SIDE, round(length / LATENT_STRIDE) * LATENT_STRIDE)
            raise OptionsError(
                f"{name} must be a multiple of {LATENT_STRIDE}, at least {SMALLEST_SIDE}, "
                f"not {length}; {nearest} would do."
            )


def _mask(
    crop: Crop, face_box: FaceBox | None, mask: Tensor | None, ratio: float, *, official: bool
) -> Tensor:
    if mask is not None:
        return cut(mask, crop).clamp(0, 1)
    if face_box is None:
        return torch.ones(1, crop.size[1], crop.size[0])  # (1, H, W)
    return face_mask(face_box, crop, ratio=ratio, official=official)


def _crop_without_face(
    source_size: tuple[int, int], size: tuple[int, int], *, official: bool
) -> Crop:
    log.warning(
        "No face box is known, so all of the portrait will be animated; "
        "give the face box or a face mask by hand if there is a face."
    )
    if official:
        return whole_picture(source_size, size)
    return crop_face((0, 0, *source_size), source_size, size, ratio=0)  # the middle, unstretched


def _check_options(size: tuple[int, int], crop_ratio: float, mask_ratio: float) -> None:
    check_size(*size)
    for name, ratio in (("crop_ratio", crop_ratio), ("mask_ratio", mask_ratio)):
        if not 0 <= ratio < math.inf:
            raise OptionsError(f"{name} must be 0 or more, not {ratio}.")


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise PortraitError(
            "The portrait must be an RGB picture of shape (height, width, 3) in uint8, "
            f"not {image.shape} in {image.dtype}."
        )


def _check_box(box: FaceBox, source_size: tuple[int, int]) -> None:
    width, height = source_size
    finite = all(math.isfinite(side) for side in box)
    x0, y0, x1, y1 = whole_pixels(box) if finite else (0, 0, 0, 0)
    if x0 >= x1 or y0 >= y1 or x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise PortraitError(
            f"The face box {tuple(box)} does not lie in the portrait of {width}x{height} pixels; "
            "give it as left, top, right, bottom in pixels."
        )


def _checked_mask(mask: np.ndarray, source_size: tuple[int, int]) -> Tensor:
    width, height = source_size
    if mask.shape != (height, width):
        raise PortraitError(
            f"The face mask is {'x'.join(str(n) for n in mask.shape[::-1])} pixels but the "
            f"portrait is {width}x{height}; they must be of one size."
        )
    values = torch.from_numpy(np.array(mask, dtype=np.float32))[None]  # (1, H, W)
    if not values.isfinite().all() or not (values > 0.5).any():
        raise PortraitError(
            "The face mask marks nothing (or holds NaN): paint the face white, or leave it away."
        )
    return values.clamp(0, 1)


def _extent(mask: Tensor) -> FaceBox:
    marked = mask[0] > 0.5  # (H, W)
    rows, columns = marked.any(dim=1).nonzero(), marked.any(dim=0).nonzero()
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    return float(x0), float(y0), float(x1), float(y1)


def _warn_of_enlargement(crop: Crop) -> None:
    if max(crop.scale) > LARGEST_ENLARGEMENT:
        x0, y0, x1, y1 = crop.box
        log.warning(
            "Only %dx%d pixels of the portrait are used and enlarged %.1f times, so the video "
            "will be blurred; use a larger picture or a smaller output size.",
            x1 - x0, y1 - y0, max(crop.scale),
        )  # fmt: skip


def _warn_of_cut_face(crop: Crop, face_box: FaceBox) -> None:
    """A wide output from a narrow picture, or the other way round, leaves no room for the face."""
    for axis in (0, 1):
        start, end = max(0, face_box[axis]), min(crop.source_size[axis], face_box[axis + 2])
        missing = max(crop.box[axis] - start, end - crop.box[axis + 2])
        if missing > 0.1 * (end - start):
            log.warning(
                "The face does not fit into an output of %dx%d pixels without being cut; choose "
                "an output whose sides are closer to those of the portrait.",
                *crop.size,
            )
            return

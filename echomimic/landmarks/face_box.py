"""Where the face is and which part of the picture is animated: boxes, crops and masks (spec 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FaceBox = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the picture

CROP_RATIO = 0.5  # the crop reaches this share of the face's size beyond it, on each side
MASK_RATIO = 0.1  # likewise the mask


def box_from_landmarks(landmarks: np.ndarray, width: float, height: float) -> FaceBox:
    """The face box that the models were trained with, from normalised landmarks `(n, 2 or 3)`.

    Their detector draws the box higher than the hull of the landmarks, which ends at the
    forehead: grown by these shares, the hull overlaps the detector's boxes by 0.94.
    """
    x0, y0 = landmarks[:, :2].min(axis=0)
    x1, y1 = landmarks[:, :2].max(axis=0)
    w, h = x1 - x0, y1 - y0
    grown = (x0 - 0.02 * w, y0 - 0.16 * h, x1 + 0.01 * w, y1 + 0.065 * h)
    return tuple(float(side) for side in grown * np.array([width, height, width, height]))


def largest_box(boxes: Iterable[FaceBox]) -> FaceBox | None:
    """The box with the largest area; None where there is none."""
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def box_over_time(boxes: Iterable[FaceBox]) -> FaceBox | None:
    """The box that holds all boxes, so that one crop fits a whole video; None where there is none.

    Of a track, the boxes are `box_from_landmarks(points, *track.size)` for each of its frames.
    """
    sides = np.array(list(boxes))
    if not len(sides):
        return None
    return tuple(float(side) for side in (*sides[:, :2].min(axis=0), *sides[:, 2:].max(axis=0)))


@dataclass(frozen=True)
class Crop:
    """A rectangle of a picture, resized; knows the way there and back.

    Coordinates are continuous: pixel (0, 0) covers the square from (0, 0) to (1, 1).
    """

    source_size: tuple[int, int]  # width, height of the picture
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 in the picture, always inside it
    size: tuple[int, int]  # width, height after resizing

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the crop per pixel of the picture, along x and y."""
        x0, y0, x1, y1 = self.box
        return self.size[0] / (x1 - x0), self.size[1] / (y1 - y0)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points `(..., 2 or 3)` from pixels of the picture to pixels of the crop.

        Depth, the third column, is in the unit of x and is scaled with it.
        """
        origin, scale = self._axes(points.shape[-1])
        return (points - origin) * scale

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Inverse of `to_crop`."""
        origin, scale = self._axes(points.shape[-1])
        return points / scale + origin

    def _axes(self, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
        (x0, y0, _, _), (along_x, along_y) = self.box, self.scale
        origin, scale = np.array([x0, y0, 0.0]), np.array([along_x, along_y, along_x])
        return origin[:dimensions], scale[:dimensions]


def whole_picture(source_size: tuple[int, int], size: tuple[int, int]) -> Crop:
    """The whole picture, stretched to `size`."""
    return Crop(source_size, (0, 0, *source_size), size)


def crop_face(
    box: FaceBox,
    source_size: tuple[int, int],
    size: tuple[int, int],
    *,
    ratio: float = CROP_RATIO,
    official: bool = False,
) -> Crop:
    """The part of a picture of `source_size` that becomes the animated picture of `size`.

    The models know faces in a square of the face's shorter side grown by `ratio` in each
    direction. Ours is that square, widened to the aspect of `size`, moved into the picture and
    scaled down only if it is larger than the picture. The official square (spec 7.5, 7.6)
    shrinks at borders and is stretched to `size`.
    """
    frame = _official_square if official else _frame
    return Crop(source_size, frame(box, source_size, size, ratio), size)


def _frame(
    box: FaceBox, source_size: tuple[int, int], size: tuple[int, int], ratio: float
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    face = (x1 - x0, y1 - y0)
    side = max(min(face) * (1 + 2 * ratio), *face)  # a long face is not cut
    scale = min(side / min(size), source_size[0] / size[0], source_size[1] / size[1])
    width, height = (max(1, round(length * scale)) for length in size)
    left = _inside((x0 + x1 - width) / 2, source_size[0] - width)
    top = _inside((y0 + y1 - height) / 2, source_size[1] - height)
    return left, top, left + width, top + height


def _inside(start: float, last: int) -> int:
    return min(max(round(start), 0), last)


def _official_square(
    box: FaceBox, source_size: tuple[int, int], _size: tuple[int, int], ratio: float
) -> tuple[int, int, int, int]:
    width, height = source_size
    x0, y0, x1, y1 = whole_pixels(box)
    pad_x, pad_y = int((x1 - x0) * ratio), int((y1 - y0) * ratio)
    x0, y0 = max(0, x0 - pad_x), max(0, y0 - pad_y)
    x1, y1 = min(x1 + pad_x, width), min(y1 + pad_y, height)
    side = min(x1 - x0, y1 - y0)
    left = max(0, (x0 + x1) // 2 - side // 2)
    top = max(0, (y0 + y1) // 2 - side // 2)
    side = min(side, width - left, height - top)
    return left, top, left + side, top + side


def whole_pixels(box: FaceBox) -> tuple[int, int, int, int]:
    """The box on the pixel grid; halves go to the even number (spec 7.3)."""
    return tuple(round(side) for side in box)


def face_mask(
    box: FaceBox, crop: Crop, *, ratio: float = MASK_RATIO, official: bool = False
) -> Tensor:
    """Mask `(1, H, W)` in 0..1 of the crop: 1 inside the face box grown by `ratio`.

    `official` lets the rectangle start at negative rows or columns, which count from the end
    and leave the mask of a face near the border empty (spec 12, D4).
    """
    width, height = crop.source_size
    x0, y0, x1, y1 = whole_pixels(box)
    pad_x, pad_y = int((x1 - x0) * ratio), int((y1 - y0) * ratio)
    left, top = x0 - pad_x, y0 - pad_y
    if not official:
        left, top = max(0, left), max(0, top)
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    mask[:, top : y1 + pad_y, left : x1 + pad_x] = 255
    return cut(mask, crop, antialias=not official) / 255  # (1, H, W)


def cut(images: Tensor, crop: Crop, *, antialias: bool = True) -> Tensor:
    """The crop out of images `(..., c, H, W)`, uint8 or float, resized bilinearly.

    Without `antialias`, shrinking skips pixels, as the official code does (spec 7.7). Images in
    uint8 stay in uint8, which keeps pictures of 100 megapixels small.
    """
    x0, y0, x1, y1 = crop.box
    images = images[..., y0:y1, x0:x1]
    width, height = crop.size
    if images.shape[-2:] == (height, width):
        return images.clone()
    batch = images.reshape(-1, *images.shape[-3:])  # (n, c, H, W)
    if images.dtype == torch.uint8 and not antialias:
        # Torch's own bilinear filter for uint8 is off by up to one level, OpenCV's is not.
        resized = F.interpolate(batch.float(), (height, width), mode="bilinear").round().byte()
    else:
        resized = F.interpolate(batch, (height, width), mode="bilinear", antialias=antialias)
    return resized.reshape(*images.shape[:-2], height, width)

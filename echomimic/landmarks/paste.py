"""Animated frames go back into the picture or video that their crop was taken from.

What is pasted is the difference between a frame and the crop of the original, so that the
original's fine texture, which the crop is too small for, stays wherever the face does not move,
and an unchanged frame gives exactly the original at any scale. Where the face moves, that
texture would show the old eyes and lips through the new ones, so there it is taken away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionsError, PortraitError
from .blend import match_colours, movement, resized
from .face_box import Crop, FaceBox, cut, whole_picture
from .paste_mask import FEATHER, oval_mask, paste_mask
from .track import LandmarkTrack

log = logging.getLogger(__name__)

OVAL_SIZE = (128, 128)  # the moving mask is soft, so that a coarse grid holds it


def paste_back(
    frames: Iterable[np.ndarray],
    crop: Crop,
    originals: np.ndarray | Iterable[np.ndarray],
    *,
    face_box: FaceBox | None = None,
    landmarks: LandmarkTrack | None = None,
    feather: float = FEATHER,
    colour_match: float = 1.0,
) -> Iterator[np.ndarray]:
    """Paste animated frames, uint8 `(H, W, 3)`, into the original: yields uint8 `(H0, W0, 3)`.

    `originals` is the picture `(H0, W0, 3)` that `crop` was taken from, or one picture per frame:
    the last one is held where they end early, further ones are left. Frames may be larger or
    smaller than the crop, but of its shape. `face_box` (pixels of the picture) places the mask,
    `landmarks` (in 0..1 of the crop, one per frame, the last one held) let it follow the face.
    `feather` is the width of its edge as a share of the crop, 0..0.5. `colour_match` in 0..1 is
    how far the colours are brought to those around the face; what that takes is decided by the
    first frame for the whole clip, so that nothing flickers.

    Only one frame is held at a time. Raises `OptionsError` for an option at once, and
    `PortraitError` for a picture that does not fit when it is reached.
    """
    if not 0 <= feather <= 0.5:
        raise OptionsError(f"feather must be between 0 and 0.5 of the crop, not {feather}.")
    if not 0 <= colour_match <= 1:
        raise OptionsError(f"colour_match must be between 0 and 1, not {colour_match}.")
    return _pasted(
        frames, crop, originals, _Masks(crop, face_box, landmarks, feather), colour_match
    )


def _pasted(
    frames: Iterable[np.ndarray],
    crop: Crop,
    originals: np.ndarray | Iterable[np.ndarray],
    masks: _Masks,
    strength: float,
) -> Iterator[np.ndarray]:
    colours, grounds = None, iter(())
    for number, frame in enumerate(frames):
        if number == 0:
            crop = _fitted(crop, frame)
            grounds = _grounds(originals, crop)
        _check_frame(frame, number, crop)
        animated = torch.from_numpy(np.array(frame)).permute(2, 0, 1).float()  # (3, h, w)
        ground = next(grounds)
        colours = colours or match_colours(animated, ground.seen, masks.edge(crop.size))
        # A cast that is not to be removed is no movement either, so that is judged without it.
        moved = movement(colours.apply(animated) - ground.seen)
        change = colours.apply(animated, strength) - ground.seen
        yield ground.with_change(change, moved, masks.of_frame(number))


@dataclass(frozen=True)
class _Ground:
    """An original, and what is to be known of the part of it that is pasted over."""

    picture: np.ndarray  # uint8 (H0, W0, 3)
    box: tuple[int, int, int, int]  # of the crop
    pixels: Tensor  # (3, H, W) levels in the box
    seen: Tensor  # (3, h, w) levels, the crop that the models see
    lost: Tensor  # (3, H, W) levels, the texture that the crop is too small for

    @classmethod
    def of(cls, picture: np.ndarray, crop: Crop) -> _Ground:
        x0, y0, x1, y1 = crop.box
        size = (x1 - x0, y1 - y0)
        region = torch.from_numpy(np.array(picture[y0:y1, x0:x1])).permute(2, 0, 1)
        seen, pixels = cut(region, whole_picture(size, crop.size)).float(), region.float()
        return cls(picture, crop.box, pixels, seen, pixels - resized(seen, size))

    def with_change(self, change: Tensor, moved: Tensor, mask: Tensor) -> np.ndarray:
        """The picture changed by `(3, h, w)` levels under the mask `(H, W)`, and without its own
        texture where something `moved`, `(1, h, w)` in 0..1."""
        x0, y0, x1, y1 = self.box
        size = (x1 - x0, y1 - y0)
        levels = resized(change, size)  # (3, H, W)
        levels.addcmul_(resized(moved, size, mode="bilinear"), self.lost, value=-1)
        levels.mul_(mask).add_(self.pixels).round_().clamp_(0, 255)
        result = self.picture.copy()
        torch.from_numpy(result)[y0:y1, x0:x1].copy_(levels.byte().permute(1, 2, 0))
        return result


def _grounds(originals: np.ndarray | Iterable[np.ndarray], crop: Crop) -> Iterator[_Ground]:
    """One per frame, without end; of a single picture always the same."""
    still = isinstance(originals, np.ndarray) and originals.ndim == 3
    ground = None
    for picture in [originals] if still else originals:
        _check_original(picture, crop)
        ground = _Ground.of(picture, crop)
        yield ground
    if ground is None:
        raise PortraitError("The video to paste the face into has no frames; choose another.")
    if not still:
        log.warning("The video ends before the animated face does; its last frame is held.")
    while True:
        yield ground


class _Masks:
    """The mask at the size of the crop's box: fixed, or following landmarks."""

    def __init__(
        self, crop: Crop, face_box: FaceBox | None, track: LandmarkTrack | None, feather: float
    ) -> None:
        self._crop, self._face_box, self._track, self._feather = crop, face_box, track, feather
        x0, y0, x1, y1 = crop.box
        self._size = (x1 - x0, y1 - y0)
        self._resting = self._fixed(self._size, face_box)  # (H, W)
        self._allowed = None if track is None else self._fixed(self._size, None)  # (H, W)

    def edge(self, size: tuple[int, int]) -> Tensor:
        """Where the resting mask fades, `(h, w)`: the surroundings that the face must match."""
        mask = self._fixed(size, self._face_box)
        return mask * (1 - mask)

    def of_frame(self, number: int) -> Tensor:
        """Mask `(H, W)`: the moving face, and the face below, which must not show beside it."""
        if self._track is None:
            return self._resting
        points = self._track.points[min(number, self._track.num_frames - 1)]
        oval = torch.from_numpy(oval_mask(points, self._crop, OVAL_SIZE, self._feather))
        oval = resized(oval[None], self._size, mode="bilinear")[0]
        return oval.maximum(self._resting).minimum(self._allowed)

    def _fixed(self, size: tuple[int, int], face_box: FaceBox | None) -> Tensor:
        mask = paste_mask(self._crop, size, face_box=face_box, feather=self._feather)
        return torch.from_numpy(mask)


def _fitted(crop: Crop, frame: np.ndarray) -> Crop:
    """The crop at the size of the frames, which may have been enlarged meanwhile."""
    height, width = frame.shape[:2]
    if abs(width / crop.size[0] * crop.size[1] - height) > 1:
        raise PortraitError(
            f"The frames to paste are {width}x{height} pixels and the crop is "
            f"{crop.size[0]}x{crop.size[1]}; connect frames of the crop's shape."
        )
    return replace(crop, size=(width, height))


def _check_frame(frame: np.ndarray, number: int, crop: Crop) -> None:
    if frame.dtype != np.uint8 or frame.shape != (crop.size[1], crop.size[0], 3):
        raise PortraitError(
            f"Frame {number} to paste is {frame.dtype} {frame.shape}, but RGB frames in uint8 of "
            f"{crop.size[0]}x{crop.size[1]} pixels are needed."
        )


def _check_original(picture: np.ndarray, crop: Crop) -> None:
    width, height = crop.source_size
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise PortraitError(
            "The original to paste into must be an RGB picture of shape (height, width, 3) in "
            f"uint8, not {picture.shape} in {picture.dtype}."
        )
    if picture.shape[:2] != (height, width):
        raise PortraitError(
            f"The original to paste into is {picture.shape[1]}x{picture.shape[0]} pixels, but "
            f"the crop was taken from {width}x{height}; give the picture that was cropped."
        )

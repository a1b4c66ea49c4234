"""Where an animated face covers the original: soft, rounded shapes around the face."""

from __future__ import annotations

import numpy as np

from .face_box import Crop, FaceBox
from .mesh import CONTOUR

FEATHER = 0.12  # width of the fading edge, as a share of the crop's shorter side
GROWTH = 0.45  # the shape reaches this share of the face's size beyond it: hair and chin move too
CORNER = 0.3  # radius of the crop's rounded corners, as a share of its shorter side
FOREHEAD = (54, 103, 67, 109, 10, 338, 297, 332, 284)  # closes the contour to an oval
OVAL_GROWTH = 1.6  # the oval ends at the forehead and the jaw; the head reaches beyond

Box = tuple[float, float, float, float]


def paste_mask(
    crop: Crop, size: tuple[int, int], *, face_box: FaceBox | None = None, feather: float = FEATHER
) -> np.ndarray:
    """How much of the animated crop shows, float32 `(H, W)` in 0..1 at `size` (width, height).

    A rounded shape around the face (the crop, where no face box is known), which fades to 0
    over `feather` times the crop's shorter side and is 0 on the crop's border, except where that
    is the picture's border.
    """
    x, y, half_pixel = _centres(crop, size)
    depth = _depth(_open_box(crop), CORNER * _side(crop), x, y)  # (H, W)
    if face_box is not None:
        shape = _grown(face_box)
        depth = np.minimum(depth, _depth(shape, _shorter(shape) / 2, x, y))
    return _fade(depth - half_pixel, feather * _side(crop))


def oval_mask(points: np.ndarray, crop: Crop, size: tuple[int, int], feather: float) -> np.ndarray:
    """Likewise `(H, W)` for the face whose landmarks `(478, 3)` are in 0..1 of the crop."""
    x, y, _ = _centres(crop, size)
    x0, y0, x1, y1 = crop.box
    oval = points[[*CONTOUR, *FOREHEAD], :2] * (x1 - x0, y1 - y0) + (x0, y0)  # (n, 2)
    centre = (oval.min(axis=0) + oval.max(axis=0)) / 2
    away = oval - centre
    angles, radii = np.arctan2(away[:, 1], away[:, 0]), np.hypot(away[:, 0], away[:, 1])
    x, y = x - centre[0], y - centre[1]
    reach = OVAL_GROWTH * np.interp(np.arctan2(y, x), angles, radii, period=2 * np.pi)
    return _fade(reach - np.hypot(x, y), feather * _side(crop))


def _centres(crop: Crop, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres of `size` pixels over the crop, (1, W) and (H, 1) in the picture; half a pixel."""
    x0, y0, x1, y1 = crop.box
    step_x, step_y = (x1 - x0) / size[0], (y1 - y0) / size[1]
    x = x0 + (np.arange(size[0], dtype=np.float32)[None] + 0.5) * step_x
    y = y0 + (np.arange(size[1], dtype=np.float32)[:, None] + 0.5) * step_y
    return x, y, max(step_x, step_y) / 2


def _open_box(crop: Crop) -> Box:
    """The crop's box, continued where the picture ends: no edge can show there."""
    (x0, y0, x1, y1), (width, height) = crop.box, crop.source_size
    far = 2.0 * max(crop.source_size)
    return (
        x0 if x0 > 0 else -far,
        y0 if y0 > 0 else -far,
        x1 if x1 < width else width + far,
        y1 if y1 < height else height + far,
    )


def _grown(box: FaceBox) -> Box:
    x0, y0, x1, y1 = box
    pad_x, pad_y = GROWTH * (x1 - x0), GROWTH * (y1 - y0)
    return x0 - pad_x, y0 - pad_y, x1 + pad_x, y1 + pad_y


def _depth(box: Box, radius: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edge of a rounded box `(H, W)` in pixels of the picture, positive inside."""
    x0, y0, x1, y1 = box
    across = np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2 + radius  # (1, W)
    down = np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2 + radius  # (H, 1)
    corner = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return radius - corner - np.minimum(np.maximum(across, down), 0)


def _fade(depth: np.ndarray, width: float) -> np.ndarray:
    """0 at depth 0, 1 from `width` on, without corners in between."""
    t = np.clip(depth / max(width, 1e-6), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def _side(crop: Crop) -> float:
    return _shorter(crop.box)


def _shorter(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])

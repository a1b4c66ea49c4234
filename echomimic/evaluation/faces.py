"""Faces as the networks of measures want them: a square that follows the head, or aligned eyes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch.nn import functional as F

from ..landmarks.face_box import box_from_landmarks
from ..landmarks.track import LandmarkTrack

SYNC_SIZE = 224  # pixels
SYNC_CROP = "SyncNet, own crop"  # what scores must be called: S3FD's boxes differ a little
MARGIN = 0.4  # of the face's half size, on each side
GREY = 110  # beyond the picture
SMOOTH = 13  # frames, of the median that steadies the crop
ALIGNED_SIZE = 112
EYES_NOSE_MOUTH = ((468,), (473,), (4,), (61,), (291,))  # mesh points; left and right as pictured
ALIGNED = (  # where ArcFace and its kin want them, in a picture of 112x112
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
    (70.7299, 92.2041),
)  # fmt: skip


def sync_faces(frames: Iterable[np.ndarray], track: LandmarkTrack) -> Iterator[np.ndarray]:
    """The square around the face in each uint8 RGB frame (H, W, 3), uint8 (224, 224, 3).

    The box of the landmarks, grown to a detector's, steadied by a median over 13 frames, gives a
    square that reaches 40 % of the face's half size further at the sides and 80 % below, as in
    SyncNet's own pipeline. What lies outside of the picture is grey.
    """
    middles, halves = _boxes(track)
    for frame, (x, y), half in zip(frames, middles, halves, strict=False):
        side = half * (1 + MARGIN)
        centre = (x, y + half * MARGIN)
        yield _warped(frame, _square(centre, side, SYNC_SIZE), SYNC_SIZE)


def aligned_faces(frames: Iterable[np.ndarray], track: LandmarkTrack) -> Iterator[np.ndarray]:
    """Each face turned and scaled so that eyes, nose and mouth lie as identity networks expect:
    uint8 RGB (112, 112, 3)."""
    points = track.points[..., :2] * track.size
    found = np.stack([points[:, list(group)].mean(axis=1) for group in EYES_NOSE_MOUTH], axis=1)
    for frame, five in zip(frames, found, strict=False):
        yield _warped(frame, similarity(np.array(ALIGNED), five), ALIGNED_SIZE)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation, scale and shift (2, 3) that take points (n, 2) closest to (n, 2), no mirror.

    As complex numbers, least squares: https://en.wikipedia.org/wiki/Procrustes_analysis.
    """
    a, b = (points @ (1, 1j) for points in (source, target))
    centred = a - a.mean()
    turn = np.vdot(centred, b - b.mean()) / np.vdot(centred, centred)
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _boxes(track: LandmarkTrack) -> tuple[np.ndarray, np.ndarray]:
    """Middle (f, 2) and half the longer side (f,) of the face, in pixels, steadied."""
    boxes = np.array([box_from_landmarks(points, *track.size) for points in track.points])
    low, high = boxes[:, :2], boxes[:, 2:]
    half = (high - low).max(axis=1, keepdims=True) / 2
    steady = _median(np.concatenate([(low + high) / 2, half], axis=1))
    return steady[:, :2], steady[:, 2]


def _median(values: np.ndarray) -> np.ndarray:
    """Of 13 frames at each of (f, n); the first and last frames repeat beyond the ends."""
    reach = SMOOTH // 2
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH, axis=0), axis=-1)


def _square(centre: tuple[float, float], half: float, size: int) -> np.ndarray:
    """The map (2, 3) from pixels of a picture of `size` to those of the frame."""
    scale = 2 * half / size
    return np.array([[scale, 0, centre[0] - half], [0, scale, centre[1] - half]])


def _warped(frame: np.ndarray, to_frame: np.ndarray, size: int) -> np.ndarray:
    """The picture (size, size, 3) of which `to_frame` tells where in the frame it lies.

    Where the picture is smaller than its part of the frame, that part is averaged first.
    """
    height, width = frame.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() - GREY
    shrink = max(1.0, float(np.hypot(*to_frame[:, 0])))
    reduced = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    if shrink > 1:
        pixels = F.interpolate(pixels, reduced, mode="bilinear", antialias=True)
    # From -1..1 of the small picture to -1..1 of the frame, pixels being squares.
    centre = to_frame[:, 2] + to_frame[:, :2] @ (size / 2, size / 2)
    theta = np.concatenate(
        [to_frame[:, :2] * size / 2, (centre - (width / 2, height / 2))[:, None]], 1
    )
    theta = torch.from_numpy(theta / np.array([[width / 2], [height / 2]])).float()
    grid = F.affine_grid(theta[None], [1, 3, size, size], align_corners=False)
    cut = F.grid_sample(pixels, grid, align_corners=False)[0] + GREY
    return cut.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

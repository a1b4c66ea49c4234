"""Landmarks that other programs stored → a track (spec 8.4).

Read are directories of the official code (0.pkl, 1.pkl, ...: one frame each, in pixels of
512x512), arrays as .npy or .npz, and our own track files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import LandmarkError
from .array_pickle import read_array_pickle
from .arrays import read_npy, read_npz
from .mesh import NUM_POINTS, NUM_VERTICES, SYNC_PARTS, without_irises
from .track import LandmarkTrack
from .track_file import is_track, track_from_arrays

NAMES = ("landmarks", "points", "lmks")  # of the array in an .npz that holds several
LARGEST_SHARE = 2  # half of a face cannot lie further out; larger numbers are pixels
IRIS_RADIUS = 0.22  # of the distance between the corners of the eye, as MediaPipe finds it
EYES = {  # in the order of their irises; the corners from left to right in the picture
    "right_eye": (33, 133),
    "left_eye": (362, 263),
}


def import_landmarks(
    path: Path, *, fps: float = 24, size: tuple[int, int] = (512, 512)
) -> LandmarkTrack:
    """Landmarks of a directory of .pkl files or of a .pkl, .npy or .npz file.

    Arrays are (f, n, 2 or 3) or (n, 2 or 3) in pixels of `size` (width, height) or in 0..1; n is
    478 in MediaPipe's order, or 468 without irises, which are then put in the middle of the
    eyelids. Depth that is missing becomes 0. A track file keeps its own fps and size.
    Raises `LandmarkError`.
    """
    if not path.exists():
        raise LandmarkError(f"There is no file or directory {path}; check the name.")
    if path.is_dir():
        frames = _stack(_numbered(path), path)
    elif path.suffix == ".pkl":
        frames = read_array_pickle(path)
    elif path.suffix == ".npy":
        frames = read_npy(path)
    elif path.suffix == ".npz":
        arrays = read_npz(path)
        if is_track(arrays):
            return track_from_arrays(arrays, path)
        frames = _only_array(arrays, path)
    else:
        raise LandmarkError(
            f"{path} holds no landmarks that are known; give a directory of .pkl files, or a "
            ".npz, .npy or .pkl file."
        )
    points = _normalised(_checked(frames, path), size)
    if points.shape[1] == NUM_VERTICES:
        points = np.concatenate([points, *_irises(points, size)], axis=1)
    return LandmarkTrack(points, size, fps, source=path.name)


def _numbered(folder: Path) -> list[Path]:
    """0.pkl, 1.pkl, ... of the folder, in this order; raises `LandmarkError` if one is missing."""
    files = {int(file.stem): file for file in folder.glob("*.pkl") if file.stem.isdecimal()}
    if not files:
        raise LandmarkError(f"There are no frames 0.pkl, 1.pkl, ... in the directory {folder}.")
    missing = next(index for index in range(len(files) + 1) if index not in files)
    if missing < len(files):
        raise LandmarkError(
            f"The frame {missing}.pkl is missing in {folder}, which goes up to {max(files)}.pkl; "
            "number the frames from 0 without gaps."
        )
    return [files[index] for index in range(len(files))]


def _stack(files: list[Path], folder: Path) -> np.ndarray:
    frames = [read_array_pickle(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if frame.shape != frames[0].shape or frame.ndim != 2:
            raise LandmarkError(
                f"{file.name} in {folder} holds an array of {frame.shape}, but a frame is (478, 3) "
                f"or (478, 2), the same in all files ({files[0].name}: {frames[0].shape})."
            )
    return np.stack(frames)


def _only_array(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    known = [arrays[name] for name in NAMES if name in arrays]
    known = known or [array for array in arrays.values() if len(arrays) == 1]
    if not known:
        raise LandmarkError(
            f"{path.name} holds {', '.join(sorted(arrays)) or 'nothing'}; name the array of "
            f"landmarks {NAMES[0]!r}."
        )
    return known[0]


def _checked(frames: np.ndarray, path: Path) -> np.ndarray:
    """Points (f, n, 3), float64, of a topology that can be used."""
    frames = frames[None] if frames.ndim == 2 else frames
    if frames.dtype.kind not in "iuf" or frames.ndim != 3 or frames.shape[2] not in (2, 3):
        raise LandmarkError(
            f"{path.name} holds an array of {frames.dtype} and shape {frames.shape}; landmarks "
            f"are numbers of shape (frames, {NUM_POINTS}, 2 or 3)."
        )
    if not len(frames):
        raise LandmarkError(f"{path.name} holds no frames; extract the landmarks again.")
    _check_topology(frames.shape[1], path)
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        raise LandmarkError(
            f"The landmarks of {path.name} are not numbers in frame {int(finite.argmin())}; "
            "extract them again or leave that frame out."
        )
    depth = np.zeros((*frames.shape[:2], 3 - frames.shape[2]))
    return np.concatenate([frames.astype(np.float64), depth], axis=2)


def _check_topology(num_points: int, path: Path) -> None:
    if num_points == 68:
        raise LandmarkError(
            f"{path.name} holds 68 points per frame (dlib), which lack the pupils, the lower "
            "edges of the brows and all depth that the models and motion synchronisation need; "
            "extract the landmarks from the video with Landmark Extract instead."
        )
    if num_points not in (NUM_POINTS, NUM_VERTICES):
        raise LandmarkError(
            f"{path.name} holds {num_points} points per frame; landmarks of MediaPipe are "
            f"{NUM_POINTS}, or {NUM_VERTICES} without irises."
        )


def _normalised(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels of `size` → 0..1, depth in the unit of x; what is in 0..1 already stays."""
    if np.median(np.abs(points[..., :2])) <= LARGEST_SHARE:
        return points
    width, height = size
    return points / (width, height, width)


def _irises(points: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Both irises (f, 5, 3), looking straight ahead: centre, then right, top, left, bottom."""
    unit = np.array([size[0], size[1], size[0]])
    pixels = points * unit
    found = []
    for part, (left, right) in EYES.items():
        lids = list(without_irises(SYNC_PARTS[part]))
        centre = pixels[:, lids].mean(axis=1)  # (f, 3)
        along = (pixels[:, right] - pixels[:, left]) * (1, 1, 0) * IRIS_RADIUS
        across = along[:, [1, 0, 2]] * (1, -1, 0)  # upwards
        spokes = [np.zeros_like(along), along, across, -along, -across]
        found.append((centre[:, None] + np.stack(spokes, axis=1)) / unit)
    return found

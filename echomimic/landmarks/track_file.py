"""Landmark tracks as files: `.npz` that plain numpy reads, without pickles.

Points and mesh are cut to a grid that pixels do not notice, and arrays are stored with frames
running fastest (Fortran order), where neighbours resemble each other: a minute at 25 fps with
mesh, transforms and blendshapes takes about 8 MB instead of 36.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import LandmarkError, brief
from ..files import NotReplaced, replacing
from .arrays import check_size, read_npz
from .track import LandmarkTrack

VERSION = 1
VERSION_KEY = "echomimic_landmarks"  # tells our files from others
GRIDS = {  # key → steps per unit, and how to get onto the grid
    # Down, not to the nearest: pixel borders lie on the grid, so that no point crosses one.
    "points": (2.0**18, np.floor),
    "mesh": (2.0**9, np.rint),
    "blendshapes": (2.0**12, np.rint),
}
KINDS = {  # key → what it may hold (dtype.kind) and its number of axes
    "points": ("f", 3),
    "size": ("iu", 1),
    "fps": ("iuf", 0),
    "valid": ("b", 1),
    "parts": ("U", 1),
    "source": ("U", 0),
    "mesh": ("f", 3),
    "transforms": ("f", 3),
    "blendshapes": ("f", 2),
    "neutral": ("f", 2),
}
OPTIONAL = {"mesh", "transforms", "blendshapes", "neutral"}


def save_track(track: LandmarkTrack, path: Path) -> None:
    """Write a track to an .npz file, which appears when it is complete.

    What is loaded again lies less than 2^-18 of the picture (0.002 pixels of 512) left of and
    above what was saved and is drawn the same; the mesh is off by less than 2^-10 cm.
    Raises `LandmarkError` if it cannot be written, or would be longer than is read again.
    """
    if path.suffix != ".npz":
        raise LandmarkError(f"Landmark tracks are .npz files; give {path.name} this ending.")
    stored = {key: getattr(track, key) for key in KINDS}
    stored["parts"] = np.array(sorted(track.parts), dtype=np.str_)
    known = {
        key: np.asarray(value, order="F") for key, value in stored.items() if value is not None
    }
    arrays = {key: _on_grid(key, value) for key, value in known.items()}
    arrays[VERSION_KEY] = np.array(VERSION)
    check_size(path, sum(array.nbytes for array in arrays.values()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except (OSError, NotReplaced) as error:
        raise LandmarkError(
            f"The landmark track cannot be written to {path}: {error.strerror or error}."
        ) from error


def load_track(path: Path) -> LandmarkTrack:
    """Read a track that `save_track` wrote; raises `LandmarkError` for anything else."""
    return track_from_arrays(read_npz(path), path)


def read_valid(path: Path) -> np.ndarray:
    """Which frames of a track show a face, bool (f,), without reading the rest of it.

    Raises `LandmarkError` for what is no track.
    """
    arrays = read_npz(path, {"valid", VERSION_KEY})
    _check_version(arrays, path)
    valid = arrays.get("valid")
    if valid is None or valid.dtype.kind != "b" or valid.ndim != 1:
        raise LandmarkError(
            f"The landmark track {path.name} does not say which frames show a face (`valid`); save "
            "or extract it again."
        )
    return valid


def _on_grid(key: str, array: np.ndarray) -> np.ndarray:
    if key not in GRIDS:
        return array
    steps, snap = GRIDS[key]
    return (snap(array * steps) / steps).astype(np.float32)


def is_track(arrays: dict[str, np.ndarray]) -> bool:
    """Whether the arrays of an .npz say that they are a track, of whatever version."""
    return VERSION_KEY in arrays


def track_from_arrays(arrays: dict[str, np.ndarray], path: Path) -> LandmarkTrack:
    """The arrays of an .npz → the track; `path` is for messages. Raises `LandmarkError`."""
    _check_version(arrays, path)
    missing = sorted(KINDS.keys() - OPTIONAL - arrays.keys())
    if missing:
        raise LandmarkError(
            f"The landmark track {path.name} lacks {', '.join(missing)}; save or extract it again."
        )
    for key, (kinds, num_axes) in KINDS.items():
        array = arrays.get(key)
        if array is not None and (array.dtype.kind not in kinds or array.ndim != num_axes):
            raise LandmarkError(
                f"The {key} of the landmark track {path.name} are {array.dtype} of shape "
                f"{array.shape}, which is not what a track has; save or extract it again."
            )
    try:
        return LandmarkTrack(**_fields(arrays))
    except (LandmarkError, ValueError, OverflowError) as error:
        raise LandmarkError(f"{path.name} is not a usable landmark track: {error}") from error


def _check_version(arrays: dict[str, np.ndarray], path: Path) -> None:
    version = arrays.get(VERSION_KEY)
    if version is None:
        raise LandmarkError(
            f"{path.name} is not a landmark track of EchoMimic, it holds "
            f"{', '.join(sorted(arrays)) or 'nothing'}; import it instead of loading it."
        )
    if version.shape or version.dtype.kind not in "iu" or version != VERSION:
        raise LandmarkError(
            f"The landmark track {path.name} has the format version {brief(version)}, this "
            f"EchoMimic reads {VERSION}; update EchoMimic or extract the track again."
        )


def _fields(arrays: dict[str, np.ndarray]) -> dict:
    width, height = arrays["size"].tolist()
    floats = ("points", "mesh", "transforms", "blendshapes", "neutral")
    return {
        **{key: arrays[key].astype(np.float64) for key in floats if key in arrays},
        "size": (width, height),
        "fps": float(arrays["fps"]),
        "valid": arrays["valid"],
        "parts": frozenset(arrays["parts"].tolist()),
        "source": str(arrays["source"]),
    }

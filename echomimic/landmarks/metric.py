"""The face in space: MediaPipe's canonical face, and the mesh and pose behind its landmarks.

MediaPipe's public interface gives landmarks in the picture and no mesh. What it computes from them
is simple geometry, done here for all frames at once: the landmarks are taken back through the
camera to where a face of the canonical size would be, and the pose is the similarity that brings
the canonical face there.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import LandmarkError, WeightsError, brief
from .affine import apply_affine, fit_affine, fit_similarity
from .camera import FOCAL_LENGTH
from .detect import find_landmarker
from .mesh import EYELIDS, NUM_VERTICES
from .track import LandmarkTrack

METADATA = "geometry_pipeline_metadata_landmarks.binarypb"  # in the landmarker bundle
MAX_METADATA = 1 << 20  # bytes; the published file has 19 376
VERTEX_FLOATS = 5  # x, y, z and two texture coordinates
TENSORS = ("canonical_vertices", "procrustes_indices", "procrustes_weights")  # ComfyUI's names
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
LEAST_SCALE = 1e-6  # of a face on the camera's near plane; a face of one pixel in 8K has 1e-5
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, SafetensorError, LookupError, RuntimeError,
    ValueError, TypeError, AttributeError, ArithmeticError, EOFError,
)  # fmt: skip


@dataclass(frozen=True)
class Canonical:
    """MediaPipe's average face, upright and looking along +z."""

    vertices: np.ndarray  # (468, 3) float64, centimetres
    weights: np.ndarray  # (468,) float64; how much a point says about the pose, mostly 0


def find_canonical(folders: Sequence[Path]) -> Canonical | None:
    """The canonical face from the models in the folders or one level below; None without one.

    Taken from the landmarker bundle or from ComfyUI's own face detection model.
    """
    landmarker = find_landmarker(folders)
    if landmarker is not None:
        return read_canonical(landmarker)
    for folder in folders:
        for pattern in ("*.safetensors", "*/*.safetensors"):
            for path in sorted(Path(folder).glob(pattern)):
                if _is_core_model(path):
                    return read_canonical(path)
    return None


def read_canonical(path: Path) -> Canonical:
    """The canonical face in MediaPipe's `.task` or ComfyUI's `.safetensors`.

    Raises `WeightsError` where the file is missing, damaged or holds none.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"There is no model {path}; download face_landmarker.task.")
    read = _from_tensors if path.suffix == ".safetensors" else _from_bundle
    try:
        return read(path)
    except (*_DAMAGED, OSError) as error:
        raise WeightsError(
            f"{path.name} holds no canonical face ({brief(error)}); download face_landmarker.task "
            "again."
        ) from error


def with_mesh(track: LandmarkTrack, canonical: Canonical) -> LandmarkTrack:
    """The track with the metric mesh and pose of each frame, which its points alone determine.

    `camera.project` of both gives the points again. The irises follow the eyelids (spec 9.3).
    Raises `LandmarkError` where the points are no face, or have no depth: what was made for a
    portrait already, as the official code's files are, says nothing of a face in space.
    """
    extent = np.ptp(track.points, axis=1)  # (f, 3)
    flat = (extent[:, 2] == 0) & (extent[:, 0] > 0)
    if flat.any():
        raise LandmarkError(
            f"The landmarks of {track.source or 'the track'} have no depth in frame "
            f"{int(flat.argmax())}, so there is no face in space to synchronise; draw them as they "
            "are, or extract them again."
        )
    try:
        faces = _unprojected(track.points[:, :NUM_VERTICES], track.size, canonical)
        transforms = _fit_pose(canonical, faces)
        mesh = apply_affine(np.linalg.inv(transforms), faces)  # (f, 468, 3)
        mesh = _with_irises(mesh, track.points)
    except np.linalg.LinAlgError as error:
        raise LandmarkError(
            f"The points of {track.source or 'the track'} do not form a face ({error}); "
            "extract the track again."
        ) from error
    return replace(track, mesh=mesh, transforms=transforms)


def _unprojected(points: np.ndarray, size: tuple[int, int], canonical: Canonical) -> np.ndarray:
    """Normalised points (f, 468, 3) → camera space (f, 468, 3), centimetres.

    The depth of a face in a picture is known but for its scale. It is found in two rounds: from
    the flat picture, then from what the first round puts into space.
    """
    near = _on_near_plane(points, size)
    depth = near[..., 2:] - near[..., 2:].mean(axis=1, keepdims=True)  # (f, 468, 1)
    scale = _scale(canonical, near * (1, 1, -1))
    if scale.min() < LEAST_SCALE:
        raise np.linalg.LinAlgError(f"frame {int(scale.argmin())} is a single point")
    scale = scale * _scale(canonical, _at_scale(near, depth, scale))
    return _at_scale(near, depth, scale)


def _on_near_plane(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Normalised points → on a plane at distance 1 from the camera, y up, z in the unit of x."""
    height = 2 / FOCAL_LENGTH
    width = height * size[0] / size[1]
    return (points - (0.5, 0.5, 0)) * (width, -height, width)


def _at_scale(near: np.ndarray, depth: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Points (f, n, 3) out to where a face `scale` (f,) times as large has its true size."""
    distance = (depth + 1) / scale[:, None, None]  # (f, n, 1) from the camera
    return np.concatenate([near[..., :2] * distance, -distance], axis=-1)


def _scale(canonical: Canonical, points: np.ndarray) -> np.ndarray:
    """How many times as large as the canonical face the points (f, 468, 3) are, (f,)."""
    return np.linalg.norm(_fit_pose(canonical, points)[:, :3, 0], axis=1)


def _fit_pose(canonical: Canonical, points: np.ndarray) -> np.ndarray:
    """The similarity (f, 4, 4) that brings the canonical face to points (f, 468, 3)."""
    used = np.flatnonzero(canonical.weights)
    return fit_similarity(canonical.vertices[used], points[:, used], canonical.weights[used])


def _with_irises(mesh: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mesh (f, 468, 3) → (f, 478, 3)."""
    eyelids = list(EYELIDS)
    maps = [
        fit_affine(p[eyelids], m[eyelids]) for p, m in zip(points, mesh, strict=True)
    ]  # f x (4, 4)
    irises = apply_affine(np.stack(maps), points[:, NUM_VERTICES:])
    return np.concatenate([mesh, irises], axis=1)


def _is_core_model(path: Path) -> bool:
    try:
        with safe_open(path, "numpy") as file:
            return set(TENSORS) <= set(file.keys())
    except (SafetensorError, OSError):
        return False


def _from_tensors(path: Path) -> Canonical:
    with safe_open(path, "numpy") as file:
        vertices, indices, values = (file.get_tensor(name) for name in TENSORS)
    return _canonical(vertices, indices, values)


def _from_bundle(path: Path) -> Canonical:
    with zipfile.ZipFile(path) as bundle:
        if bundle.getinfo(METADATA).file_size > MAX_METADATA:
            raise ValueError(f"{METADATA} is far too large")
        vertices, weights = _metadata(bundle.read(METADATA))
    return _canonical(vertices[:, :3], np.array([*weights]), np.array([*weights.values()]))


def _canonical(vertices: np.ndarray, indices: np.ndarray, values: np.ndarray) -> Canonical:
    if vertices.shape != (NUM_VERTICES, 3) or not np.isfinite(vertices).all():
        raise ValueError(f"its mesh is not {NUM_VERTICES} points in space")
    if indices.shape != values.shape or indices.min() < 0 or indices.max() >= NUM_VERTICES:
        raise ValueError("its weights do not fit its mesh")
    weights = np.zeros(NUM_VERTICES)
    weights[indices.astype(np.int64)] = values
    if not (weights >= 0).all() or np.count_nonzero(weights) < 4:
        raise ValueError("its weights say nothing about a pose")
    return Canonical(vertices.astype(np.float64), weights)


def _metadata(message: bytes) -> tuple[np.ndarray, dict[int, float]]:
    """Vertices (n, 5) and weight per point: fields 1.3 and 2 of the geometry's metadata."""
    floats, weights = b"", {}
    for field, content in _fields(message):
        if field == (1, BYTES):
            # A list of floats may be stored as one field each, or as one for all.
            floats = b"".join(v for f, v in _fields(content) if f in ((3, FIXED32), (3, BYTES)))
        elif field == (2, BYTES):
            entry = dict(_fields(content))
            weights[entry[1, VARINT]] = struct.unpack("<f", entry[2, FIXED32])[0]
    return np.frombuffer(floats, dtype="<f4").reshape(-1, VERTEX_FLOATS), weights


def _fields(message: bytes) -> Iterator[tuple[tuple[int, int], int | bytes]]:
    """Each field of a protobuf message as ((number, wire type), value); raises `ValueError`.

    https://protobuf.dev/programming-guides/encoding: varints as int, everything else as bytes.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield (number, kind), value
            continue
        length = {FIXED32: 4, FIXED64: 8}.get(kind)
        if kind == BYTES:
            length, position = _varint(message, position)
        if length is None:
            raise ValueError("it is not a protobuf message")
        if position + length > len(message):
            raise ValueError("it ends early")
        yield (number, kind), message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            raise ValueError("it ends early")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it is not a protobuf message")

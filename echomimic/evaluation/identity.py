"""Whether the face of a clip is still that of the person: similarity of identity vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EvaluationError, WeightsError, brief
from ..landmarks.draw import opencv
from .networks import IdentityNetwork, Weights, known_file

SFACE_LICENCE = "Apache-2.0 (OpenCV's model zoo)"
SFACE_WIDTH = 128  # numbers of a vector


def identity_similarity(network: IdentityNetwork, faces: np.ndarray, real: np.ndarray) -> float:
    """Mean over generated faces, uint8 RGB (f, 112, 112, 3), of the cosine between their vector and
    the mean of the vectors of real ones; without unit, -1 to 1. Of a real clip with itself it is
    a little below 1, since faces of a clip differ.

    Known as CSIM (Zakharov et al. 2019, arXiv 1905.08233, with ArcFace: Deng et al. 2018, arXiv
    1801.07698). The network's name belongs to the figure, since those of two networks do not
    compare. Raises `EvaluationError` without faces.
    """
    if not len(faces) or not len(real):
        raise EvaluationError("Identity cannot be compared without a face on both sides.")
    ours, truth = (_unit(network.embed(part)) for part in (faces, real))
    return float((ours @ _unit(truth.mean(axis=0, keepdims=True))[0]).mean())


class SFace:
    """OpenCV's SFace, an `IdentityNetwork`, of an ONNX file that the user has.

    Source: Zhong et al. 2021, arXiv 2205.12010. It sees one face first, since OpenCV takes any
    ONNX file and makes something of most of them. Raises `WeightsError`.
    """

    name = "SFace"
    protocol = "faces aligned by landmarks to 112x112; mean over frames"

    def __init__(self, path: Path, *, sha256: str | None = None) -> None:
        self.weights: Weights = known_file(path, SFACE_LICENCE, sha256)
        self._network = _recogniser(Path(path))
        _check_vector(self._network, Path(path))

    def embed(self, faces: np.ndarray) -> np.ndarray:
        """uint8 RGB (f, 112, 112, 3) → (f, 128)."""
        bgr = np.ascontiguousarray(faces[..., ::-1])
        return np.concatenate([self._network.feature(face).reshape(1, -1) for face in bgr])


def _recogniser(path: Path) -> Any:
    cv2 = opencv()
    try:
        return cv2.FaceRecognizerSF.create(str(path), "")
    except cv2.error as error:
        raise _not_sface(path, brief(error)) from error


def _check_vector(network: Any, path: Path) -> None:
    """Refuse a network that does not make a vector of a face."""
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    try:
        vector = network.feature(face)
    except opencv().error as error:
        raise _not_sface(path, brief(error)) from error
    if vector.shape != (1, SFACE_WIDTH):
        raise _not_sface(path, f"a face gives {vector.shape} instead of (1, {SFACE_WIDTH})")
    if not np.isfinite(vector).all() or not vector.any():
        raise _not_sface(path, "a face gives zeros, or what is no number")


def _not_sface(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path.name} is not SFace, or damaged ({reason}); give "
        "face_recognition_sface_2021dec.onnx."
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)

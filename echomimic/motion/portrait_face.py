"""The portrait's own face, which the driver's motion is brought to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import LandmarkError
from ..landmarks.detect import Face, look, look_in_parts, open_landmarker
from ..landmarks.extract import MAX_FACES, PICTURE_FPS, track_from_faces
from ..landmarks.metric import read_canonical
from ..landmarks.portrait import Portrait
from ..landmarks.track import LandmarkTrack

BY_HAND = "set its eyes, nose and mouth by hand (node EchoMimic Place Face, or --portrait-points)"
WITHOUT_MEDIAPIPE = (
    "find it in the portrait's crop with ComfyUI's own node Detect Face Landmarks (MediaPipe) and "
    f"connect what EchoMimic Landmark Extract makes of that as portrait_landmarks, or {BY_HAND}"
)


def portrait_face(portrait: Portrait, landmarker: Path | None) -> LandmarkTrack:
    """The face in the portrait's crop, a track of one frame in the crop's coordinates.

    Of several, that of the portrait's face box; the largest where none is known. Raises
    `LandmarkError` where none is found, `WeightsError` for a missing or damaged landmarker file,
    `PortraitError` without MediaPipe.
    """
    pixels = ((portrait.image.float().cpu() + 1) * 127.5).clamp(0, 255).round()  # (3, H, W)
    pixels = pixels.to(torch.uint8).permute(1, 2, 0).contiguous()  # (H, W, 3)
    with open_landmarker(landmarker, MAX_FACES, instead=WITHOUT_MEDIAPIPE) as opened:
        faces = look(opened, pixels) or look_in_parts(opened, pixels)
    if not faces:
        width, height = portrait.crop.size
        raise LandmarkError(
            f"No face is found in the portrait's crop of {width}x{height} pixels; {BY_HAND}, or "
            "use a portrait from the front."
        )
    return track_from_faces(
        [[_portrayed(faces, portrait)]],
        size=portrait.crop.size,
        fps=PICTURE_FPS,
        canonical=read_canonical(landmarker),
        source="the portrait",
    )


def _portrayed(faces: list[Face], portrait: Portrait) -> Face:
    """The face of the face box among those in the crop, largest first."""
    if portrait.face_box is None:
        return faces[0]
    corners = np.array(portrait.face_box).reshape(2, 2)
    centre = portrait.crop.to_crop(corners).mean(axis=0) / portrait.crop.size
    return min(
        faces, key=lambda face: np.linalg.norm(np.reshape(face.box, (2, 2)).mean(axis=0) - centre)
    )


def check_face_in(portrait: Portrait, face: LandmarkTrack) -> None:
    """Raises `LandmarkError` unless the face lies in a picture of the size of the crop."""
    if tuple(face.size) != tuple(portrait.crop.size):
        (width, height), (crop_width, crop_height) = face.size, portrait.crop.size
        raise LandmarkError(
            f"The portrait's landmarks lie in a picture of {width}x{height} pixels and its crop "
            f"has {crop_width}x{crop_height}; extract them from the crop that EchoMimic Portrait "
            "returns."
        )

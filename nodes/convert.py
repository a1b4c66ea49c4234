"""Axes and value ranges change here and nowhere else: ComfyUI's types ↔ those of the library.

ComfyUI's IMAGE is (f, H, W, c) in 0..1, its LATENT (f, c, h, w) unscaled, its AUDIO (b, c, n).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import comfy.model_management
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..echomimic.config import LATENT_SCALE
from ..echomimic.errors import MediaError, OptionsError
from ..echomimic.landmarks.detect import Face
from ..echomimic.landmarks.face_box import FaceBox, box_from_landmarks, largest_box
from ..echomimic.landmarks.mesh import LINES, PARTS, SQUARES
from ..echomimic.landmarks.track import NUM_BLENDSHAPES, LandmarkTrack
from ..echomimic.media.sound import Audio


def picture_from_image(image: Tensor) -> np.ndarray:
    """The first picture of an IMAGE → uint8 (H, W, 3); raises `MediaError` without one."""
    if not image.numel():
        raise MediaError("The connected image holds no picture; connect one that does.")
    pixels = image[0].float().cpu()  # (H, W, c)
    pixels = pixels.expand(-1, -1, 3) if pixels.shape[-1] == 1 else pixels[..., :3]
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def image_from_pictures(pictures: Tensor) -> Tensor:
    """(f, 3, H, W) in -1..1 → IMAGE."""
    image = ((pictures + 1) / 2).clamp(0, 1).movedim(1, -1)  # (f, H, W, 3)
    return image.to(comfy.model_management.intermediate_device(), torch.float32)


def frames_from_image(image: Tensor) -> Iterator[np.ndarray]:
    """IMAGE → uint8 (H, W, 3), one after the other; transparency is left away."""
    return (picture_from_image(image[i : i + 1]) for i in range(len(image)))


def image_from_frames(frames: Iterable[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) → IMAGE; frames of one video, small enough to be held together."""
    levels = torch.from_numpy(np.stack(list(frames)))  # (f, H, W, 3)
    return levels.to(comfy.model_management.intermediate_device(), torch.float32).div_(255)


def pictures_from_image(image: Tensor) -> Tensor:
    """IMAGE → (f, 3, H, W) in -1..1."""
    return image[..., :3].movedim(-1, 1) * 2 - 1


def plane_from_mask(mask: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The first mask of a MASK, brought to `size` (height, width) → float32 (H, W) in 0..1.

    Raises `MediaError` without one.
    """
    if not mask.numel():
        raise MediaError("The connected mask is empty; connect one of the picture's size.")
    plane = mask.reshape(-1, *mask.shape[-2:])[:1, None].float().cpu()  # (1, 1, H, W)
    if plane.shape[-2:] != size:
        plane = F.interpolate(plane, size, mode="bilinear", antialias=True)
    return plane[0, 0].numpy()


def audio_from_comfy(audio: dict[str, Any]) -> Audio:
    """The first sound of an AUDIO; raises `MediaError` if there is none in it."""
    waveform = audio["waveform"]  # (b, c, n)
    if waveform.numel() == 0:
        raise MediaError("The audio is empty; connect one that has sound.")
    return Audio(waveform[0].float().cpu(), int(audio["sample_rate"]))


def audio_to_comfy(audio: Audio, duration: float) -> dict[str, Any]:
    """AUDIO of at most `duration` seconds."""
    samples = audio.samples[:, : round(duration * audio.sample_rate)]
    return {"waveform": samples[None], "sample_rate": audio.sample_rate}


def latent_from_latents(latents: Tensor) -> dict[str, Tensor]:
    """Scaled (f, c, h, w) → LATENT, frames on its batch axis."""
    device = comfy.model_management.intermediate_device()
    return {"samples": (latents / LATENT_SCALE).to(device)}


def latents_from_latent(latent: dict[str, Tensor]) -> Tensor:
    """LATENT → scaled (f, c, h, w); raises `OptionsError` for latents of other model families."""
    samples = latent["samples"]
    if samples.ndim != 4 or samples.shape[1] != 4:
        shape = "x".join(map(str, samples.shape))
        raise OptionsError(
            f"The latent has the shape {shape}, which is not of this family; "
            "connect the one that EchoMimic Sampler returns."
        )
    if not samples.numel():
        raise OptionsError("The latent holds no frames; connect one that EchoMimic Sampler made.")
    return samples * LATENT_SCALE


def box_from_bounding_boxes(boxes: Any) -> FaceBox:
    """The largest of the first frame's boxes: a dict, a list of dicts, or a list per frame."""
    found = [
        (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        for box in _dicts(boxes)
        if box.keys() >= {"x", "y", "width", "height"}
    ]
    if not found:
        raise OptionsError("The connected face_box holds no box; disconnect it to detect the face.")
    return largest_box(found)


def bounding_box_from_box(box: FaceBox) -> dict[str, int]:
    x0, y0, x1, y1 = (round(value) for value in box)
    return {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}


def box_from_face_landmarks(landmarks: dict[str, Any]) -> FaceBox:
    """The box of the largest face in the first frame of a FACE_LANDMARKS."""
    height, width = landmarks["image_size"]
    faces = landmarks["frames"][0] if landmarks["frames"] else []
    if not faces:
        raise OptionsError(
            "The connected face_landmarks holds no face; disconnect it to detect the face here."
        )
    size = np.array([width, height])
    return largest_box(
        [
            box_from_landmarks(np.asarray(face["landmarks_xy"])[:, :2] / size, width, height)
            for face in faces
        ]
    )


def faces_from_face_landmarks(landmarks: dict[str, Any]) -> list[list[Face]]:
    """The faces in each frame of a FACE_LANDMARKS."""
    height, width = landmarks["image_size"]
    return [[_face(face, width, height) for face in faces] for faces in landmarks["frames"]]


def _face(face: dict[str, Any], width: int, height: int) -> Face:
    """ComfyUI gives x and y in pixels, and depth in the unit of the turned square that its network
    looked at: the same points in that square tell how large it is."""
    points = np.asarray(face["landmarks_xy"], dtype=np.float64)[:, :2]
    raw = np.asarray(face["landmarks_3d"], dtype=np.float64)
    spread, raw_spread = (np.std(p, axis=0) for p in (points, raw[:, :2]))
    scale = np.linalg.norm(spread) / max(np.linalg.norm(raw_spread), 1e-9)
    landmarks = np.column_stack([points / (width, height), raw[:, 2] * scale / width])
    scores = np.array([*face.get("blendshapes", {}).values()], dtype=np.float64)
    return Face(landmarks, scores if len(scores) == NUM_BLENDSHAPES else None)


def _dicts(boxes: Any) -> Iterator[dict[str, float]]:
    if isinstance(boxes, dict):
        yield boxes
    elif boxes and isinstance(boxes[0], dict):
        yield from boxes
    elif boxes:
        yield from boxes[0]


def editor_from_track(track: LandmarkTrack, most: int) -> dict[str, Any]:
    """At most `most` frames of a track, evenly spread, as the editor in `js/` draws them.

    Only points that belong to a part travel, numbered anew; as integers in 1/10000 of the
    picture's width and height.
    """
    lines = {part: LINES[part] for part in PARTS if part in LINES}
    squares = {part: SQUARES[part] for part in PARTS if part in SQUARES}
    used = {point for group in lines.values() for line in group for point in line.points}
    used |= {square.point for group in squares.values() for square in group}
    number = {point: index for index, point in enumerate(sorted(used))}
    shown = np.linspace(0, track.num_frames - 1, min(most, track.num_frames)).round().astype(int)
    points = track.points[np.ix_(shown, sorted(used), [0, 1])] * 10_000  # (f, n, 2)
    return {
        "size": list(track.size),
        "fps": track.fps,
        "num_frames": track.num_frames,
        "shown": shown.tolist(),
        "lines": {
            part: [
                {"colour": list(line.colour), "points": [number[point] for point in line.points]}
                for line in group
            ]
            for part, group in lines.items()
        },
        "squares": {
            part: [
                {"colour": list(square.colour), "point": number[square.point]} for square in group
            ]
            for part, group in squares.items()
        },
        "points": points.round().astype(int).reshape(len(shown), -1).tolist(),
    }

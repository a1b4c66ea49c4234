"""What single frames are shown besides the portrait: their voice and their face."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .conditions import Conditions, DrawnFace
from .frame_memory import FrameMemory, Place, Values
from .models.landmark_encoder import LandmarkEncoder
from .models.memory import free_memory

MEMORY_SHARE = 0.1  # of the device's free memory, for what is kept of single frames
MAX_MEMORY = 2 * 2**30  # bytes
MAIN_MEMORY_SHARE = 0.25  # of the free main memory, for the face where the device's is too small


class FrameConditions:
    """The voice and the face of a clip, fetched by frame onto the compute device.

    Faces that move are drawn and encoded when they are first asked for, and kept as far as
    `memory` goes (bytes; None: a share of what is free).
    """

    def __init__(
        self,
        conditions: Conditions,
        *,
        device: torch.device,
        dtype: torch.dtype,
        landmark_encoder: LandmarkEncoder | None = None,  # for a face driven by landmarks
        memory: int | None = None,
    ) -> None:
        self.conditions, self.device, self.dtype = conditions, device, dtype
        self._face, self._landmark_encoder = conditions.face, landmark_encoder
        if isinstance(self._face, DrawnFace):
            places = [(device, frame_memory(device, memory)), *_main_memory(device)]
            length = conditions.num_frames
            self._moving = FrameMemory(self._encode_face, length, places, device=device)
        elif len(self._face) == 1:  # the standing face mask; others are fetched by window
            self._face = self._face.to(device, dtype)

    def audio_tokens(self, frames: Sequence[int], width: int) -> Tensor:
        """Audio tokens of these frames, (f, m, width); without a voice one of zeros (spec 5.6)."""
        audio = self.conditions.audio
        tokens = torch.zeros(len(frames), 1, width) if audio is None else audio.tokens(frames)
        return tokens.to(self.device, self.dtype)

    def face(self, frames: Sequence[int]) -> Tensor:
        """Landmark features of these frames, (1 or f, d, h, w); one where the face stands still."""
        if isinstance(self._face, DrawnFace):
            return self._moving(frames)["face"][0]
        if len(self._face) == 1:
            return self._face
        return self._face[list(frames)].to(self.device, self.dtype)

    def _encode_face(self, frames: Sequence[int]) -> Values:
        images = self._face.images(frames).to(self.device, self.dtype)  # (f, 3, H, W)
        return {"face": (self._landmark_encoder(images),)}


def frame_memory(device: torch.device, given: int | None = None) -> int:
    """Bytes on `device` for what is kept of single frames: those given, or a share of the free."""
    if given is not None:
        return given
    return min(MAX_MEMORY, int(MEMORY_SHARE * free_memory(device)))


def _main_memory(device: torch.device) -> list[Place]:
    if device.type == "cpu":
        return []
    cpu = torch.device("cpu")
    return [(cpu, int(MAIN_MEMORY_SHARE * free_memory(cpu)))]

"""The conditions of a clip from what is connected to a node, for whichever sampler follows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE

from ..echomimic.audio.tokens import AudioTrack
from ..echomimic.conditions import (
    Conditions,
    DrawnFace,
    check_driving,
    encode_face,
    landmarks_of_clip,
    reference_features,
)
from ..echomimic.config import Compatibility
from ..echomimic.denoiser import activation_bytes
from ..echomimic.landmarks.portrait import Portrait
from ..echomimic.landmarks.track import LandmarkTrack
from .model import check_same_variant, compute_dtype, variant_of
from .runtime import borrowed
from .vae import ComfyVAE


@dataclass(frozen=True)
class Networks:
    """What EchoMimic Model Loader gives out. Raises `OptionsError` for parts of different sets."""

    model: ModelPatcher
    reference_unet: ModelPatcher
    landmark_encoder: ModelPatcher
    vae: VAE

    def __post_init__(self) -> None:
        check_same_variant(self.model, self.reference_unet, self.landmark_encoder)


def prepare(
    networks: Networks,
    portrait: Portrait,
    audio_track: AudioTrack | None,
    landmarks: LandmarkTrack | None,
    end: str,
    compatibility: Compatibility | None = None,
) -> Conditions:
    """Read the portrait and bind voice and landmarks to it; `end` is a choice of `ENDS`.

    Raises `OptionsError` where the variant cannot be driven by what is given.
    """
    check_driving(variant_of(networks.model), driven=landmarks is not None)
    landmarks = landmarks_of_clip(audio_track, landmarks, end)
    face = _face(networks, portrait, landmarks)
    reference = _reference(networks, portrait, compatibility or Compatibility())
    return Conditions(reference, audio_track, face)


def _face(
    networks: Networks, portrait: Portrait, landmarks: LandmarkTrack | None
) -> torch.Tensor | DrawnFace:
    with borrowed(networks.landmark_encoder) as encoder:
        return encode_face(
            encoder,
            portrait,
            variant_of(networks.model),
            landmarks,
            device=networks.landmark_encoder.load_device,
            dtype=compute_dtype(encoder),
        )


def _reference(
    networks: Networks, portrait: Portrait, compatibility: Compatibility
) -> dict[str, torch.Tensor]:
    patcher = networks.reference_unet
    # before the UNet needs the room
    latents = ComfyVAE(networks.vae).encode(portrait.image[None])
    config, dtype = patcher.model.config, compute_dtype(patcher.model)
    memory = activation_bytes(config, 1, latents.shape[-2:], dtype)
    with borrowed(patcher, memory) as unet:
        return reference_features(unet, latents.to(patcher.load_device, dtype), compatibility)

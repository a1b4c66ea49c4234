"""All that the sampler knows of a clip, built once and never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .audio.tokens import AudioTrack, num_frames, num_states_heard, official_num_frames
from .audio.whisper import AudioEncoder, encode_speech
from .config import Compatibility, Variant
from .errors import OptionsError
from .landmarks.portrait import Portrait
from .models.landmark_encoder import LandmarkEncoder, encode_landmarks
from .models.unet import UNet
from .models.vae import VAE

MAX_FPS = 120


@dataclass(frozen=True)
class Conditions:
    """Portrait, voice and face of one clip, as the denoising UNet takes them."""

    reference: Mapping[str, Tensor]  # features of the reference UNet by block name, (1, m, d)
    audio: AudioTrack
    face: Tensor  # landmark features (1 or f, d, h, w); one when the face mask stands still

    @property
    def num_frames(self) -> int:
        """Length of the clip: that of the voice, cut to the landmarks where they move (D7)."""
        moving = len(self.face) > 1
        return min(self.audio.num_frames, len(self.face)) if moving else self.audio.num_frames

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.face.shape[-2], self.face.shape[-1]


@torch.inference_mode()
def encode_reference(
    reference_unet: UNet,
    vae: VAE,
    portrait: Portrait,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    compatibility: Compatibility | None = None,
) -> dict[str, Tensor]:
    """The portrait as the reference UNet sees it: features by block name, (1, m, d) (spec 3.3).

    `device` and `dtype` are those of the computation. The features stay on `device`.
    """
    latents = vae.encode(portrait.image[None])  # (1, 4, h, w)
    return reference_features(reference_unet, latents.to(device, dtype), compatibility)


def reference_features(
    reference_unet: UNet, latents: Tensor, compatibility: Compatibility | None = None
) -> dict[str, Tensor]:
    """Features by block name of reference latents (1, 4, h, w); rounded to half if asked (D17)."""
    features, _ = reference_unet.reference_features(latents)
    if compatibility is not None and compatibility.reference_dtype == "float16":
        features = {name: value.half().to(value) for name, value in features.items()}
    return features


@torch.inference_mode()
def encode_face(
    encoder: LandmarkEncoder,
    portrait: Portrait,
    variant: Variant,
    landmark_images: Tensor | None = None,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Tensor:
    """What drives the face besides the voice, as features (1 or f, d, h, w).

    Audio variants take the portrait's face mask, landmark variants the landmark images
    (f, 3, H, W) in 0..1. Raises `OptionsError` where the input does not suit the variant.
    """
    wants_landmarks = variant.landmark_channels == 3
    if wants_landmarks and landmark_images is None:
        raise OptionsError(
            f"Variant {variant.name!r} is driven by landmarks and was given none; "
            "choose 'audio' or 'audio_acc', or connect landmark images."
        )
    if not wants_landmarks and landmark_images is not None:
        raise OptionsError(
            f"Variant {variant.name!r} takes no landmarks; "
            "choose 'landmark' or 'landmark_acc', or leave the landmarks out."
        )
    images = portrait.face_mask[None] if landmark_images is None else landmark_images
    if images.shape[1] != encoder.config.in_channels:
        raise OptionsError(
            f"The landmark encoder reads {encoder.config.in_channels} channels but variant "
            f"{variant.name!r} gives it {images.shape[1]}; use the one that belongs to the model."
        )
    return encode_landmarks(encoder, images, device=device, dtype=dtype)


def encode_voice(
    encoder: AudioEncoder,
    speech: Tensor,
    *,
    fps: float,
    length: int | None = None,
    compatibility: Compatibility = Compatibility(),  # noqa: B008 (frozen)
    on_progress: Callable[[int, int], None] | None = None,
) -> AudioTrack:
    """16 kHz mono speech (n,) → the voice of a clip of ceil(seconds * fps) frames.

    `length` cuts it to so many frames. Raises `OptionsError` for a frame rate or length that
    cannot be.
    """
    if not 0 < fps <= MAX_FPS:
        raise OptionsError(f"fps must be above 0 and at most {MAX_FPS}, not {fps}.")
    if length is not None and length < 1:
        raise OptionsError(f"length must be 1 frame or more, not {length}.")
    states = encode_speech(
        encoder,
        speech,
        hard_windows=compatibility.hard_audio_windows,
        num_states=length and num_states_heard(length, fps),
        on_progress=on_progress,
    )
    if compatibility.official_num_frames:
        frames = official_num_frames(len(states), fps)
    else:
        frames = num_frames(len(speech), fps)
    return AudioTrack(states, fps, frames if length is None else min(frames, length))

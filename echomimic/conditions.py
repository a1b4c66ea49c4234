"""All that the sampler knows of a clip, built once and never changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .audio.tokens import AudioTrack, num_frames, num_states_heard, official_num_frames
from .audio.whisper import AudioEncoder, encode_speech
from .config import LATENT_STRIDE, Compatibility, Variant
from .errors import OptionsError
from .landmarks.draw import Reduction, landmark_images
from .landmarks.portrait import Portrait
from .landmarks.track import LandmarkTrack
from .models.landmark_encoder import LandmarkEncoder
from .models.unet import UNet
from .models.vae import VAE
from .motion.retime import fit_track, part_of_track

log = logging.getLogger(__name__)

MAX_FPS = 120
MAX_STRETCH = 0.02  # of the aspect, before a warning


@dataclass(frozen=True)
class DrawnFace:
    """A face driven by landmarks, drawn frame by frame when the sampler gets there."""

    track: LandmarkTrack  # of the clip's frame rate, in the portrait's picture
    size: tuple[int, int]  # width, height of the video in pixels
    reduction: Reduction = "linear"  # of the drawing, as the landmark encoder was trained

    def __len__(self) -> int:
        return self.track.num_frames

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.size[1] // LATENT_STRIDE, self.size[0] // LATENT_STRIDE

    def images(self, frames: Sequence[int]) -> Tensor:
        """Landmark images (f, 3, H, W) in 0..1."""
        return landmark_images(self.track, self.size, frames, reduction=self.reduction)

    def part(self, start: int, stop: int) -> DrawnFace:
        """Frames start to stop - 1, which count from 0 there."""
        return replace(self, track=part_of_track(self.track, start, stop))


@dataclass(frozen=True)
class Conditions:
    """Portrait, voice and face of one clip, as the denoising UNet takes them."""

    reference: Mapping[str, Tensor]  # features of the reference UNet by block name, (1, m, d)
    audio: AudioTrack | None  # None: no voice, its tokens are zero as in training (spec 5.6)
    face: Tensor | DrawnFace  # features (1 or f, d, h, w); one when the face mask stands still

    @property
    def num_frames(self) -> int:
        """Length of the clip: that of the voice, cut to the landmarks where they move (D7)."""
        lengths = [] if self.audio is None else [self.audio.num_frames]
        if isinstance(self.face, DrawnFace) or len(self.face) > 1:
            lengths.append(len(self.face))
        return min(lengths)

    @property
    def fps(self) -> float:
        """Frames per second of what drives the clip."""
        if self.audio is not None:
            return self.audio.fps
        if not isinstance(self.face, DrawnFace):
            raise OptionsError("A face mask alone drives nothing; give a voice or landmarks.")
        return self.face.track.fps

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        if isinstance(self.face, DrawnFace):
            return self.face.latent_size
        return self.face.shape[-2], self.face.shape[-1]

    def part(self, start: int, stop: int) -> Conditions:
        """The conditions of frames start to stop - 1, which count from 0 there."""
        audio = None if self.audio is None else self.audio.part(start, stop)
        if isinstance(self.face, DrawnFace):
            face = self.face.part(start, stop)
        else:
            face = self.face[start:stop] if len(self.face) > 1 else self.face
        return replace(self, audio=audio, face=face)


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
    landmarks: LandmarkTrack | None = None,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Tensor | DrawnFace:
    """What drives the face besides the voice.

    Audio variants take the portrait's face mask, as features (1, d, h, w); landmark variants the
    landmarks, in the portrait's picture, which are drawn and encoded while sampling; the joint
    variant without landmarks nothing, as in training. Raises `OptionsError` where the input does
    not suit the variant.
    """
    check_driving(variant, driven=landmarks is not None)
    if encoder.config.in_channels != variant.landmark_channels:
        raise OptionsError(
            f"The landmark encoder reads {encoder.config.in_channels} channels but variant "
            f"{variant.name!r} gives it {variant.landmark_channels}; use the one that belongs to "
            "the model."
        )
    if landmarks is not None:
        _warn_of_another_picture(landmarks, portrait.crop.size)
        return DrawnFace(landmarks, portrait.crop.size, encoder.config.drawing)
    if variant.takes_landmarks:
        return no_face(encoder.config.out_channels, portrait.crop.size).to(device, dtype)
    return encoder(portrait.face_mask[None].to(device, dtype))


def no_face(channels: int, size: tuple[int, int]) -> Tensor:
    """Features (1, channels, h, w) of no landmarks at all, for a video of `size`."""
    return torch.zeros(1, channels, size[1] // LATENT_STRIDE, size[0] // LATENT_STRIDE)


def check_driving(variant: Variant, *, driven: bool) -> None:
    """Raise `OptionsError` for a landmark variant without landmarks, or the other way round."""
    if variant.needs_landmarks and not driven:
        raise OptionsError(
            f"Variant {variant.name!r} is driven by landmarks and was given none; give it "
            "landmarks, or choose 'audio' or 'audio_acc' (denoising_unet without _pose)."
        )
    if driven and not variant.takes_landmarks:
        raise OptionsError(
            f"Variant {variant.name!r} takes no landmarks; choose 'landmark' or 'landmark_acc' "
            "(denoising_unet_pose), or leave the landmarks out."
        )


def _warn_of_another_picture(landmarks: LandmarkTrack, size: tuple[int, int]) -> None:
    width, height = landmarks.size
    stretched = abs(width * size[1] / (height * size[0]) - 1) > MAX_STRETCH
    just_extracted = landmarks.mesh is not None and landmarks.neutral is None
    if stretched or just_extracted:
        log.warning(
            "The landmarks are those of a face in another picture (%dx%d), not of the portrait's; "
            "fit them to it by motion synchronisation.", width, height,
        )  # fmt: skip


def landmarks_of_clip(
    audio: AudioTrack | None, landmarks: LandmarkTrack | None, end: str = "hold"
) -> LandmarkTrack | None:
    """The landmarks as they go with the voice; which of the two is given decides the mode.

    With a voice they take its frame rate and length, and where they are shorter, `end` says how
    they go on (`motion.retime`). Without one they decide both. Raises `OptionsError` if nothing
    is given.
    """
    if audio is None and landmarks is None:
        raise OptionsError("Nothing drives the face: give it a voice, landmarks, or both.")
    if audio is None or landmarks is None:
        return landmarks
    return fit_track(landmarks, audio.num_frames, audio.fps, end)


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

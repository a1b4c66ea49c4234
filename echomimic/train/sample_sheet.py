"""Short clips of held-out people, made while training: what the numbers do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..audio.tokens import AudioTrack
from ..conditions import Conditions, DrawnFace, no_face, reference_features
from ..config import SamplingOptions, Variant
from ..denoiser import Denoiser, sample_clip
from ..landmarks.mesh import DRAWN_BY_DEFAULT, PARTS
from ..media.image import write_image
from ..media.video import to_uint8
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from ..models.vae import DiffusersVAE
from .clips import Clip

SHOWN = 6  # frames of each clip on the sheet
ALL_PARTS = frozenset(PARTS) - {"contour"}
DRIVEN_BY = {  # name → hears the voice, landmarks that are drawn (None: no landmarks)
    "audio": (True, None),
    "landmarks": (False, ALL_PARTS),
    "both": (True, DRAWN_BY_DEFAULT),
}


@dataclass(frozen=True)
class SampleSheet:
    """Held-out clips and what the frozen networks know of them."""

    clips: Sequence[Clip]
    voices: Sequence[Tensor]  # audio states of each clip, (n, layer, d)
    variant: Variant
    options: SamplingOptions

    @property
    def modes(self) -> dict[str, tuple[bool, frozenset[str] | None]]:
        """What the variant can be driven by."""
        if self.variant.landmarks_optional:
            return DRIVEN_BY
        return {"both": (True, ALL_PARTS)} if self.variant.takes_landmarks else {
            "audio": DRIVEN_BY["audio"]}  # fmt: skip

    @torch.no_grad()
    def write(
        self,
        path: Path,
        *,
        reference_unet: UNet,
        denoising_unet: UNet,
        landmark_encoder: LandmarkEncoder,
        vae: AutoencoderKL,
    ) -> dict[str, float]:
        """Rows of truth and of every mode for each clip; returns the mean PSNR of each mode."""
        decoder = DiffusersVAE(vae)
        rows: list[np.ndarray] = []
        errors: dict[str, list[float]] = {mode: [] for mode in self.modes}
        for clip, states in zip(self.clips, self.voices, strict=True):
            truth = np.stack([clip.frame(f) for f in range(clip.num_frames)])
            image = torch.from_numpy(truth[0]).permute(2, 0, 1)[None] / 127.5 - 1
            features = reference_features(reference_unet, decoder.encode(image))
            rows.append(_strip(truth))
            for mode in self.modes:
                conditions = self._conditions(clip, states, mode, features, landmark_encoder)
                denoiser = Denoiser(
                    denoising_unet, conditions, device=vae.device, dtype=torch.float32,
                    landmark_encoder=landmark_encoder,
                )  # fmt: skip
                latents = sample_clip(
                    denoiser, self.variant, self.options, reference_unet=reference_unet
                )
                frames = to_uint8(decoder.decode(latents))
                rows.append(_strip(frames))
                errors[mode].append(float(np.square(frames / 255.0 - truth / 255.0).mean()))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.concatenate(rows))
        return {
            f"psnr_{mode}": -10 * float(np.log10(np.mean(squares)))
            for mode, squares in errors.items()
        }

    def _conditions(
        self,
        clip: Clip,
        states: Tensor,
        mode: str,
        features: dict[str, Tensor],
        landmark_encoder: LandmarkEncoder,
    ) -> Conditions:
        hears, parts = self.modes[mode]
        audio = AudioTrack(states, clip.fps, clip.num_frames) if hears else None
        if parts is None and self.variant.takes_landmarks:
            face: Tensor | DrawnFace = no_face(landmark_encoder.config.out_channels, clip.size)
        elif parts is None:
            device = landmark_encoder.conv_in.weight.device
            face = landmark_encoder(clip.face_mask()[None].to(device))
        else:
            face = DrawnFace(clip.track_with(parts), clip.size, landmark_encoder.config.drawing)
        return Conditions(features, audio, face)


def _strip(frames: np.ndarray) -> np.ndarray:
    """Frames spread over the clip, side by side: (f, H, W, 3) → (H, SHOWN * W, 3)."""
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    return np.concatenate(list(frames[chosen]), axis=1)

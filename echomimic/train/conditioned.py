"""One training step of both paper stages: conditions through their networks, losses per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..config import LATENT_SCALE
from ..models.attention import KeysValues
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from .losses import add_noise, latent_loss, predicted_z0, spatial_loss, v_target

Perceptual = Callable[[Tensor, Tensor], Tensor]  # two batches of pictures → distances (b,)


@dataclass(frozen=True)
class Objective:
    """The paper's loss: latent loss + `spatial_weight` * w(t) * (L2 + LPIPS) (eq. 2-4)."""

    spatial_weight: float = 0.1  # lambda, not given in the paper
    snr_gamma: float | None = 5.0  # None: all timesteps weigh the same
    difference_weight: float = 0.0  # of the error of differences between neighbouring frames


class ConditionedTraining(nn.Module):
    """Reference UNet, denoising UNet and landmark encoder; the VAE decodes for the spatial loss.

    A sample has one reference picture and n targets: single frames in stage 1, a clip of n frames
    in stage 2, which is so if the denoising UNet has motion modules.
    """

    def __init__(
        self,
        reference_unet: UNet,
        denoising_unet: UNet,
        landmark_encoder: LandmarkEncoder,
        vae: AutoencoderKL,
        objective: Objective,
        perceptual: Perceptual | None = None,
        *,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.reference_unet = reference_unet
        self.denoising_unet = denoising_unet
        self.landmark_encoder = landmark_encoder
        self.vae = vae
        self.objective = objective
        self.perceptual = perceptual
        if gradient_checkpointing:
            reference_unet.gradient_checkpointing = denoising_unet.gradient_checkpointing = True
            vae.enable_gradient_checkpointing()

    @property
    def is_temporal(self) -> bool:
        return self.denoising_unet.config.motion is not None

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of `samples.Sample`, stacked, → losses (b,)."""
        clean, noise, t = batch["latents"], batch["noise"], batch["t"]  # (b, n, c, h, w), t (b, n)
        samples, n = t.shape
        noisy = add_noise(clean.flatten(0, 1), noise.flatten(0, 1), t.flatten())
        v = self._predict(noisy, batch).float()
        truth = v_target(clean.flatten(0, 1), noise.flatten(0, 1), t.flatten())
        weights = batch["latent_weights"].flatten(0, 1)  # (b n, 1, h, w)
        latent = latent_loss(
            v, truth, t.flatten(), snr_gamma=self.objective.snr_gamma, mask=weights
        )
        latent = latent.unflatten(0, (samples, n)).mean(dim=1)
        losses = {"latent": latent, "loss": latent}
        if self.objective.difference_weight:
            change = (v - truth).unflatten(0, (samples, n)).diff(dim=1)
            losses["difference"] = change.square().flatten(1).mean(dim=1)
            losses["loss"] = (
                losses["loss"] + self.objective.difference_weight * losses["difference"]
            )
        if self.objective.spatial_weight:
            losses["spatial"] = self._spatial(noisy, v, batch)
            losses["loss"] = losses["loss"] + self.objective.spatial_weight * losses["spatial"]
        return losses

    def _predict(self, noisy: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """v of noisy latents (b n, c, h, w), every condition dropped where the sample says so."""
        samples, n = batch["t"].shape
        features, motion = self._read(batch)
        shown = batch["with_reference"].bool()  # (b,)
        clips = 1 if self.is_temporal else n
        known = self.denoising_unet.project_reference(features)
        v = self.denoising_unet(
            noisy,
            batch["t"][:, 0] if self.is_temporal else batch["t"].flatten(),
            num_frames=n if self.is_temporal else 1,
            with_reference=shown.repeat_interleave(clips).cpu().tolist(),
            reference=_shown(known, shown, clips),
            audio=self.denoising_unet.project_audio(batch["audio"].flatten(0, 1)),
            face=self._face(batch),
            motion=motion,
        )
        # All references may be dropped in one process: its gradients must exist all the same.
        return v + 0.0 * sum(feature.float().mean() for feature in features.values())

    def _read(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Features of the reference pictures (b, m, d), and of the motion frames (b, k, m, d).

        The latter are zeros where they are left out, as at the start of a video in sampling.
        """
        reference = batch["reference"]  # (b, c, h, w)
        if "motion" not in batch:
            return self.reference_unet.reference_features(reference)[0], None
        samples, frames = batch["motion"].shape[:2]
        latents = torch.cat([reference, batch["motion"].flatten(0, 1)])
        features, _ = self.reference_unet.reference_features(latents)
        keep = batch["with_motion"].to(reference)[:, None, None, None]
        motion = {
            name: feature[samples:].unflatten(0, (samples, frames)) * keep
            for name, feature in features.items()
        }
        return {name: feature[:samples] for name, feature in features.items()}, motion

    def _face(self, batch: dict[str, Tensor]) -> Tensor:
        """Landmark features (b n, d, h, w); zeros where there are none, as in sampling."""
        samples, n = batch["t"].shape
        images = batch["landmarks"].float() / 255  # (b, n, c, H, W)
        encoded = self.landmark_encoder(images.flatten(0, 1))
        keep = batch["with_landmarks"].to(encoded).repeat_interleave(n)
        return encoded * keep[:, None, None, None]

    def _spatial(self, noisy: Tensor, v: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Pixel loss of one-step estimates, on some frames of some samples (eq. 3-4); (b,).

        Samples weigh as `spatial_scale` says: 0, or more than 1, for those that do not count too.
        """
        samples, n = batch["t"].shape
        chosen = batch["spatial_frames"]  # (b, k), numbers of targets
        rows = (chosen + n * torch.arange(samples, device=chosen.device)[:, None]).flatten()
        counted = batch["spatial_scale"].bool().repeat_interleave(chosen.shape[1])
        rows = rows[counted]
        losses = v.new_zeros(len(counted))
        if len(rows):
            t = batch["t"].flatten()[rows]
            images = batch["images"].flatten(0, 1)[counted].float() / 127.5 - 1
            losses[counted] = spatial_loss(
                self._decode,
                predicted_z0(noisy[rows], v[rows], t),
                images,
                t,
                perceptual=self.perceptual,
            )
        return losses.unflatten(0, (samples, -1)).mean(dim=1) * batch["spatial_scale"]

    def _decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / LATENT_SCALE).sample.float()


def _shown(
    known: Mapping[str, KeysValues], shown: Tensor, clips: int
) -> dict[str, KeysValues] | None:
    """Keys and values of the samples that are shown their reference, once for each clip."""
    if not shown.any():
        return None
    return {
        name: tuple(part[shown].repeat_interleave(clips, dim=0) for part in parts)
        for name, parts in known.items()
    }

"""Before stage 1, for a model from scratch: the VAE on single frames, then its decoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..config import LATENT_SCALE
from ..media.image import write_image
from ..models.vae import DiffusersVAE
from .cache import encoder_digest
from .clips import Clip
from .draws import generator
from .export import export_vae
from .trainable import freeze_all_but_trainable


@dataclass(frozen=True)
class VAESettings:
    """What the VAE stage minimises."""

    kl_weight: float = 1e-6  # of the divergence of the posterior from a normal distribution
    squared_weight: float = 1.0  # of the squared error beside the absolute one
    edge_weight: float = 0.5  # of the error of the differences between neighbouring pixels
    mouth_weight: float = 6.0  # of pixels around the mouth, others having 1
    eyes_weight: float = 6.0
    latent_noise: float = 0.0  # on latents of deviation 1: those that were sampled are not exact


class VAETraining(nn.Module):
    """Pictures through the VAE and back; per-sample losses."""

    def __init__(self, vae: AutoencoderKL, settings: VAESettings) -> None:
        super().__init__()
        self.vae = vae
        self.settings = settings

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """images (b, 3, H, W) uint8, weights (b, 1, H, W), noise (b, c, h, w) → losses (b,)."""
        images = batch["images"].float() / 127.5 - 1
        posterior = self.vae.encode(images).latent_dist
        amount = (posterior.var + (self.settings.latent_noise / LATENT_SCALE) ** 2).sqrt()
        latents = posterior.mean + amount * batch["noise"].to(amount)
        error = self.vae.decode(latents).sample.float() - images
        weights = batch["weights"] / batch["weights"].mean(dim=(1, 2, 3), keepdim=True)
        absolute = (weights * error.abs()).mean(dim=(1, 2, 3))
        squared = (weights * error.square()).mean(dim=(1, 2, 3))
        edges = sum(
            (weights.narrow(axis, 1, error.shape[axis] - 1) * error.diff(dim=axis).abs()).mean(
                dim=(1, 2, 3)
            )
            for axis in (2, 3)
        )
        mean, variance = posterior.mean.float(), posterior.var.float()
        kl = 0.5 * (mean.square() + variance - variance.log() - 1).mean(dim=(1, 2, 3))
        s = self.settings
        loss = absolute + s.squared_weight * squared + s.edge_weight * edges + s.kl_weight * kl
        return {"loss": loss, "absolute": absolute, "squared": squared, "edges": edges, "kl": kl}


class VAEStage:
    """The stage that the engine runs; a sample is one frame of one clip.

    "vae" trains all of it. "decoder" goes on with what makes pictures of latents; these stay as
    they are, so that it can run at any time after "vae".
    """

    def __init__(
        self,
        name: str,
        vae: AutoencoderKL,
        clips: Sequence[Clip],
        held_out: Sequence[Clip],
        settings: VAESettings,
        seed: int,
    ) -> None:
        self.name = name
        self.module = VAETraining(vae, settings)
        self._trainable = freeze_all_but_trainable(self.name, self.module)
        self.notes: dict[str, Any] = {}
        self.stands_on = {"latents": encoder_digest(vae)} if name == "decoder" else {}
        self._clips, self._held_out = clips, held_out
        self._settings, self._seed = settings, seed

    def trainable(self) -> dict[str, nn.Parameter]:
        return self._trainable

    def fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """One frame for each sample index, with the weight of each pixel."""
        samples = [self._sample(index) for index in indices]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, index: int) -> dict[str, Tensor]:
        draw = generator(self._seed, self.name, index)
        clip = self._choose(draw)
        frame = int(torch.randint(clip.num_frames, (), generator=draw))
        image = torch.from_numpy(clip.frame(frame)).permute(2, 0, 1)  # (3, H, W)
        height, width = image.shape[1:]
        weights = clip.weight_map(
            frame, (width, height),
            mouth=self._settings.mouth_weight, eyes=self._settings.eyes_weight,
        )  # fmt: skip
        channels = self.module.vae.config.latent_channels
        noise = torch.randn(channels, height // 8, width // 8, generator=draw)
        return {"images": image, "weights": torch.from_numpy(weights)[None], "noise": noise}

    def describe(self, index: int) -> str:
        return f"clip {self._choose(generator(self._seed, self.name, index)).name}"

    def _choose(self, draw: torch.Generator) -> Clip:
        return self._clips[int(torch.randint(len(self._clips), (), generator=draw))]

    @torch.no_grad()
    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """PSNR on held-out frames, whole and in the boxes; writes pictures over reconstructions."""
        if not self._held_out:
            return {}
        vae = DiffusersVAE(self.module.vae)
        shown, whole, boxes = [], [], []
        for clip in self._held_out[:32]:
            picture = clip.frame(clip.num_frames // 2)
            image = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
            decoded = vae.decode(vae.encode(image)).float().cpu()
            error = (decoded.clamp(-1, 1) - image) / 2
            size = (picture.shape[1], picture.shape[0])
            inside = torch.from_numpy(
                clip.weight_map(clip.num_frames // 2, size, mouth=2.0, eyes=2.0) > 1
            )
            whole.append(error.square().mean())
            boxes.append(error.square().mean(dim=1)[0][inside].mean())
            shown.append(np.concatenate([picture, _to_uint8(image + 2 * error)]))
        freeze_all_but_trainable(self.name, self.module)  # reading a VAE freezes all of it
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"vae-{step:06d}.png", np.concatenate(shown[:12], axis=1))
        return {"psnr": _psnr(whole), "psnr_boxes": _psnr(boxes)}

    def export(self, folder: Path) -> list[Path]:
        if self.name == "vae":
            standardise(self.module.vae, [clip.frame(0) for clip in self._clips[:512]])
        return [export_vae(self.module.vae, folder)]


@torch.no_grad()
def standardise(vae: AutoencoderKL, pictures: Sequence[np.ndarray]) -> None:
    """Make scaled latents of mean 0 and deviation 1 in each channel, without changing pictures.

    Noise schedules assume that; the published VAE fulfils it by its scale of 0.18215 (spec 3.3).
    The change is folded into the two 1x1 convolutions around the latents, which undo each other.
    """
    wrapped = DiffusersVAE(vae)
    latents = torch.cat([
        wrapped.encode(torch.from_numpy(np.stack(pictures[i : i + 16])).movedim(-1, 1) / 127.5 - 1)
        for i in range(0, len(pictures), 16)
    ]) / LATENT_SCALE  # fmt: skip
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    gain = 1 / (LATENT_SCALE * deviation)
    channels = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    # Moments are means, then logarithms of variances.
    quant.weight[:channels].mul_(gain[:, None, None, None])
    quant.bias[:channels].sub_(mean).mul_(gain)
    quant.bias[channels:].add_(2 * gain.log())
    post.bias.add_((post.weight[:, :, 0, 0] * mean).sum(dim=1))
    post.weight.div_(gain[None, :, None, None])


def _psnr(squared_errors: Sequence[Tensor]) -> float:
    """Decibels, of the mean over pictures; errors are of values in 0..1."""
    return float(-10 * torch.stack(list(squared_errors)).mean().log10())


def _to_uint8(image: Tensor) -> np.ndarray:
    """(1, 3, H, W) in -1..1 → (H, W, 3)."""
    return ((image[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()

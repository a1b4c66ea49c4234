"""Feature spaces of the Fréchet distances: none needs published weights, so each has a name.

They are spaces of our own. Their distances are no FID, FVD or E-FID, and compare with nothing but
each other, at equal numbers of films.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from echomimic.media.video import to_uint8
from echomimic.pipeline import EchoMimic
from echomimic.puppets.meter import Reading

CLIP, STRIDE, GRID = 16, 8, 2  # frames of a clip, frames between clips, cells along each side
SPACES = {  # name → what it is
    "picture": "the channels of the VAE encoder's middle block, averaged over the picture; a "
    "sample is a frame (in the place of FID)",
    "motion": f"the VAE's four latent channels on a grid of {GRID}x{GRID}: their means over "
    f"{CLIP} frames and their mean absolute changes from frame to frame; a sample is a clip of "
    f"{CLIP} frames, one beginning every {STRIDE} (in the place of FVD)",
    "expression": "what the puppets' meter reads: height of the mouth, whites of the eyes, middle "
    "between the eyes (x, y) and tilt; a sample is a frame with open eyes (in the place of E-FID)",
}
BATCH = 16


@torch.no_grad()
def described(model: EchoMimic, frames: np.ndarray, read: Reading) -> dict[str, np.ndarray]:
    """Rows (n, d) of each space."""
    with model.networks.use("vae") as vae:
        encoder, pictures, latents = vae.model.encoder, [], []
        for batch in _images(frames).to(vae.device, vae.dtype).split(BATCH):
            x = encoder.conv_in(batch)
            for block in encoder.down_blocks:
                x = block(x)
            pictures.append(encoder.mid_block(x).mean(dim=(2, 3)).float().cpu())
            latents.append(F.adaptive_avg_pool2d(vae.encode(batch), GRID).flatten(1).float().cpu())
    return {
        "picture": torch.cat(pictures).numpy(),
        "motion": _clips(torch.cat(latents).numpy()),
        "expression": _readings(read),
    }


@torch.no_grad()
def round_trip(model: EchoMimic, frames: np.ndarray) -> np.ndarray:
    """Frames through the VAE and back: what no sampler can do better."""
    with model.networks.use("vae") as vae:
        parts = [
            to_uint8(vae.decode(vae.encode(batch.to(vae.device, vae.dtype))).float())
            for batch in _images(frames).split(BATCH)
        ]
    return np.concatenate(parts)


def _images(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).movedim(-1, 1).float() / 127.5 - 1


def _clips(values: np.ndarray) -> np.ndarray:
    """Values (f, d) → means and mean absolute changes of clips, (n, 2 d)."""
    length = min(CLIP, len(values))
    starts = range(0, len(values) - length + 1, STRIDE)
    parts = [values[start : start + length] for start in starts]
    changes = [np.abs(np.diff(part, axis=0)).mean(axis=0) for part in parts]
    return np.stack([np.r_[part.mean(axis=0), change]
                     for part, change in zip(parts, changes, strict=True)])  # fmt: skip


def _readings(read: Reading) -> np.ndarray:
    rows = np.column_stack([read.mouth, read.eyes, read.centre, read.tilt])
    return rows[np.isfinite(rows).all(axis=1)]

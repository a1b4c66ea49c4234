"""The I3D network of FVD, as the TorchScript file that the user has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..errors import EvaluationError, WeightsError, brief
from .networks import Weights, known_file
from .resize import resized

CLIP = 16  # frames; also the step from one clip to the next
SIZE = (224, 224)
LOGITS = 400  # classes of Kinetics
LICENCE = "none is stated (port of Google's FVD model, trained on Kinetics-400)"


class I3DFeatures:
    """FVD's features of clips, a `FeatureNetwork`: 400 logits of every 16 frames.

    TorchScript is a program, so its checksum must be given: nothing of another file is run. It
    sees a black clip first, so that another program is found out before clips are measured.
    Source: Unterthiner et al. 2018, arXiv 1812.01717, in the form of StyleGAN-V's
    `i3d_torchscript.pt`. Raises `WeightsError`.
    """

    name = "FVD I3D Kinetics-400"
    protocol = "16 frames, then the next 16; antialiased to 224x224, -1..1, 400 logits"

    def __init__(self, path: Path, *, sha256: str, device: str = "cpu") -> None:
        if not sha256:
            raise WeightsError(
                f"{Path(path).name} is TorchScript, which is a program; give the sha256 of the "
                "file that you trust, or it is not run."
            )
        self.weights: Weights = known_file(path, LICENCE, sha256)
        self._network = _loaded(Path(path), device)
        self._device = device
        self.features(np.zeros((CLIP, *SIZE, 3), np.uint8))

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (f, H, W, 3) → (f // 16, 400) float32; raises `EvaluationError` below 16."""
        count = len(frames) // CLIP
        if not count:
            raise EvaluationError(
                f"FVD needs clips of at least {CLIP} frames; this one has {len(frames)}."
            )
        clips = [frames[CLIP * i : CLIP * (i + 1)] for i in range(count)]
        return np.concatenate([self._clip(clip) for clip in clips])

    def _clip(self, frames: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(frames).to(self._device).movedim(-1, 1).float()  # (16, 3, H, W)
        images = resized(images, SIZE, "antialias") / 127.5 - 1
        clip = images.movedim(0, 1)[None]  # (1, 3, 16, 224, 224)
        try:
            logits = self._network(clip, rescale=False, resize=False, return_features=True)
        except (RuntimeError, TypeError) as error:
            raise self._not_i3d(brief(error)) from error
        given = logits.numel() if isinstance(logits, torch.Tensor) else type(logits).__name__
        if given != LOGITS:
            raise self._not_i3d(f"a clip gives {given} instead of {LOGITS} numbers")
        return logits.reshape(1, -1).float().cpu().numpy()

    def _not_i3d(self, reason: str) -> WeightsError:
        return WeightsError(
            f"{self.weights.file} is not the I3D of FVD ({reason}); give i3d_torchscript.pt."
        )


def _loaded(path: Path, device: str) -> torch.jit.ScriptModule:
    try:
        return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(
            f"{path.name} is no TorchScript, or damaged; give i3d_torchscript.pt."
        ) from error

"""SyncNet: a mouth and a sound of a fifth of a second, each as a point; together when in step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..config import AUDIO_RATE
from ..errors import EvaluationError, WeightsError
from ..weights.read import read_state
from .mfcc import mfcc

FPS = 25
SIZE = 224  # pixels of the face's square
WINDOW = 5  # frames that are seen at once
COLUMNS = 4  # of the cepstrum per frame
SAMPLES = AUDIO_RATE // FPS  # per frame
BATCH = 8  # windows at once: 40 MB in the first layer
SOURCE = "syncnet_v2.model of joonson/syncnet_python"
LICENCE = "research use (VGG, Oxford: CC BY)"


class SyncNet(nn.Module):
    """Both branches and their heads, named as in the published file.

    Source: Chung and Zisserman 2016, doi 10.1007/978-3-319-54427-4_19; layers as in evaluation
    facts, 6.3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1),
            *_block(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_block(nn.Conv2d(192, 384, 3, padding=1)),
            *_block(nn.Conv2d(384, 256, 3, padding=1)),
            *_block(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_block(nn.Conv2d(256, 512, (5, 4))),
        )
        flat, shift = (1, 3, 3), (0, 1, 1)
        self.netcnnlip = nn.Sequential(
            *_block(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d(flat, (1, 2, 2)),
            *_block(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), shift)),
            nn.MaxPool3d(flat, (1, 2, 2), shift),
            *_block(nn.Conv3d(256, 256, flat, padding=shift)),
            *_block(nn.Conv3d(256, 256, flat, padding=shift)),
            *_block(nn.Conv3d(256, 256, flat, padding=shift)),
            nn.MaxPool3d(flat, (1, 2, 2)),
            *_block(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud, self.netfclip = _head(), _head()

    def lips(self, frames: Tensor) -> Tensor:
        """Windows (b, 3, 5, 224, 224) of blue, green, red in 0..255 → (b, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))

    def sounds(self, cepstra: Tensor) -> Tensor:
        """Windows (b, 1, 13, 20) → (b, 1024)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))


@torch.no_grad()
def embed(model: SyncNet, faces: np.ndarray, samples: np.ndarray) -> tuple[Tensor, Tensor]:
    """Faces at 25 fps, uint8 RGB (f, 224, 224, 3), and their sound, int16 (n,) at 16 kHz → lips
    and sounds, float32 (windows, 1024) each.

    There are min(f, n / 640) - 5 windows, one less than would fit, as in the original. Raises
    `EvaluationError` for faces of another form, and where not a single window fits.
    """
    count = num_windows(len(faces), len(samples))
    if faces.dtype != np.uint8 or faces.shape[1:] != (SIZE, SIZE, 3):
        raise EvaluationError(
            f"SyncNet sees faces as uint8 (f, {SIZE}, {SIZE}, 3), not {faces.dtype} {faces.shape}."
        )
    device = next(model.parameters()).device
    cepstrum = torch.from_numpy(mfcc(samples).T.astype(np.float32).copy())  # (13, columns)
    lips, sounds = [], []
    for start in range(0, count, BATCH):
        windows = range(start, min(start + BATCH, count))
        lips.append(model.lips(_pictures(faces, windows).to(device)).cpu())
        heard = [cepstrum[None, :, COLUMNS * i : COLUMNS * (i + WINDOW)] for i in windows]
        sounds.append(model.sounds(torch.stack(heard).to(device)).cpu())
    return torch.cat(lips), torch.cat(sounds)


def num_windows(num_frames: int, num_samples: int) -> int:
    """How many windows a clip has; raises `EvaluationError` if none."""
    count = min(num_frames, num_samples // SAMPLES) - WINDOW
    if count < 1:
        raise EvaluationError(
            f"SyncNet needs {WINDOW + 1} frames at {FPS} fps with their sound; there are "
            f"{num_frames} frames and {num_samples / AUDIO_RATE:.2f} s of sound."
        )
    return count


def read_syncnet(path: Path) -> SyncNet:
    """SyncNet of the file that the user has: the published one, or the same as safetensors.

    It does not come with this package and nothing stands in for it. Raises `WeightsError`.
    """
    with torch.device("meta"):
        model = SyncNet()
    expected = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    state = read_state(path)[0]
    wrong = [name for name in expected if name not in state or state[name].shape != expected[name]]
    if wrong:
        raise WeightsError(
            f"{path} is not SyncNet: {wrong[0]} is missing or of another shape; give {SOURCE}."
        )
    model = SyncNet()
    model.load_state_dict({name: state[name].float() for name in expected}, strict=False)
    return model.eval().requires_grad_(False)


def _pictures(faces: np.ndarray, windows: range) -> Tensor:
    """(b, 3, 5, 224, 224), colours in the order of OpenCV."""
    part = torch.from_numpy(faces[windows.start : windows.stop + WINDOW - 1, ..., ::-1].copy())
    clip = part.permute(3, 0, 1, 2).float()  # (3, frames, 224, 224)
    return clip.unfold(1, WINDOW, 1).permute(1, 0, 4, 2, 3)


def _block(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm3d if isinstance(convolution, nn.Conv3d) else nn.BatchNorm2d
    return convolution, norm(convolution.out_channels), nn.ReLU(inplace=True)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))

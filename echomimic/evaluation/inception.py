"""The Inception network of FID, of a file that the user has.

It is TensorFlow's of 2015-12-05 and not torchvision's of ImageNet: average pools do not count
what is padded, and the last block takes the maximum instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import WeightsError
from ..weights.read import read_state
from .networks import Weights, known_file
from .resize import Resize, resized

SIZE = (299, 299)
FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d"  # its beginning, which stands in the name
LICENCE = "Apache-2.0"
BATCH = 16  # always the same: float32 sums depend on it
EPS = 1e-3  # of the batch norms


class Inception(nn.Module):
    """Up to the last average, named as in the file; (b, 3, 299, 299) in -1..1 → (b, 2048).

    Source: Szegedy et al. 2015, arXiv 1512.00567; evaluation facts, 2.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _MixedA(192, 32)
        self.Mixed_5c = _MixedA(256, 64)
        self.Mixed_5d = _MixedA(288, 64)
        self.Mixed_6a = _MixedB()
        self.Mixed_6b = _MixedC(128)
        self.Mixed_6c = _MixedC(160)
        self.Mixed_6d = _MixedC(160)
        self.Mixed_6e = _MixedC(192)
        self.Mixed_7a = _MixedD()
        self.Mixed_7b = _MixedE(1280, maximum=False)
        self.Mixed_7c = _MixedE(2048, maximum=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)  # (b, 192, 35, 35)
        for name, block in self.named_children():
            x = block(x) if name.startswith("Mixed") else x
        return x.mean(dim=(2, 3))


class InceptionFeatures:
    """FID's features of frames, a `FeatureNetwork`: pool3, 2048 of each frame.

    `resize` "tf1" is torch-fidelity's and torchmetrics' (`antialias=False`) definition. Raises
    `WeightsError` for a file that is not the published one, unless its own `sha256` is given.
    """

    name = "FID Inception 2015-12-05"

    def __init__(
        self, path: Path, *, resize: Resize = "tf1", sha256: str | None = None, device: str = "cpu"
    ) -> None:
        self.weights: Weights = known_file(path, LICENCE, sha256 or SHA256)
        self.protocol = f"every frame, {resize} to 299x299, (x - 128) / 128, pool3 of 2048"
        self._resize: Resize = resize
        self._network = read_inception(path).to(device)
        self._device = device

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (f, H, W, 3) → (f, 2048) float32."""
        parts = []
        for start in range(0, len(frames), BATCH):
            images = torch.from_numpy(frames[start : start + BATCH]).to(self._device)
            images = resized(images.movedim(-1, 1).float(), SIZE, self._resize)
            parts.append(self._network((images - 128) / 128).cpu().numpy())
        return np.concatenate(parts)


def read_inception(path: Path) -> Inception:
    """The network of a file with its tensors; classifier and counters are not needed.

    Raises `WeightsError`.
    """
    with torch.device("meta"):
        model = Inception()
    expected = {n: t for n, t in model.state_dict().items() if not n.endswith("batches_tracked")}
    state = read_state(path)[0]
    for name, tensor in expected.items():
        if name not in state or state[name].shape != tensor.shape:
            raise WeightsError(
                f"{path} is not the Inception of FID: {name} is missing or of another shape; give "
                f"{FILE}."
            )
    model = Inception()
    model.load_state_dict({name: state[name].float() for name in expected}, strict=False)
    return model.eval().requires_grad_(False)


class _Conv(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], **options: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _MixedA(nn.Module):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1 = _Conv(inputs, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], dim=1)


class _MixedB(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _Conv(288, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(288, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class _MixedC(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        across, down = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, width, 1)
        self.branch7x7_2 = _Conv(width, width, **across)
        self.branch7x7_3 = _Conv(width, 192, **down)
        self.branch7x7dbl_1 = _Conv(768, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, **down)
        self.branch7x7dbl_3 = _Conv(width, width, **across)
        self.branch7x7dbl_4 = _Conv(width, width, **down)
        self.branch7x7dbl_5 = _Conv(width, 192, **across)
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], dim=1)


class _MixedD(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(768, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(768, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], dim=1)


class _MixedE(nn.Module):
    def __init__(self, inputs: int, *, maximum: bool) -> None:
        super().__init__()
        self._maximum = maximum
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self._maximum else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three), self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            dim=1,
        )  # fmt: skip


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

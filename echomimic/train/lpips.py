"""LPIPS v0.1 with the features of VGG16, of files that the user has (evaluation facts, 5).

The backbone is that of torchvision (`vgg16-397923af.pth`), the heads those of the authors
(`weights/v0.1/vgg.pth`); neither comes with this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsError
from ..weights.read import SUFFIXES, read_state

WIDTHS = (64, 128, 256, 512, 512)  # of the five groups of convolutions
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each group; a head reads the last one's features
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the three colours
EPS = 1e-8  # inside the root: the gradient of features that are all zero is a number
FEATURE = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
HEAD = re.compile(r"lin(\d)\.model\.1\.weight")


class LPIPS(nn.Module):
    """Distance of two pictures as people see it: how much deep features of VGG16 differ."""

    def __init__(self) -> None:
        super().__init__()
        self.groups, width = nn.ModuleList(), 3
        for channels, depth in zip(WIDTHS, DEPTHS, strict=True):
            inputs = [width] + [channels] * (depth - 1)
            self.groups.append(nn.ModuleList(nn.Conv2d(i, channels, 3, padding=1) for i in inputs))
            width = channels
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in WIDTHS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """(b, 3, H, W) in -1..1 twice → (b,); in full precision, whatever the rest runs in."""
        with torch.autocast(images.device.type, enabled=False):
            return self.distances(images.float(), others.float()).sum(dim=1)

    def distances(self, images: Tensor, others: Tensor) -> Tensor:
        """That of each group of convolutions, (b, 5)."""
        both = self._features(torch.cat([images, others]))
        parts = []
        for features, head in zip(both, self.heads, strict=True):
            a, b = _unit(features).chunk(2)
            parts.append(head((a - b).square()).mean(dim=(1, 2, 3)))
        return torch.stack(parts, dim=1)

    def _features(self, images: Tensor) -> list[Tensor]:
        x, features = (images - self.shift) / self.scale, []
        for number, group in enumerate(self.groups):
            x = F.max_pool2d(x, 2) if number else x
            for convolution in group:
                x = F.relu(convolution(x))
            features.append(x)
        return features


def read_lpips(path: Path) -> LPIPS:
    """LPIPS of a file that holds backbone and heads, or of a folder that holds a file of each.

    Raises `WeightsError` if something of either is missing or of another network.
    """
    model = LPIPS()
    state = {ours: tensor for name, tensor in _tensors(path).items() if (ours := _renamed(name))}
    for name, expected in model.state_dict().items():
        if name in ("shift", "scale"):
            state[name] = expected
        elif name not in state:
            raise WeightsError(f"{path} cannot be used for LPIPS: {_missing(name)}")
        elif state[name].shape != expected.shape:
            raise WeightsError(
                f"{path} cannot be used for LPIPS: {name} is {list(state[name].shape)} instead of "
                f"{list(expected.shape)}; give the files of VGG16, not of another network."
            )
    model.load_state_dict({name: state[name].float() for name in model.state_dict()})
    return model.eval().requires_grad_(False)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if not path.is_dir():
        return read_state(path)[0]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    return {name: tensor for file in files for name, tensor in read_state(file)[0].items()}


def _renamed(name: str) -> str | None:
    """Our name of a tensor; None for those of no use, such as VGG16's classifier."""
    if head := HEAD.fullmatch(name):
        return f"heads.{head[1]}.weight"
    feature = FEATURE.fullmatch(name)
    place = feature and _PLACES.get(int(feature[1]))
    return f"groups.{place[0]}.{place[1]}.{feature[2]}" if place else None


def _places() -> dict[int, tuple[int, int]]:
    """Group and number of each convolution by its number among VGG16's layers."""
    places, layer = {}, 0
    for group, depth in enumerate(DEPTHS):
        for number in range(depth):
            places[layer] = (group, number)
            layer += 2  # a convolution and its ReLU
        layer += 1  # pooling
    return places


_PLACES = _places()


def _missing(name: str) -> str:
    if name.startswith("heads."):
        return (
            f"the head lin{name.split('.')[1]}.model.1.weight is missing; put LPIPS' vgg.pth "
            "(v0.1) beside the backbone in a folder and give the folder."
        )
    return (
        "the backbone VGG16 is missing or not whole; put torchvision's vgg16-397923af.pth beside "
        "the heads in a folder and give the folder."
    )


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + EPS).sqrt()

"""LPIPS v0.1 with the features of VGG16 or AlexNet, of files that the user has (evaluation
facts, 5).

The backbone is that of torchvision (`vgg16-397923af.pth`, `alexnet-owt-7be5be79.pth`), the heads
those of the authors (`weights/v0.1/vgg.pth`, `alex.pth`); none comes with this package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsError
from ..weights.read import SUFFIXES, read_state

Kernel = tuple[int, int, int]  # size, stride, padding of a convolution


@dataclass(frozen=True)
class Backbone:
    """A network of five groups of convolutions; a head reads the last features of each."""

    name: str
    file: str  # torchvision's
    heads: str  # the authors'
    widths: tuple[int, ...]  # channels of each group
    layers: tuple[tuple[int, ...], ...]  # torchvision's numbers of its convolutions
    kernels: tuple[Kernel, ...]  # of the convolutions of each group
    pool: tuple[int, int]  # size and stride
    pooled: tuple[int, ...]  # groups before which features are pooled


BACKBONES = {
    "vgg": Backbone(
        "VGG16", "vgg16-397923af.pth", "vgg.pth", (64, 128, 256, 512, 512),
        ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), ((3, 1, 1),) * 5,
        (2, 2), (1, 2, 3, 4),
    ),
    "alex": Backbone(
        "AlexNet", "alexnet-owt-7be5be79.pth", "alex.pth", (64, 192, 384, 256, 256),
        ((0,), (3,), (6,), (8,), (10,)), ((11, 4, 2), (5, 1, 2), *((3, 1, 1),) * 3),
        (3, 2), (1, 2),
    ),
}  # fmt: skip
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the three colours
EPS = 1e-8  # inside the root: the gradient of features that are all zero is a number
SMALLEST = 32  # pixels; of less the deepest features hold nothing
FEATURE = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
HEAD = re.compile(r"lin(\d)\.model\.1\.weight")


class LPIPS(nn.Module):
    """Distance of two pictures as people see it: how much deep features of a network differ.

    0 for equal pictures, without unit, no upper bound; around 0.5 for unrelated ones. Source:
    Zhang et al. 2018, arXiv 1801.03924.
    """

    def __init__(self, backbone: Backbone = BACKBONES["vgg"]) -> None:
        super().__init__()
        self.backbone = backbone
        self.groups, width = nn.ModuleList(), 3
        for channels, layers, kernel in zip(
            backbone.widths, backbone.layers, backbone.kernels, strict=True
        ):
            inputs = [width] + [channels] * (len(layers) - 1)
            self.groups.append(nn.ModuleList(nn.Conv2d(i, channels, *kernel) for i in inputs))
            width = channels
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in backbone.widths)
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
            x = F.max_pool2d(x, *self.backbone.pool) if number in self.backbone.pooled else x
            for convolution in group:
                x = F.relu(convolution(x))
            features.append(x)
        return features


def read_lpips(path: Path, backbone: str = "vgg") -> LPIPS:
    """LPIPS of a file that holds backbone and heads, or of a folder that holds a file of each.

    `backbone` is a key of `BACKBONES`: training uses VGG16, published evaluations AlexNet, and
    values of the two do not compare. Raises `WeightsError` if something of either is missing or
    of another network.
    """
    chosen = BACKBONES[backbone]
    model, places = LPIPS(chosen), _places(chosen)
    state = {
        ours: tensor for name, tensor in _tensors(path).items() if (ours := _renamed(name, places))
    }
    for name, expected in model.state_dict().items():
        if name in ("shift", "scale"):
            state[name] = expected
        elif name not in state:
            raise WeightsError(f"{path} cannot be used for LPIPS: {_missing(name, chosen)}")
        elif state[name].shape != expected.shape:
            raise WeightsError(
                f"{path} cannot be used for LPIPS: {name} is {list(state[name].shape)} instead of "
                f"{list(expected.shape)}; give the files of {chosen.name}, not of another network."
            )
    model.load_state_dict({name: state[name].float() for name in model.state_dict()})
    return model.eval().requires_grad_(False)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if not path.is_dir():
        return read_state(path)[0]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    return {name: tensor for file in files for name, tensor in read_state(file)[0].items()}


def _renamed(name: str, places: Mapping[int, tuple[int, int]]) -> str | None:
    """Our name of a tensor; None for those of no use, such as the backbone's classifier."""
    if head := HEAD.fullmatch(name):
        return f"heads.{head[1]}.weight"
    feature = FEATURE.fullmatch(name)
    place = feature and places.get(int(feature[1]))
    return f"groups.{place[0]}.{place[1]}.{feature[2]}" if place else None


def _places(backbone: Backbone) -> dict[int, tuple[int, int]]:
    """Group and number of each convolution by its number among the backbone's layers."""
    return {
        layer: (group, number)
        for group, layers in enumerate(backbone.layers)
        for number, layer in enumerate(layers)
    }


def _missing(name: str, backbone: Backbone) -> str:
    if name.startswith("heads."):
        return (
            f"the head lin{name.split('.')[1]}.model.1.weight is missing; put LPIPS' "
            f"{backbone.heads} (v0.1) beside the backbone in a folder and give the folder."
        )
    return (
        f"the backbone {backbone.name} is missing or not whole; put torchvision's "
        f"{backbone.file} beside the heads in a folder and give the folder."
    )


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + EPS).sqrt()

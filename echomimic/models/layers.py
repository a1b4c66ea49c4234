"""Parts that every network here is built from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_HIDDEN = 2**25  # values inside a feed-forward at once: 64 MiB in half precision


@dataclass(frozen=True)
class Builder:
    """Makes layers of one device and dtype.

    `operations` is a namespace with the classes of `torch.nn`. ComfyUI passes its own, whose
    layers cast and stream their weights, so no layer with weights may be made any other way.
    """

    operations: Any = nn
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    def _options(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.dtype}

    def conv(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        return self.operations.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, **self._options()
        )

    def linear(self, inputs: int, outputs: int, bias: bool = True) -> nn.Module:
        return self.operations.Linear(inputs, outputs, bias=bias, **self._options())

    def group_norm(self, groups: int, channels: int, eps: float) -> nn.Module:
        return self.operations.GroupNorm(groups, channels, eps=eps, **self._options())

    def layer_norm(self, channels: int) -> nn.Module:
        return self.operations.LayerNorm(channels, eps=1e-5, **self._options())


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Timesteps (b,) → (b, width) float32, cosines first (spec 2.2)."""
    half = width // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angle = t.float()[:, None] * torch.exp(-math.log(10_000) * exponent)  # (b, half)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def position_code(
    channels: int, height: int, width: int, device: torch.device | str | None = None
) -> Tensor:
    """Where each cell lies in the picture, (channels, height, width) float32.

    Sines and cosines of doubling frequency, half of the channels for each axis; the slowest does
    half a turn over the picture, so the code does not depend on its size in cells.
    """
    turns = torch.pi * 2.0 ** torch.arange(channels // 4, device=device).remainder(6)  # (c / 4,)
    codes = []
    for cells in (height, width):
        place = (torch.arange(cells, device=device) + 0.5) / cells
        angle = turns[:, None] * place  # (c / 4, cells)
        codes.append(torch.cat([angle.sin(), angle.cos()]))  # (c / 2, cells)
    rows = codes[0][:, :, None].expand(-1, -1, width)
    columns = codes[1][:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])


class TimeEmbedding(nn.Module):
    """Sinusoid of the timestep → what the resnet blocks add (spec 2.2)."""

    def __init__(self, width: int, build: Builder) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = build.linear(width, 4 * width)
        self.linear_2 = build.linear(4 * width, 4 * width)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """(b,) → (b, 4 * width)."""
        return self.linear_2(F.silu(self.linear_1(sinusoid(t, self.width).to(dtype))))


class ResnetBlock(nn.Module):
    """Two convolutions and a timestep between them (spec 2.4)."""

    def __init__(
        self, inputs: int, outputs: int, time_width: int, groups: int, build: Builder
    ) -> None:
        super().__init__()
        self.norm1 = build.group_norm(groups, inputs, eps=1e-5)
        self.conv1 = build.conv(inputs, outputs)
        self.time_emb_proj = build.linear(time_width, outputs)
        self.norm2 = build.group_norm(groups, outputs, eps=1e-5)
        self.conv2 = build.conv(outputs, outputs)
        self.conv_shortcut = build.conv(inputs, outputs, kernel=1) if inputs != outputs else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (b f, c, h, w) and SiLU of the time embedding, (b, d) or (1, d) → (b f, c', h, w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        offset = self.time_emb_proj(time)  # (b or 1, c')
        if len(offset) > 1:
            offset = offset.repeat_interleave(len(x) // len(offset), dim=0)  # (b f, c')
        h = self.conv2(F.silu(self.norm2(h + offset[:, :, None, None])))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Module):
    """Halve height and width."""

    def __init__(self, channels: int, build: Builder) -> None:
        super().__init__()
        self.conv = build.conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(b f, c, h, w) → (b f, c, ceil(h / 2), ceil(w / 2))."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double height and width, or bring them to a given size."""

    def __init__(self, channels: int, build: Builder) -> None:
        super().__init__()
        self.conv = build.conv(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(b f, c, h, w) → (b f, c, *size); the size is that of the skip that comes next."""
        size = size or (2 * x.shape[-2], 2 * x.shape[-1])
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class GatedLinear(nn.Module):
    """GEGLU: one half of the projection gates the other (spec 2.5)."""

    def __init__(self, inputs: int, outputs: int, build: Builder) -> None:
        super().__init__()
        self.proj = build.linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated projection to `factor` times the width, four in published models, and back."""

    def __init__(self, width: int, build: Builder, factor: int = 4) -> None:
        super().__init__()
        self.factor = factor
        # The checkpoints count a dropout at place 1.
        self.net = nn.Sequential(
            GatedLinear(width, factor * width, build),
            nn.Identity(),
            build.linear(factor * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., d) → (n, ..., d).

        A few rows at a time: between the layers the width is eightfold in published models, which
        for all rows at once would be the largest tensor of the whole network by far.
        """
        rows = max(1, MAX_HIDDEN * len(x) // (2 * self.factor * x.numel()))
        return join([self.net(part) for part in x.split(rows)])


def join(parts: list[Tensor]) -> Tensor:
    """Rows one after the other; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)

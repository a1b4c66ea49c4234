"""Face mask or landmark image → features added after the UNet's first convolution (spec 6)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import LandmarkEncoderConfig
from .layers import Builder


class LandmarkEncoder(nn.Module):
    """A stack of convolutions, named `face_locator` in the weight files."""

    def __init__(
        self,
        config: LandmarkEncoderConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        build = Builder(operations, device, dtype)
        self.conv_in = build.conv(config.in_channels, config.channels[0])
        self.blocks = nn.ModuleList()
        for width, wider in zip(config.channels, config.channels[1:], strict=False):
            self.blocks += [build.conv(width, width), build.conv(width, wider, stride=2)]
        self.conv_out = build.conv(config.channels[-1], config.out_channels)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def forward(self, images: Tensor) -> Tensor:
        """(f, c, H, W) in 0..1 → (f, d, H / 8, W / 8)."""
        x = F.silu(self.conv_in(images))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)

"""Attention over time, the only place where frames of a clip meet (spec 2.6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attention import Attention, AttentionFunction, Context
from .layers import Builder, FeedForward


def position_table(max_frames: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Sine and cosine by turns, (1, max_frames, width) float32; p is the place in the window."""
    place = torch.arange(max_frames, dtype=torch.float32, device=device)[:, None]  # (p, 1)
    even = torch.arange(0, width, 2, dtype=torch.float32, device=device)  # (d / 2,)
    angle = place * torch.exp(even * (-math.log(10_000.0) / width))  # (p, d / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[None]


class PositionCode(nn.Module):
    """Adds the position in the window."""

    def __init__(self, max_frames: int, width: int, build: Builder) -> None:
        super().__init__()
        self.register_buffer("pe", position_table(max_frames, width, build.device).to(build.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, d) → (b, f, d)."""
        return x + self.pe[:, : x.shape[1]].to(x)


class TemporalAttention(Attention):
    """Self-attention over the frames of a window."""

    def __init__(self, width: int, heads: int, max_frames: int, build: Builder) -> None:
        super().__init__(width, heads, build)
        self.pos_encoder = PositionCode(max_frames, width, build)

    def forward(self, x: Tensor, attention: AttentionFunction) -> Tensor:
        """(b n, f, d) → (b n, f, d)."""
        x = self.pos_encoder(x)
        return super().forward(x, self.keys_values(x), attention)


class TemporalBlock(nn.Module):
    """Two temporal attentions and a feed-forward."""

    def __init__(
        self, width: int, heads: int, max_frames: int, feed_forward: int, build: Builder
    ) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(width, heads, max_frames, build) for _ in range(2)
        )
        self.norms = nn.ModuleList(build.layer_norm(width) for _ in range(2))
        self.ff = FeedForward(width, build, feed_forward)
        self.ff_norm = build.layer_norm(width)

    def forward(self, x: Tensor, attention: AttentionFunction) -> Tensor:
        """(b n, f, d) → (b n, f, d)."""
        for norm, block in zip(self.norms, self.attention_blocks, strict=True):
            x = x + block(norm(x), attention)
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """Temporal blocks between two linear projections; every pixel is a sequence of its own."""

    def __init__(
        self,
        width: int,
        heads: int,
        groups: int,
        max_frames: int,
        feed_forward: int,
        build: Builder,
    ) -> None:
        super().__init__()
        self.norm = build.group_norm(groups, width, eps=1e-6)
        self.proj_in = build.linear(width, width)
        block = TemporalBlock(width, heads, max_frames, feed_forward, build)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = build.linear(width, width)

    def forward(self, x: Tensor, num_frames: int, attention: AttentionFunction) -> Tensor:
        """(b f, c, h, w) → (b f, c, h, w)."""
        height, width = x.shape[2:]
        clips = self.norm(x).unflatten(0, (-1, num_frames)).flatten(3)  # (b, f, c, h w)
        tokens = clips.permute(0, 3, 1, 2).flatten(0, 1)  # (b h w, f, c)
        tokens = self.proj_in(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, attention)
        tokens = self.proj_out(tokens).unflatten(0, (-1, height * width))  # (b, h w, f, c)
        return x + tokens.permute(0, 2, 3, 1).reshape(x.shape)


class MotionModule(nn.Module):
    """The name under which checkpoints hold a temporal transformer."""

    def __init__(
        self,
        width: int,
        heads: int,
        groups: int,
        max_frames: int,
        feed_forward: int,
        build: Builder,
    ) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(
            width, heads, groups, max_frames, feed_forward, build
        )

    def forward(self, x: Tensor, context: Context, preceding: Tensor | None = None) -> Tensor:
        """(b f, c, h, w) → (b f, c, h, w).

        preceding (b, n, c, h, w) stands before the frames of each clip, at the first positions:
        frames attend to it, but it does not come out.
        """
        transformer, num_frames = self.temporal_transformer, context.num_frames
        if preceding is None:
            return transformer(x, num_frames, context.attention)
        clips = torch.cat([preceding, x.unflatten(0, (-1, num_frames))], dim=1)
        length = clips.shape[1]
        clips = transformer(clips.flatten(0, 1), length, context.attention).unflatten(
            0, (-1, length)
        )
        return clips[:, -num_frames:].flatten(0, 1)

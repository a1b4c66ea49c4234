"""Attention over the tokens of one frame: itself, the portrait, and the voice (spec 2.5, 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .layers import Builder, FeedForward, join

AttentionFunction = Callable[[Tensor, Tensor, Tensor, int], Tensor]
KeysValues = tuple[Tensor, Tensor]

AUDIO_GAIN = 3.0  # a default argument of the official code, not in the paper (spec 2.5)
MAX_ATTENTION_BATCH = 2**15  # CUDA kernels refuse grids that are much larger


def sdpa(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """PyTorch's attention: q (b, n, d), k and v (b, m, d) → (b, n, d)."""
    if len(q) > MAX_ATTENTION_BATCH:
        parts = (tensor.split(MAX_ATTENTION_BATCH) for tensor in (q, k, v))
        return torch.cat([sdpa(*part, heads) for part in zip(*parts, strict=True)])
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)


@dataclass(frozen=True)
class Context:
    """What the blocks of one UNet call need besides their input.

    Rows are frames of clips, `(b f)`. The first `free_rows` of them have no reference and no
    audio (the unconditional half of guidance).
    """

    time: Tensor  # (b or 1, d), SiLU of the time embedding
    num_frames: int
    attention: AttentionFunction
    free_rows: int = 0
    unreferenced_rows: int = 0  # the first rows without a reference; all free rows are among them
    reference: Mapping[str, KeysValues] = field(default_factory=dict)
    audio: Mapping[str, KeysValues] = field(default_factory=dict)
    motion_frames: int = 0  # that stand before each clip in time
    motion: Mapping[str, Tensor] = field(default_factory=dict)  # their features; else zeros
    recorded: dict[str, Tensor] | None = None  # filled with the reference features by block name
    stop_at: str | None = None  # nothing after this block's feature is read
    recomputed: bool = False  # activations of layers are computed again for the gradient

    def run(self, layer: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """`layer(*inputs, context)`, keeping only its inputs for the gradient if asked to."""
        if not self.recomputed:
            return layer(*inputs, self)
        return checkpoint(layer, *inputs, self, use_reentrant=False)


class Attention(nn.Module):
    """Multi-head attention with keys and values of the same or another width."""

    def __init__(self, width: int, heads: int, build: Builder, context_width: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = build.linear(width, width, bias=False)
        self.to_k = build.linear(context_width or width, width, bias=False)
        self.to_v = build.linear(context_width or width, width, bias=False)
        self.to_out = nn.ModuleList([build.linear(width, width)])

    def keys_values(self, tokens: Tensor) -> KeysValues:
        """(b, n, d') → keys and values, each (b, n, d)."""
        return self.to_k(tokens), self.to_v(tokens)

    def forward(self, x: Tensor, known: KeysValues, attention: AttentionFunction) -> Tensor:
        """Queries from x (b, n, d), attending to `known` keys and values."""
        return self.to_out[0](attention(self.to_q(x), *known, self.heads))


class ReferenceAttention(Attention):
    """Self-attention whose conditional rows also see the portrait's tokens (spec 4)."""

    def forward(self, x: Tensor, reference: KeysValues | None, context: Context) -> Tensor:
        """x (b f, n, d); reference keys and values (1 or b, m, d) → (b f, n, d)."""
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        free = context.unreferenced_rows if reference is not None else len(x)
        outputs = []
        if free:
            outputs.append(context.attention(q[:free], k[:free], v[:free], self.heads))
        if free < len(x):
            k, v = (
                torch.cat([own[free:], spread(known, len(x) - free)], dim=1)
                for own, known in zip((k, v), reference, strict=True)
            )
            outputs.append(context.attention(q[free:], k, v, self.heads))
        return self.to_out[0](join(outputs))


class AudioAttention(Attention):
    """Attention to the audio tokens of the row's frame (spec 2.5)."""

    def forward(self, x: Tensor, audio: KeysValues | None, context: Context) -> Tensor:
        """x (b f, n, d); audio keys and values for the conditional rows → (b f, n, d).

        Zero tokens have zero keys and values (no bias), so rows without audio need no attention:
        what comes out is the output layer's bias. It is asked of the layer rather than read from
        it because a layer may hold its weights elsewhere or in another dtype.
        """
        free = context.free_rows if audio is not None else len(x)
        outputs = []
        if free:
            silence = self.to_out[0](x.new_zeros(1, 1, x.shape[-1]))  # (1, 1, d)
            outputs.append(silence.expand(free, x.shape[1], -1))
        if free < len(x):
            outputs.append(super().forward(x[free:], audio, context.attention))
        return join(outputs)


class TransformerBlock(nn.Module):
    """Reference attention, audio attention (denoising UNet only), feed-forward."""

    def __init__(
        self, width: int, heads: int, audio_dim: int | None, feed_forward: int, build: Builder
    ) -> None:
        super().__init__()
        self.name = ""  # path in the UNet, set by it
        self.norm1 = build.layer_norm(width)
        self.attn1 = ReferenceAttention(width, heads, build)
        self.attn2 = None
        if audio_dim is not None:
            self.norm2 = build.layer_norm(width)
            self.attn2 = AudioAttention(width, heads, build, audio_dim)
        self.norm3 = build.layer_norm(width)
        self.ff = FeedForward(width, build, feed_forward)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(b f, n, d) → (b f, n, d)."""
        normed = self.norm1(x)
        if context.recorded is not None:
            context.recorded[self.name] = normed
        if context.stop_at == self.name:
            return x
        x = x + self.attn1(normed, context.reference.get(self.name), context)
        if self.attn2 is not None:
            update = self.attn2(self.norm2(x), context.audio.get(self.name), context)
            x = x + AUDIO_GAIN * update
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block between two 1x1 convolutions (spec 2.5)."""

    def __init__(
        self,
        width: int,
        heads: int,
        groups: int,
        audio_dim: int | None,
        feed_forward: int,
        build: Builder,
    ) -> None:
        super().__init__()
        self.norm = build.group_norm(groups, width, eps=1e-6)
        self.proj_in = build.conv(width, width, kernel=1)
        block = TransformerBlock(width, heads, audio_dim, feed_forward, build)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = build.conv(width, width, kernel=1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(b f, c, h, w) → (b f, c, h, w)."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # (b f, h w, c)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
            if context.stop_at == block.name:
                return x
        return x + self.proj_out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


def spread(known: Tensor, rows: int) -> Tensor:
    """One entry per clip, (1 or b, m, d) → one per row, (b f, m, d); a view for a single clip."""
    if len(known) == 1:
        return known.expand(rows, -1, -1)
    return known.repeat_interleave(rows // len(known), dim=0)

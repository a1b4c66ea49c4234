"""The UNet of both roles: it reads the portrait once, and it denoises (spec 2, 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import UNetConfig
from .attention import (
    AttentionFunction,
    Context,
    KeysValues,
    SpatialTransformer,
    TransformerBlock,
    sdpa,
)
from .layers import (
    Builder,
    Downsample,
    ResnetBlock,
    TimeEmbedding,
    Upsample,
    position_code,
)
from .motion_module import MotionModule, position_table


class Level(nn.Module):
    """Resnet, transformer, motion module, for each layer of one resolution."""

    def __init__(
        self,
        widths: Sequence[tuple[int, int]],  # in and out, for each resnet
        num_transformers: int,
        config: UNetConfig,
        build: Builder,
    ) -> None:
        super().__init__()
        width, time_width = widths[0][1], 4 * config.channels[0]
        heads, groups, factor = config.num_heads, config.norm_groups, config.feed_forward
        self.resnets = nn.ModuleList(
            ResnetBlock(inputs, outputs, time_width, groups, build) for inputs, outputs in widths
        )
        self.attentions = nn.ModuleList()
        self.motion_modules = nn.ModuleList()
        for _ in range(num_transformers):
            self.attentions.append(
                SpatialTransformer(width, heads, groups, config.audio_dim, factor, build)
            )
        motion = config.motion
        for _ in range(self.num_temporal() if motion is not None else 0):
            self.motion_modules.append(
                MotionModule(width, motion.num_heads, groups, motion.max_frames, factor, build)
            )

    def num_temporal(self) -> int:
        """How many layers have a motion module in a UNet with motion."""
        return len(self.resnets)

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        """Resnet, transformer and motion module: (b f, c, h, w), same frames and cells out."""
        return self.mix(index, self.resnets[index](x, context.time), context)

    def mix(self, index: int, x: Tensor, context: Context) -> Tensor:
        """The transformer and the motion module of one layer: (b f, c, h, w), same shape out."""
        if index < len(self.attentions):
            x = self.attentions[index](x, context)
        if self.motion_modules:
            x = self.motion_modules[index](x, context, self._preceding(index, x, context))
        return x

    def _preceding(self, index: int, x: Tensor, context: Context) -> Tensor | None:
        """Features of the motion frames where there is a transformer, (b, n, c, h, w), or zeros."""
        if not context.motion_frames or index >= len(self.attentions):
            return None
        known = context.motion.get(self.attentions[index].transformer_blocks[-1].name)
        clips = len(x) // context.num_frames
        if known is None:
            return x.new_zeros(clips, context.motion_frames, *x.shape[1:])
        cells = known.to(x).transpose(2, 3).unflatten(3, x.shape[2:])  # (1 or b, n, c, h, w)
        return cells.expand(clips, -1, -1, -1, -1)


class DownLevel(Level):
    """Layers, then half the resolution for the next level."""

    def __init__(
        self,
        widths: Sequence[tuple[int, int]],
        num_transformers: int,
        last: bool,
        config: UNetConfig,
        build: Builder,
    ) -> None:
        super().__init__(widths, num_transformers, config, build)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(widths[0][1], build)])

    def forward(self, x: Tensor, context: Context) -> list[Tensor]:
        """(b f, c, h, w) → the skips of this level, the last of which is its output."""
        skips = []
        for index in range(len(self.resnets)):
            x = context.run(self.layer, index, x)
            skips.append(x)
        for downsample in self.downsamplers:
            x = downsample(x)
            skips.append(x)
        return skips


class MidLevel(Level):
    """Two resnets with one transformer and one motion module between them."""

    def num_temporal(self) -> int:
        return len(self.resnets) - 1

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(b f, c, h, w) → (b f, c, h, w)."""
        return self.resnets[1](context.run(self.layer, 0, x), context.time)


class UpLevel(Level):
    """Layers that each take a skip, then twice the resolution for the next level."""

    def __init__(
        self,
        widths: Sequence[tuple[int, int]],
        num_transformers: int,
        last: bool,
        config: UNetConfig,
        build: Builder,
    ) -> None:
        super().__init__(widths, num_transformers, config, build)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(widths[0][1], build)])

    def forward(self, x: Tensor, skips: list[Tensor], context: Context) -> Tensor:
        """(b f, c, h, w) → (b f, c', h', w'); takes its skips from the end of the list."""
        for index in range(len(self.resnets)):
            x = context.run(self.layer, index, torch.cat([x, skips.pop()], dim=1))
        for upsample in self.upsamplers:
            x = upsample(x, tuple(skips[-1].shape[2:]))
        return x


class UNet(nn.Module):
    """Reference UNet or denoising UNet, by its configuration. Parameters are named as published.

    Frames are folded into the batch, `(b f)`; only the motion modules tell them apart.
    """

    def __init__(
        self,
        config: UNetConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        attention: AttentionFunction = sdpa,
    ) -> None:
        super().__init__()
        self.config = config
        self.attention = attention
        self.gradient_checkpointing = False  # less memory for training, a third more time
        build = Builder(operations, device, dtype)
        first, last = config.channels[0], config.channels[-1]
        self.conv_in = build.conv(config.in_channels, first)
        self.time_embedding = TimeEmbedding(first, build)
        self.down_blocks = _down_levels(config, build)
        self.mid_block = MidLevel([(last, last)] * 2, 1, config, build)
        self.up_blocks = _up_levels(config, build)
        if config.out_channels is not None:
            self.conv_norm_out = build.group_norm(config.norm_groups, first, eps=1e-5)
            self.conv_out = build.conv(first, config.out_channels)
        elif config.trimmed_reference:
            self._trim()
        for name, module in self.named_modules():
            if isinstance(module, TransformerBlock):
                module.name = name

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored weights."""
        return self.conv_in.weight.dtype

    @property
    def motion_frames(self) -> int:
        """How many frames before a window its motion modules see."""
        return self.config.motion_frames

    def forward(  # noqa: PLR0913 (each is a condition of its own)
        self,
        latents: Tensor,
        t: Tensor | float,
        *,
        num_frames: int = 1,
        conditional: Sequence[bool] | None = None,
        with_reference: Sequence[bool] | None = None,
        reference: Mapping[str, KeysValues] | None = None,
        audio: Mapping[str, KeysValues] | None = None,
        face: Tensor | None = None,
        motion: Mapping[str, Tensor] | None = None,
        attention: AttentionFunction | None = None,
    ) -> Tensor:
        """Predict v: latents (b f, 4, h, w) → (b f, 4, h, w).

        t: one timestep, or one per clip (b,).
        conditional: for each clip whether it is shown the conditions; None: all are.
        with_reference: for each clip whether that includes the reference: training drops it
            alone in some samples; None: it does.
        reference: `project_reference`, one entry for all clips or one per clip that is shown it.
        audio: `project_audio` of the frames of the conditional clips, or None for silence.
        face: landmark features (1 or frames of the conditional clips, d, h, w), or None.
        motion: `reference_features` of the motion frames before each clip, (1 or b, n, m, d) by
            block name; None: zeros, as for the start of a video. Only for models that know them.
        """
        num_clips = len(latents) // num_frames
        shown = _flags(conditional, num_clips)
        referenced = [
            on and with_it
            for on, with_it in zip(shown, _flags(with_reference, num_clips), strict=True)
        ]
        order = _least_shown_first(shown, referenced)
        latents, t = _reorder(latents, order, num_frames), _per_clip(t, latents, order)
        # Audio and face come for the shown clips alone, which may have changed places as well.
        among_shown = _places(order, shown) if order else None
        if among_shown is not None:
            audio = {
                name: tuple(_reorder(part, among_shown, num_frames) for part in parts)
                for name, parts in (audio or {}).items()
            }
            if face is not None and len(face) > 1:
                face = _reorder(face, among_shown, num_frames)
        if order:
            motion = {k: x if len(x) == 1 else x[order] for k, x in (motion or {}).items()}
        context = self._context(t, latents.dtype, num_frames, attention)
        context = replace(
            context,
            free_rows=shown.count(False) * num_frames,
            unreferenced_rows=referenced.count(False) * num_frames,
            reference=reference or {},
            audio=audio or {},
            motion=motion or {},
        )
        output = self._run(latents, context, face)
        return _reorder(output, order and _inverse(order), num_frames)

    def reference_features(
        self, latents: Tensor, t: Tensor | float = 0, *, full_output: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What each transformer block attends with, by block name (spec 3.3).

        latents (b, 4, h, w) → features (b, h' w', d) and, with `full_output`, the UNet's output;
        otherwise the work after the last feature is left out and None is returned. Raises
        `ValueError` for the output of a trimmed reference UNet, which has none.
        """
        if full_output and self.config.trimmed_reference:
            raise ValueError("a trimmed reference UNet has features only")
        features: dict[str, Tensor] = {}
        last = None if full_output else self.transformer_blocks()[-1].name
        context = self._context(_per_clip(t, latents, None), latents.dtype, 1, None)
        output = self._run(latents, replace(context, recorded=features, stop_at=last), None)
        return features, output if full_output else None

    def transformer_blocks(self) -> list[TransformerBlock]:
        """In the order in which a call runs them."""
        levels = [*self.down_blocks, self.mid_block, *self.up_blocks]
        return [
            block
            for level in levels
            for transformer in level.attentions
            for block in transformer.transformer_blocks
        ]

    def project_reference(self, features: Mapping[str, Tensor]) -> dict[str, KeysValues]:
        """Reference features (b, m, d) → keys and values of each block, valid for a whole run."""
        return {
            block.name: block.attn1.keys_values(features[block.name])
            for block in self.transformer_blocks()
        }

    def project_audio(self, tokens: Tensor) -> dict[str, KeysValues]:
        """Audio tokens (f, m, audio_dim) → keys and values of each block, valid for all steps.

        Tokens that are all zero mean that nothing is heard, and stay so.
        """
        if self.config.audio_position_code:
            heard = tokens.ne(0).flatten(1).any(dim=1).to(tokens)  # (f,)
            code = position_table(*tokens.shape[1:], device=tokens.device).to(tokens)
            tokens = tokens + heard[:, None, None] * code
        return {block.name: block.attn2.keys_values(tokens) for block in self.transformer_blocks()}

    def _trim(self) -> None:
        """Leave out what comes after the last feature: nobody reads it (spec 3.3)."""
        index = max(i for i, level in enumerate(self.up_blocks) if level.attentions)
        del self.up_blocks[index + 1 :]
        level = self.up_blocks[index]
        del level.resnets[len(level.attentions) :]
        level.upsamplers = nn.ModuleList()
        transformer = level.attentions[-1]
        block = transformer.transformer_blocks[-1]
        del block.attn1, block.norm3, block.ff, transformer.proj_out

    def _context(
        self, t: Tensor, dtype: torch.dtype, num_frames: int, attention: AttentionFunction | None
    ) -> Context:
        time = F.silu(self.time_embedding(t, dtype))
        recomputed = self.gradient_checkpointing and torch.is_grad_enabled()
        return Context(
            time, num_frames, attention or self.attention,
            motion_frames=self.motion_frames, recomputed=recomputed,
        )  # fmt: skip

    def _run(self, latents: Tensor, context: Context, face: Tensor | None) -> Tensor:
        x = self.conv_in(latents)
        if self.config.position_code:
            x = x + position_code(*x.shape[1:], device=x.device).to(x)
        if face is not None:
            free = context.free_rows
            x = torch.cat([x[:free], x[free:] + face]) if free else x + face
        skips = [x]
        for level in self.down_blocks:
            skips += level(skips[-1], context)
        x = self.mid_block(skips[-1], context)
        for level in self.up_blocks:
            x = level(x, skips, context)
        if self.config.out_channels is None:
            return x
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def _down_levels(config: UNetConfig, build: Builder) -> nn.ModuleList:
    levels, width = nn.ModuleList(), config.channels[0]
    for index, channels in enumerate(config.channels):
        widths = [(width, channels)] + [(channels, channels)] * (config.layers_per_level - 1)
        last = index == len(config.channels) - 1
        num_transformers = len(widths) if config.attention[index] else 0
        levels.append(DownLevel(widths, num_transformers, last, config, build))
        width = channels
    return levels


def _up_levels(config: UNetConfig, build: Builder) -> nn.ModuleList:
    skips = [config.channels[0]]  # widths of the skips, in the order in which they are made
    for index, channels in enumerate(config.channels):
        is_last = index == len(config.channels) - 1
        skips += [channels] * (config.layers_per_level + (not is_last))
    levels, width = nn.ModuleList(), config.channels[-1]
    for index in reversed(range(len(config.channels))):
        channels, widths = config.channels[index], []
        for _ in range(config.layers_per_level + 1):
            widths.append((width + skips.pop(), channels))
            width = channels
        num_transformers = config.transformers_up(index)
        levels.append(UpLevel(widths, num_transformers, index == 0, config, build))
    return levels


def _flags(given: Sequence[bool] | None, num_clips: int) -> list[bool]:
    """One flag per clip; None: all are set."""
    if given is None:
        return [True] * num_clips
    if len(given) != num_clips:
        raise ValueError(f"{num_clips} clips need as many flags, not {len(given)}")
    return [bool(flag) for flag in given]


def _least_shown_first(shown: list[bool], referenced: list[bool]) -> list[int] | None:
    """Order of the clips in which blocks can slice instead of mask; None: as they are."""
    order = sorted(range(len(shown)), key=lambda clip: shown[clip] + referenced[clip])
    return None if order == list(range(len(order))) else order


def _places(order: list[int], shown: list[bool]) -> list[int] | None:
    """The order of the shown clips, counted among themselves; None: as they are."""
    among = [clip for clip in order if shown[clip]]
    places = [sorted(among).index(clip) for clip in among]
    return None if places == sorted(places) else places


def _inverse(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _reorder(rows: Tensor, order: list[int] | None, num_frames: int) -> Tensor:
    return rows if order is None else rows.unflatten(0, (-1, num_frames))[order].flatten(0, 1)


def _per_clip(t: Tensor | float, latents: Tensor, order: list[int] | None) -> Tensor:
    """Timesteps as a float32 tensor (1,) or (b,) beside the latents."""
    t = torch.as_tensor(t, dtype=torch.float32, device=latents.device).reshape(-1)
    return t if order is None or len(t) == 1 else t[order]

"""The denoising UNet, called the way ComfyUI calls a diffusion model."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ..echomimic.models.unet import UNet
from .runtime import paced


class ComfyUNet(UNet):
    """The same network, called the way ComfyUI calls a diffusion model.

    Frames are ComfyUI's batch axis: x is (chunks f, c, h, w), a chunk for each of
    `transformer_options["cond_or_uncond"]`. Everything that `UNet.forward` takes by keyword is
    taken here too, and before they are projected, `reference_features` and `audio_tokens`: what
    patches or schedules weights then acts on their projections as well.
    """

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        context: None = None,
        control: None = None,
        transformer_options: dict[str, Any] | None = None,
        **conditions: Any,
    ) -> Tensor:
        """v for x, (chunks f, c, h, w); `context` and `control` do not exist in this family."""
        options = transformer_options or {}
        chunks = len(options.get("cond_or_uncond", [0]))
        conditions.setdefault("num_frames", len(x) // chunks)
        attention = conditions.setdefault("attention", partial(attend, transformer_options=options))
        if _windows(x, conditions) > 1 and not torch.compiler.is_compiling():
            conditions["attention"] = paced(attention, x.device)  # a cancel does not wait for all
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        executor = WrapperExecutor.new_class_executor(self._predict, self, wrappers)
        return executor.execute(x, timesteps, context, control, options, **conditions)

    def _predict(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: None,
        control: None,
        transformer_options: dict[str, Any],
        **conditions: Any,
    ) -> Tensor:
        clips = len(x) // conditions["num_frames"]
        if isinstance(timesteps, Tensor) and len(timesteps) == len(x):
            timesteps = timesteps.reshape(clips, -1)[:, 0]  # ComfyUI repeats them for every frame
        features = conditions.pop("reference_features", None)
        if features is not None:
            conditions["reference"] = self.project_reference(features)
        tokens = conditions.pop("audio_tokens", None)
        if tokens is not None:
            conditions["audio"] = self.project_audio(tokens)
        return super().forward(x, timesteps, **conditions)


def _windows(x: Tensor, conditions: dict[str, Any]) -> int:
    """How many windows a call has: guidance adds each once more, without conditions."""
    conditional = conditions.get("conditional")
    return len(x) // conditions["num_frames"] if conditional is None else sum(conditional)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    transformer_options: dict[str, Any] | None = None,
) -> Tensor:
    """The attention that the user chose for ComfyUI: (b, n, d) and (b, m, d) → (b, n, d)."""
    return optimized_attention(q, k, v, heads, transformer_options=transformer_options or {})

"""The windows of EchoMimic Sampler for the stock samplers, and its noise."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from comfy.context_windows import (
    ContextFuseMethod,
    ContextSchedule,
    IndexListContextHandler,
    create_prepare_sampling_wrapper,
)
from comfy_api.latest import io

from ..echomimic.config import SamplingOptions, Variant
from ..echomimic.sampling.context import Windows, check_window, overlap_weights, window_rule
from ..echomimic.sampling.noise import frame_noise
from .model import variant_of
from .sample import own_if_negative


class EchoMimicContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicContextWindows",
            display_name="EchoMimic Context Windows",
            category="EchoMimic",
            description="Denoise a long clip in windows of a few frames with the stock samplers, "
            "by the rule of EchoMimic Sampler: the windows move at every step, and where they "
            "overlap they are averaged.",
            search_aliases=["echomimic sliding window", "long video"],
            inputs=[
                io.Model.Input("model", tooltip="From EchoMimic Model Loader."),
                io.Combo.Input(
                    "windows",
                    options=["open", "looped"],
                    default="open",
                    tooltip="How windows lie on the clip. looped: the last one wraps to the "
                    "first frames, as the official code does, for clips that loop.",
                ),
                io.Int.Input(
                    "context_frames",
                    default=12,
                    min=1,
                    max=32,
                    tooltip="Frames in a window. More are smoother and need more memory.",
                ),
                io.Int.Input(
                    "context_overlap",
                    default=-1,
                    min=-1,
                    max=31,
                    tooltip="Frames that a window shares with the next. More are slower. -1: the "
                    "variant's own: 3, 0 for mini.",
                ),
                io.Combo.Input(
                    "overlap_weights",
                    options=["flat", "pyramid"],
                    default="flat",
                    advanced=True,
                    tooltip="Whether the middle of a window counts more where two overlap.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For the sampler.")],
        )

    @classmethod
    def execute(
        cls, model, windows, context_frames, context_overlap, overlap_weights="flat"
    ) -> io.NodeOutput:
        variant, motion = variant_of(model), model.model.diffusion_model.config.motion
        options = SamplingOptions.for_variant(
            variant,
            windows=windows,
            context_frames=context_frames,
            context_overlap=own_if_negative(context_overlap),
            overlap_weights=overlap_weights,
        )
        if motion is not None:
            check_window(context_frames, motion.max_frames)
        model = model.clone()
        model.model_options["context_handler"] = make_handler(options, variant)
        create_prepare_sampling_wrapper(model)  # memory is asked for by window
        return io.NodeOutput(model)


class EchoMimicNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicNoise",
            display_name="EchoMimic Noise",
            category="EchoMimic",
            description="The noise that EchoMimic Sampler starts from, for SamplerCustomAdvanced: "
            "that of a frame depends on seed and frame only, so a longer clip starts alike.",
            search_aliases=["echomimic random noise"],
            inputs=[
                io.Model.Input("model", tooltip="Models driven by audio start from noise without "
                               "outliers, as they were published."),
                io.Int.Input(
                    "seed",
                    default=420,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="The same seed gives the clip of EchoMimic Sampler.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, seed) -> io.NodeOutput:
        return io.NodeOutput(FrameNoise(seed, variant_of(model).noise_clamp))


class FrameNoise:
    """A NOISE of ComfyUI. `clamp` keeps it within ±clamp."""

    def __init__(self, seed: int, clamp: float | None) -> None:
        self.seed, self._clamp = seed, clamp

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """Noise of the latent's frames, (f, c, h, w)."""
        count, *shape = latent["samples"].shape
        noise = frame_noise(self.seed, latent.get("batch_index", range(count)), tuple(shape))
        return noise if self._clamp is None else noise.clamp(-self._clamp, self._clamp)


def make_handler(options: SamplingOptions, variant: Variant) -> IndexListContextHandler:
    """A context handler of ComfyUI that lays windows as `sample_clip` does."""

    def windows(num_frames: int, handler: IndexListContextHandler, _: dict) -> Windows:
        rule = window_rule(
            options.windows,
            num_frames,
            options.context_frames,
            options.context_overlap,
            variant.window_shift,
        )
        return rule(handler._step)

    def weights(length: int, **_: Any) -> list[float]:
        return overlap_weights(options.overlap_weights, length).tolist()

    newer = {"causal_window_fix": False}  # would put a frame before each window; since 0.21
    known = signature(IndexListContextHandler).parameters
    return IndexListContextHandler(
        context_schedule=ContextSchedule(f"echomimic_{options.windows}", windows),
        fuse_method=ContextFuseMethod(options.overlap_weights, weights),
        context_length=options.context_frames,
        context_overlap=options.context_overlap,
        dim=0,
        **{name: value for name, value in newer.items() if name in known},
    )

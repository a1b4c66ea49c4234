"""Tell from its keys what a checkpoint is, to explain why it does not fit."""

from __future__ import annotations

from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]

ECHOMIMIC_AUDIO_WIDTH = 384
ATTENTION_TO_CONTEXT = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def describe(shapes: Shapes) -> str | None:
    """What a file with these tensors seems to be, as a noun phrase; None: no idea."""
    if "conv_in.weight" in shapes and "time_embedding.linear_1.weight" in shapes:
        return _describe_unet(shapes)
    if "conv_in.weight" in shapes and "blocks.0.weight" in shapes:
        channels = _inputs(shapes["conv_in.weight"])
        return f"a landmark encoder (face_locator) for {channels}-channel images"
    marks = {
        "encoder.conv_in.weight": "a VAE",
        "patch_embedding.weight": "a Wan transformer, as EchoMimicV3 uses",
        "encoder.conv1.weight": "a Whisper audio encoder",
        "model.encoder.conv1.weight": "a Whisper audio encoder",
    }
    for key, name in marks.items():
        if key in shapes:
            return name
    if shapes and all(".motion_modules." in key for key in shapes):
        return "a motion module"
    return None


def _describe_unet(shapes: Shapes) -> str:
    context = shapes.get(ATTENTION_TO_CONTEXT)
    if context is None:
        return "a reference UNet"
    if any(".motion_modules." in key for key in shapes):
        return "a denoising UNet with its motion modules"
    if _inputs(context) > ECHOMIMIC_AUDIO_WIDTH:
        return "a Stable Diffusion UNet"
    return "a denoising UNet"


def _inputs(shape: tuple[int, ...]) -> int:
    """The width that a layer takes; 0 for what is no weight of a layer."""
    return shape[1] if len(shape) > 1 else 0

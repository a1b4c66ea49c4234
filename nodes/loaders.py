"""Nodes that read model files."""

from __future__ import annotations

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..echomimic.config import variant
from ..echomimic.weights import load
from ..echomimic.weights.files import ModelFiles, files_beside
from . import files, types
from .model import make_model, make_network, make_plain_patcher, stored_dtype
from .vae import make_vae

DTYPES = {
    "default": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


class EchoMimicModelLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicModelLoader",
            display_name="EchoMimic Model Loader",
            category="EchoMimic",
            description="Load all networks of a variant of EchoMimic, except the audio encoder.",
            search_aliases=["echomimic loader", "talking head model", "lip sync model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=files.denoising_unets(),
                    tooltip="'mini' comes with the pack and animates cartoon people at 128x128. "
                    "Others: a denoising UNet in models/echo_mimic, whose name tells the variant: "
                    "plain is driven by audio, _pose by landmarks, _acc takes 6 steps instead of "
                    "30. The other files of the variant are found beside it.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="default",
                    tooltip="Precision of the stored weights. 'default' is what ComfyUI chooses "
                    "for this device. fp32 is exact and twice as large.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The denoising UNet."),
                types.ReferenceUNet.Output(
                    display_name="reference_unet", tooltip="Reads the portrait once."
                ),
                types.LandmarkEncoder.Output(
                    display_name="landmark_encoder", tooltip="Reads face mask or landmarks."
                ),
                io.Vae.Output(display_name="vae", tooltip="The VAE of this set of files."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str) -> bool:
        return True  # a file that is gone is explained by `resolve`, better than by the list

    @classmethod
    def execute(cls, model: str, dtype: str) -> io.NodeOutput:
        found = files_beside(files.resolve(model), files.model_folders())
        weights, row = stored_dtype(DTYPES[dtype]), variant(found.variant)
        return io.NodeOutput(
            load_model(found, weights, model),
            make_network(partial(load.load_reference_unet, found), weights, row.reference_unet),
            make_network(partial(load.load_landmark_encoder, found), weights, row.landmark_encoder),
            make_vae(found.vae),
        )


def load_model(
    found: ModelFiles, weights: torch.dtype, name: str, disable_dynamic: bool = False
) -> ModelPatcher:
    """The MODEL of these files, with what ComfyUI needs to load it once more for another use.

    `name` is what videos will say of it.
    """
    unet = load.load_denoising_unet(found, dtype=weights)
    model = make_model(unet, variant(found.variant), disable_dynamic=disable_dynamic)
    model.model.name = name
    model.cached_patcher_init = (load_model, (found, weights, name))
    return model


class EchoMimicAudioEncoderLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicAudioEncoderLoader",
            display_name="EchoMimic Audio Encoder Loader",
            category="EchoMimic",
            description="Load the Whisper encoder that EchoMimic listens with.",
            search_aliases=["whisper tiny", "echomimic whisper"],
            inputs=[
                io.Combo.Input(
                    "audio_encoder",
                    options=files.audio_encoders(),
                    tooltip="whisper_tiny in models/echo_mimic/audio_processor. The published "
                    "models were trained with this size and understand no other.",
                ),
            ],
            outputs=[types.AudioEncoder.Output(display_name="audio_encoder")],
        )

    @classmethod
    def validate_inputs(cls, audio_encoder: str) -> bool:
        return True  # explained by `resolve`

    @classmethod
    def execute(cls, audio_encoder: str) -> io.NodeOutput:
        path = files.resolve(audio_encoder, "audio_encoder")
        encoder = load.load_audio_encoder(path, dtype=torch.float32)
        return io.NodeOutput(make_plain_patcher(encoder))

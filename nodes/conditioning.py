"""Portrait, voice and landmarks → what the stock samplers take."""

from __future__ import annotations

from dataclasses import replace

import comfy.model_management
import torch
from comfy_api.latest import io

from ..echomimic.conditions import Conditions, DrawnFace
from ..echomimic.motion.retime import ENDS
from . import types
from .clip_condition import ClipCondition
from .model import variant_of
from .prepare import Networks, prepare
from .provenance import marked

LATENT_CHANNELS = 4


class EchoMimicConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicConditioning",
            display_name="EchoMimic Conditioning",
            category="EchoMimic",
            description="Prepare a clip for KSampler and the other stock samplers: conditions "
            "and an empty latent with a frame per batch item. Clips of more than 32 frames need "
            "EchoMimic Context Windows too.",
            search_aliases=["echomimic ksampler", "talking head conditioning"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="From EchoMimic Model Loader, before LoRAs and other patches, which "
                    "concern the sampler alone.",
                ),
                types.ReferenceUNet.Input("reference_unet", tooltip="From the same loader."),
                types.LandmarkEncoder.Input("landmark_encoder", tooltip="From the same loader."),
                io.Vae.Input("vae", tooltip="That of the loader, or any of Stable Diffusion 1."),
                types.Portrait.Input("portrait", tooltip="Who will move; from EchoMimic Portrait."),
                types.AudioTrack.Input(
                    "audio_track",
                    optional=True,
                    tooltip="The voice, from EchoMimic Audio Encode. Without it, landmarks alone "
                    "drive the face and decide the length.",
                ),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Landmarks in the portrait's picture, from EchoMimic Motion Sync. "
                    "Needs a model whose name has _pose in it, and only such a model takes them.",
                ),
                io.Combo.Input(
                    "landmarks_end",
                    options=list(ENDS),
                    default="hold",
                    tooltip="What landmarks do that end before the voice: hold the last frame, "
                    "loop, go back and forth, or cut the video there.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="Portrait and voice."),
                io.Conditioning.Output(display_name="negative", tooltip="Neither, for guidance."),
                io.Latent.Output(display_name="latent", tooltip="Empty, with all frames."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        reference_unet,
        landmark_encoder,
        vae,
        portrait,
        audio_track=None,
        landmarks=None,
        landmarks_end="hold",
    ) -> io.NodeOutput:
        networks = Networks(model, reference_unet, landmark_encoder, vae)
        conditions = prepare(networks, portrait, audio_track, landmarks, landmarks_end)
        drawn = isinstance(conditions.face, DrawnFace)  # and encoded while sampling
        clip = ClipCondition(
            _kept(conditions), variant_of(model), landmark_encoder if drawn else None
        )
        return io.NodeOutput(*clip.pair(), marked(_empty_latent(conditions), model))


def _kept(conditions: Conditions) -> Conditions:
    """Moved to where ComfyUI wants results of nodes to wait."""
    device, face = comfy.model_management.intermediate_device(), conditions.face
    reference = {name: value.to(device) for name, value in conditions.reference.items()}
    return replace(
        conditions,
        reference=reference,
        face=face if isinstance(face, DrawnFace) else face.to(device),
    )


def _empty_latent(conditions: Conditions) -> dict[str, torch.Tensor]:
    shape = (conditions.num_frames, LATENT_CHANNELS, *conditions.latent_size)
    return {"samples": torch.zeros(shape, device=comfy.model_management.intermediate_device())}

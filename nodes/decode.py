"""Latents → a video file, a few frames at a time."""

from __future__ import annotations

from comfy_api.latest import io

from ..echomimic.config import LATENT_STRIDE
from ..echomimic.media.video import to_uint8
from ..echomimic.models.vae import decode_frames
from .convert import latents_from_latent
from .preview import watched
from .provenance import HIDDEN, provenance
from .vae import ComfyVAE
from .video_file import file_inputs, save_video, sound_input, sound_of


class EchoMimicDecodeVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicDecodeVideo",
            display_name="EchoMimic Decode to Video",
            category="EchoMimic",
            description="Decode the latent straight into a video file with sound. Needs no more "
            "memory for an hour than for a second, other than VAE Decode with Save Video.",
            search_aliases=["echomimic save video", "vae decode video", "talking head video"],
            is_output_node=True,
            inputs=[
                io.Latent.Input("latent", tooltip="From EchoMimic Sampler."),
                io.Vae.Input("vae", tooltip="That of the loader, or any of Stable Diffusion 1."),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Connect the fps of EchoMimic Audio Encode, or of the landmarks where "
                    "there is no voice, else lips and sound part.",
                ),
                *file_inputs(),
                io.Boolean.Input(
                    "parity",
                    default=False,
                    advanced=True,
                    tooltip="Cut pixels to 8 bit as the official code does, instead of rounding.",
                ),
                sound_input(),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[*HIDDEN],
        )

    @classmethod
    def execute(cls, latent, vae, fps, parity, audio=None, **file) -> io.NodeOutput:
        latents = latents_from_latent(latent)
        height, width = (LATENT_STRIDE * side for side in latents.shape[-2:])
        images = decode_frames(ComfyVAE(vae), latents)
        frames = (to_uint8(chunk, truncate=parity) for chunk in images)
        return save_video(
            watched(frames, len(latents), fps),
            fps=fps,
            num_frames=len(latents),
            size=(width, height),
            sound=sound_of(audio),
            provenance=provenance(cls.hidden, latent=latent),
            **file,
        )

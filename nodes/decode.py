"""Latents → a video file, a few frames at a time."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io, ui

from ..echomimic.config import LATENT_STRIDE
from ..echomimic.media.video import to_uint8, write_video
from ..echomimic.models.vae import decode_frames
from .convert import audio_from_comfy, latents_from_latent
from .runtime import Progress
from .vae import ComfyVAE


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
                io.Latent.Input("latent"),
                io.Vae.Input("vae"),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Connect the fps of EchoMimic Audio Encode, else lips and voice part.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/EchoMimic",
                    tooltip="Folder and start of the file name, as in Save Video.",
                ),
                io.Boolean.Input(
                    "save_output",
                    default=True,
                    tooltip="Keep the file in the output folder. Off: a preview in the temp "
                    "folder, gone at the next start.",
                ),
                io.Int.Input(
                    "crf",
                    default=18,
                    min=0,
                    max=51,
                    advanced=True,
                    tooltip="H.264 quality: lower is better and larger.",
                ),
                io.Boolean.Input(
                    "parity",
                    default=False,
                    advanced=True,
                    tooltip="Cut pixels to 8 bit as the official code does, instead of rounding.",
                ),
                io.Audio.Input(
                    "audio", optional=True, tooltip="Sound, cut or padded to the video."
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
        )

    @classmethod
    def execute(
        cls, latent, vae, fps, filename_prefix, save_output, crf, parity, audio=None
    ) -> io.NodeOutput:
        latents = latents_from_latent(latent)
        height, width = (LATENT_STRIDE * side for side in latents.shape[-2:])
        folder = io.FolderType.output if save_output else io.FolderType.temp
        path, subfolder = _new_file(filename_prefix, folder, width, height)
        images = decode_frames(ComfyVAE(vae), latents)
        write_video(
            path,
            (to_uint8(chunk, truncate=parity) for chunk in images),
            fps=fps,
            num_frames=len(latents),
            size=(width, height),
            soundtrack=None if audio is None else audio_from_comfy(audio),
            crf=crf,
            on_progress=Progress(),
        )
        shown = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, folder)])
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=shown)


def _new_file(prefix: str, folder: io.FolderType, width: int, height: int) -> tuple[Path, str]:
    """A free path below a folder of ComfyUI, and its subfolder; refuses to leave the folder."""
    root = folder_paths.get_directory_by_type(folder.value)
    place, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, root, width, height
    )
    return Path(os.path.join(place, f"{name}_{counter:05}_.mp4")), subfolder

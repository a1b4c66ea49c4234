"""An animated face back into the photo or video it was cropped from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from comfy_api.latest import Input, io

from ..echomimic.errors import OptionsError
from ..echomimic.landmarks.paste import paste_back
from ..echomimic.media.video import single_frames, to_uint8
from ..echomimic.models.vae import decode_frames
from ..echomimic.motion.retime import fit_track
from . import types
from .convert import latents_from_latent
from .face_crop import feather_input
from .preview import watched
from .provenance import HIDDEN, provenance
from .vae import ComfyVAE
from .video_file import (
    file_inputs,
    first_picture,
    frame_rate,
    is_image,
    pictures,
    save_video,
    sound_input,
    sound_of,
    video_frames,
)

PASTE_OPTIONS = ("feather", "colour_match")


class EchoMimicPasteBack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPasteBack",
            display_name="EchoMimic Paste Back",
            category="EchoMimic",
            description="Paste the animated face into the photo or video it was cropped from and "
            "write the video. Needs no more memory for an hour than for a second.",
            search_aliases=["echomimic uncrop", "paste face", "full photo", "stitch face"],
            is_output_node=True,
            inputs=[
                io.MultiType.Input(
                    "face",
                    [io.Latent, io.Image, io.Video],
                    tooltip="The animated face: the latent of EchoMimic Sampler, or frames.",
                ),
                io.MultiType.Input(
                    "original",
                    [io.Image, io.Video],
                    tooltip="The picture or video that was cropped. A video that ends before the "
                    "face does holds its last frame, a longer one is cut.",
                ),
                io.MultiType.Input(
                    "crop",
                    [types.Crop, types.Portrait],
                    tooltip="Where the face belongs: the crop_info of EchoMimic Face Crop, or "
                    "the portrait of EchoMimic Portrait.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Frames per second. Connect the fps of EchoMimic Audio Encode, or of "
                    "the landmarks where there is no voice, else lips and sound part. 0: that of "
                    "the face video, or of the original video.",
                ),
                feather_input(),
                io.Float.Input(
                    "colour_match",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far the face's colours are brought to those around it. The same "
                    "for all frames, so that nothing flickers.",
                ),
                *file_inputs(),
                io.Vae.Input("vae", optional=True, tooltip="Needed if the face is a latent."),
                sound_input(" Without it, the sound of the face video, if it has one."),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="The landmarks that drove the face, for a mask that follows it. They "
                    "are brought to fps; if they loop, take those of EchoMimic Landmark Retime, "
                    "here and in the sampler.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[*HIDDEN],
        )

    @classmethod
    def execute(
        cls, face, original, crop, fps, vae=None, audio=None, landmarks=None, **options
    ) -> io.NodeOutput:
        fps = fps or _own_rate(face, original)
        if audio is None and isinstance(face, Input.Video):
            audio = face
        frames, num_frames = _animated(face, vae, fps)
        one_picture = is_image(original) and len(original) == 1
        pasted = paste_back(
            frames,
            crop.crop,
            first_picture(original) if one_picture else pictures(original, fps),
            face_box=crop.face_box,
            landmarks=None if landmarks is None else fit_track(landmarks, num_frames, fps),
            **{name: options.pop(name) for name in PASTE_OPTIONS},
        )
        return save_video(
            pasted,
            fps=fps,
            num_frames=num_frames,
            size=crop.crop.source_size,
            sound=sound_of(audio),
            provenance=provenance(cls.hidden, face=face),
            **options,
        )


def _own_rate(*sources: object) -> float:
    for source in sources:
        if isinstance(source, Input.Video):
            return frame_rate(source)
    raise OptionsError(
        "No video is connected that tells the frame rate: set fps, best by connecting it from "
        "EchoMimic Audio Encode or from the landmarks."
    )


def _animated(face: object, vae: object | None, fps: float) -> tuple[Iterator[np.ndarray], int]:
    """The frames to paste, uint8 (H, W, 3), one by one, and how many they are."""
    if isinstance(face, dict):
        if vae is None:
            raise OptionsError("The face is a latent; connect the vae that decodes it.")
        latents = latents_from_latent(face)
        chunks = (to_uint8(chunk) for chunk in decode_frames(ComfyVAE(vae), latents))
        return single_frames(watched(chunks, len(latents), fps)), len(latents)
    if is_image(face):
        return pictures(face), len(face)
    # Files can only be trusted after they were read; a face is small, so that is quickly done.
    return video_frames(face, fps), sum(1 for _ in video_frames(face, fps))

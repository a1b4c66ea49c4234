"""Cartoon people to try things with: what the built-in model knows."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..echomimic.assets import VOICE
from ..echomimic.config import AUDIO_RATE
from ..echomimic.landmarks.mesh import PARTS
from ..echomimic.media.audio import Audio, read_speech, speech_from_audio
from ..echomimic.puppets.clip import PuppetClip
from ..echomimic.puppets.identity import EXAMPLE_SEED, TEST_SEEDS
from . import types
from .convert import audio_from_comfy, audio_to_comfy, bounding_box_from_box, image_from_frames

SIZE = 128  # of the built-in model's videos
FPS = 25.0
EXAMPLE_FRAMES = 88
ALL_PARTS = frozenset(PARTS) - {"contour"}
MOTIONS = ("calm", "lively", "still")


def _outputs() -> list[io.Output]:
    return [
        io.Image.Output(display_name="portrait", tooltip="The face at rest, for Portrait."),
        types.BoundingBox.Output(
            display_name="face_box",
            tooltip="All of the picture, for Portrait: nothing is looked for and nothing is cut.",
        ),
        io.Audio.Output(display_name="audio", tooltip="The voice, for Audio Encode."),
        types.Landmarks.Output(
            display_name="landmarks", tooltip="How the face moves, on the portrait's own face."
        ),
        io.Image.Output(
            display_name="frames", tooltip="The same clip as it was drawn, to compare with."
        ),
        io.Float.Output(display_name="fps"),
        io.Int.Output(display_name="length", tooltip="Frames of the clip."),
    ]


class EchoMimicPuppet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPuppet",
            display_name="EchoMimic Puppet",
            category="EchoMimic",
            description="Draw a talking cartoon person: portrait, voice, and landmarks that are "
            "exactly right. The built-in model was trained on such people.",
            search_aliases=["echomimic cartoon", "character", "talking face generator"],
            inputs=[
                io.Int.Input(
                    "seed",
                    default=EXAMPLE_SEED,
                    min=0,
                    max=TEST_SEEDS.stop - 1,
                    control_after_generate=True,
                    tooltip=f"Decides who it is. The built-in model has seen some people below "
                    f"{TEST_SEEDS.start:,} and nobody from there on.",
                ),
                io.Combo.Input(
                    "motion",
                    options=list(MOTIONS),
                    default="lively",
                    tooltip="How much head, eyes and brows move; the mouth follows the voice.",
                ),
                io.Int.Input(
                    "length",
                    default=EXAMPLE_FRAMES,
                    min=1,
                    max=1500,
                    tooltip="Frames of the clip, at 25 a second.",
                ),
                io.Int.Input(
                    "size",
                    default=SIZE,
                    min=64,
                    max=1024,
                    step=8,
                    tooltip="Width and height in pixels. The built-in model makes 128.",
                ),
                io.Audio.Input(
                    "audio", optional=True, tooltip="What is said. Without it the puppet babbles."
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, seed, motion, length, size, audio=None) -> io.NodeOutput:
        spoken = None
        if audio is not None:
            spoken = speech_from_audio(audio_from_comfy(audio)).numpy()
        return _node_output(PuppetClip(seed, length, FPS, motion, spoken=spoken), size)


class EchoMimicExampleInputs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicExampleInputs",
            display_name="EchoMimic Example Inputs",
            category="EchoMimic",
            description="A portrait, a voice and driving landmarks that come with the pack, for a "
            "first run. Put your own in their place.",
            search_aliases=["echomimic example", "demo inputs", "sample portrait", "test voice"],
            inputs=[],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        spoken = read_speech(VOICE).numpy()
        clip = PuppetClip(EXAMPLE_SEED, EXAMPLE_FRAMES, FPS, "lively", spoken=spoken)
        return _node_output(clip, SIZE)


def _node_output(clip: PuppetClip, size: int) -> io.NodeOutput:
    voice = Audio(torch.from_numpy(clip.heard.copy())[None], AUDIO_RATE)
    return io.NodeOutput(
        image_from_frames([clip.portrait(size)]),
        bounding_box_from_box((0, 0, size, size)),
        audio_to_comfy(voice, clip.num_frames / clip.fps),
        replace(clip.track(size), parts=ALL_PARTS),
        image_from_frames(clip.frames(size)),
        clip.fps,
        clip.num_frames,
    )

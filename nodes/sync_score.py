"""Pictures, landmarks and a voice → SyncNet's scores, with the weights that the user has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from comfy_api.latest import io, ui

from ..echomimic.errors import EvaluationError, OptionsError, WeightsError
from ..echomimic.evaluation.networks import full_precision
from ..echomimic.evaluation.sync import embed_film, sync_distances, sync_score, wrong_moment
from ..echomimic.evaluation.syncnet import FPS, read_syncnet
from ..echomimic.landmarks.track import LandmarkTrack
from ..echomimic.media.audio import speech_from_audio
from ..echomimic.media.sound import INT16_STEP
from . import types
from .convert import audio_from_comfy
from .files import model_folders
from .model import make_plain_patcher
from .runtime import borrowed
from .video_file import is_image, pictures

NAME = "syncnet_v2"  # of the file, whose suffix may be .model, .pth or .safetensors


class EchoMimicSyncScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicSyncScore",
            display_name="EchoMimic SyncNet Score",
            category="EchoMimic",
            description="Sync-C, Sync-D and the offset of lips and voice, as papers give them. "
            "Needs SyncNet's weights, which you put into models/echo_mimic; without them use "
            "EchoMimic Sync and Motion Report.",
            search_aliases=["sync-c", "sync-d", "lse-c", "lse-d", "lip sync score", "syncnet"],
            is_output_node=True,
            inputs=[
                io.MultiType.Input(
                    "frames",
                    [io.Image, io.Video],
                    tooltip="The clip; a video is read at 25 frames a second, images must have "
                    "that rate.",
                ),
                types.Landmarks.Input(
                    "landmarks",
                    tooltip="Of the same clip at 25 frames a second: set fps to 25 in EchoMimic "
                    "Landmark Extract.",
                ),
                io.Audio.Input("audio", tooltip="The voice, from the clip's start."),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="The scores in words."),
                io.Float.Output(
                    display_name="sync_c",
                    tooltip="How sure SyncNet is; higher is better. Real speech has 6 to 9.",
                ),
                io.Float.Output(
                    display_name="sync_d", tooltip="How far lips and voice are; lower is better."
                ),
                io.Int.Output(
                    display_name="offset",
                    tooltip="Frames, of 25 a second, by which the voice comes before the lips.",
                ),
            ],
        )

    @classmethod
    def execute(cls, frames, landmarks, audio) -> io.NodeOutput:
        _check(frames, landmarks)
        speech = speech_from_audio(audio_from_comfy(audio), int16=True).numpy()
        if np.abs(speech).max(initial=0) <= INT16_STEP:
            raise EvaluationError("The audio is silent, so nothing can be said of lips and voice.")
        patcher = make_plain_patcher(read_syncnet(_weights()))
        with borrowed(patcher) as holder, full_precision():
            points = embed_film(holder.network, pictures(frames, FPS), landmarks, speech)
        score, chance = sync_score(sync_distances(*points)), wrong_moment(*points)
        text = score.text()
        if chance is not None:
            text += f"\nwith the voice of half a clip away, which is chance: {chance.text()}"
        return io.NodeOutput(
            text, score.confidence, score.distance, score.offset, ui=ui.PreviewText(text)
        )


def _check(frames, landmarks: LandmarkTrack) -> None:
    if landmarks.fps != FPS:
        raise OptionsError(
            f"SyncNet sees {FPS} frames a second, but the landmarks have {landmarks.fps:g}; give "
            f"EchoMimic Landmark Extract the video and an fps of {FPS}."
        )
    if is_image(frames) and len(frames) != landmarks.num_frames:
        raise OptionsError(
            f"There are {len(frames)} images but landmarks of {landmarks.num_frames} frames; "
            "connect those of the same clip."
        )


def _weights() -> Path:
    for folder in model_folders():
        for path in sorted(folder.glob(f"{NAME}.*")):
            return path
    raise WeightsError(
        f"SyncNet's weights are missing: put {NAME}.model of joonson/syncnet_python (for research) "
        f"into {model_folders()[0]}; nothing stands in for them."
    )

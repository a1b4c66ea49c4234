"""Landmarks and a voice → whether the mouth follows it, and how steady the clip is."""

from __future__ import annotations

import numpy as np
from comfy_api.latest import io, ui

from ..echomimic.errors import EvaluationError, OptionsError
from ..echomimic.evaluation.networks import full_precision
from ..echomimic.evaluation.sync import embed_film, sync_distances, sync_score, wrong_moment
from ..echomimic.evaluation.syncnet import FPS, read_syncnet
from ..echomimic.media.audio import speech_from_audio
from ..echomimic.media.sound import INT16_STEP
from ..echomimic.report.motion_report import SYNC_C, motion_report
from ..echomimic.report.plot import draw_report
from . import files, types
from .convert import audio_from_comfy, image_from_frames
from .model import make_plain_patcher
from .runtime import borrowed
from .video_file import is_image, pictures


class EchoMimicReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicReport",
            display_name="EchoMimic Sync and Motion Report",
            category="EchoMimic",
            description="Measure a clip: whether the mouth follows the voice and how late it is, "
            "blinks, flicker and seams. Works on landmarks and needs no further model, except "
            "for Sync-C, which needs SyncNet's weights.",
            search_aliases=[
                "echomimic evaluate",
                "lip sync check",
                "lip sync score",
                "sync-c",
                "sync-d",
                "lse-c",
                "lse-d",
                "syncnet",
                "audio video lag",
                "flicker",
                "blink rate",
            ],
            is_output_node=True,
            inputs=[
                types.Landmarks.Input(
                    "landmarks",
                    tooltip="Of the finished video, from EchoMimic Landmark Extract; or a driving "
                    "track, to see what it will do.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The voice that the mouth should follow, from the clip's start.",
                ),
                io.MultiType.Input(
                    "frames",
                    [io.Image, io.Video],
                    optional=True,
                    tooltip="The clip's own pictures, to measure flicker outside of the face too.",
                ),
                io.Int.Input(
                    "border_every",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="After how many frames segments or windows meet, to compare what "
                    "happens there with the rest. 0: no borders.",
                ),
                io.Int.Input(
                    "width", default=1024, min=480, max=4096, tooltip="Of the plot, in pixels."
                ),
                io.Int.Input(
                    "height", default=768, min=360, max=4096, tooltip="Of the plot, in pixels."
                ),
                io.Combo.Input(
                    "syncnet",
                    options=files.syncnets(),
                    default=files.NONE,
                    optional=True,
                    tooltip="syncnet_v2.model in models/echo_mimic, for Sync-C and Sync-D. Needs "
                    "audio, frames, and landmarks at 25 fps; looks at the first minute.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="plot", tooltip="The curves over time."),
                io.String.Output(display_name="report", tooltip="The figures in words."),
                io.Float.Output(
                    display_name="correlation",
                    tooltip="Of mouth and voice where they fit best; 0 without a voice.",
                ),
                io.Float.Output(
                    display_name="lag", tooltip="Seconds that the mouth is late; 0 if unknown."
                ),
                io.Float.Output(
                    display_name="sync_c",
                    tooltip="How sure SyncNet is that lips and voice are of one; 0 without it.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, syncnet: str = files.NONE) -> bool:
        return True  # a file that is gone is explained by `resolve`, better than by the list

    @classmethod
    def execute(
        cls, landmarks, border_every, width, height, audio=None, frames=None, syncnet=files.NONE
    ) -> io.NodeOutput:
        sync, confidence = SYNC_C, 0.0
        if syncnet != files.NONE:  # first: it may refuse
            sync, confidence = _sync_c(syncnet, landmarks, audio, frames)
        report = motion_report(
            landmarks,
            None if audio is None else speech_from_audio(audio_from_comfy(audio)),
            None if frames is None else pictures(frames, landmarks.fps),
            border_every=border_every,
        )
        plot, text = image_from_frames([draw_report(report, (width, height))]), report.text(sync)
        shown = ui.PreviewImage(plot, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        figures = (report.correlation or 0.0, report.lag or 0.0, confidence)
        return io.NodeOutput(plot, text, *figures, ui=shown)


def _sync_c(name, landmarks, audio, frames) -> tuple[str, float]:
    """SyncNet's judgement of the clip, and what chance would be, in words; and Sync-C."""
    _check_for_syncnet(landmarks, audio, frames)
    speech = speech_from_audio(audio_from_comfy(audio), int16=True).numpy()
    if np.abs(speech).max(initial=0) <= INT16_STEP:
        raise EvaluationError("The audio is silent, so nothing can be said of lips and voice.")
    patcher = make_plain_patcher(read_syncnet(files.resolve(name)))
    with borrowed(patcher) as holder, full_precision():
        points = embed_film(holder.network, pictures(frames, FPS), landmarks, speech)
    score, chance = sync_score(sync_distances(*points)), wrong_moment(*points)
    lines = [score.text()]
    if chance is not None:
        lines.append(f"with the voice of half a clip away, which is chance: {chance.text()}")
    return "\n".join(lines), score.confidence


def _check_for_syncnet(landmarks, audio, frames) -> None:
    """Raise `OptionsError` without sound or pictures, or where those are not the landmarks'."""
    if audio is None or frames is None:
        raise OptionsError(
            "SyncNet needs the clip's pictures and its voice: connect audio and frames to "
            f"EchoMimic Sync and Motion Report, or set syncnet to {files.NONE}."
        )
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

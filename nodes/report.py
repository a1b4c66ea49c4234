"""Landmarks and a voice → whether the mouth follows it, and how steady the clip is."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..echomimic.media.audio import speech_from_audio
from ..echomimic.report.motion_report import motion_report
from ..echomimic.report.plot import draw_report
from . import types
from .convert import audio_from_comfy, image_from_frames
from .video_file import pictures


class EchoMimicReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicReport",
            display_name="EchoMimic Sync and Motion Report",
            category="EchoMimic",
            description="Measure a clip: whether the mouth follows the voice and how late it is, "
            "blinks, flicker and seams. Works on landmarks and needs no further model; Sync-C "
            "is not among the figures, because it needs SyncNet's weights.",
            search_aliases=[
                "echomimic evaluate",
                "lip sync check",
                "lip sync score",
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
            ],
        )

    @classmethod
    def execute(
        cls, landmarks, border_every, width, height, audio=None, frames=None
    ) -> io.NodeOutput:
        report = motion_report(
            landmarks,
            None if audio is None else speech_from_audio(audio_from_comfy(audio)),
            None if frames is None else pictures(frames, landmarks.fps),
            border_every=border_every,
        )
        plot, text = image_from_frames([draw_report(report, (width, height))]), report.text()
        shown = ui.PreviewImage(plot, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        return io.NodeOutput(plot, text, report.correlation or 0.0, report.lag or 0.0, ui=shown)

"""Landmarks and a voice → whether the mouth follows it, and how steady the clip is."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..echomimic.errors import OptionsError
from ..echomimic.evaluation.sync import SyncScore, score_film
from ..echomimic.evaluation.syncnet import read_syncnet
from ..echomimic.media.audio import speech_from_audio
from ..echomimic.report.motion_report import SYNC_C, motion_report
from ..echomimic.report.plot import draw_report
from . import files, types
from .convert import audio_from_comfy, image_from_frames
from .model import make_plain_patcher
from .runtime import borrowed
from .video_file import pictures


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
            ],
        )

    @classmethod
    def validate_inputs(cls, syncnet: str = files.NONE) -> bool:
        return True  # a file that is gone is explained by `resolve`, better than by the list

    @classmethod
    def execute(
        cls, landmarks, border_every, width, height, audio=None, frames=None, syncnet=files.NONE
    ) -> io.NodeOutput:
        sync = SYNC_C
        if syncnet != files.NONE:  # first: it may refuse
            sync = _sync_score(syncnet, landmarks, audio, frames).text()
        report = motion_report(
            landmarks,
            None if audio is None else speech_from_audio(audio_from_comfy(audio)),
            None if frames is None else pictures(frames, landmarks.fps),
            border_every=border_every,
        )
        plot, text = image_from_frames([draw_report(report, (width, height))]), report.text(sync)
        shown = ui.PreviewImage(plot, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        return io.NodeOutput(plot, text, report.correlation or 0.0, report.lag or 0.0, ui=shown)


def _sync_score(name, landmarks, audio, frames) -> SyncScore:
    """SyncNet's judgement of the clip; raises `OptionsError` without its sound or pictures."""
    if audio is None or frames is None:
        raise OptionsError(
            "SyncNet needs the clip's pictures and its voice: connect audio and frames to "
            f"EchoMimic Sync and Motion Report, or set syncnet to {files.NONE}."
        )
    speech = speech_from_audio(audio_from_comfy(audio), int16=True).numpy()
    with borrowed(make_plain_patcher(read_syncnet(files.resolve(name)))) as holder:
        return score_film(holder.network, pictures(frames, landmarks.fps), landmarks, speech)

"""Motion for people without a driving clip, and tracks fitted to a clip's length."""

from __future__ import annotations

from comfy_api.latest import io

from ..echomimic.audio.activity import voice_activity
from ..echomimic.landmarks.detect import find_landmarker
from ..echomimic.media.audio import speech_from_audio
from ..echomimic.motion.generate import blink_and_gaze, close_mouth_in_silence
from ..echomimic.motion.portrait_face import check_face_in, portrait_face
from ..echomimic.motion.retime import ENDS, change_speed, fit_track, num_frames_lasting
from . import files, types
from .convert import audio_from_comfy

AUDIO_TRACK_TIP = "Length and fps are taken from the voice; the boxes above do not count then."


def _outputs() -> list[io.Output]:
    return [
        types.Landmarks.Output(display_name="landmarks", tooltip="For EchoMimic Sampler."),
        io.Float.Output(display_name="fps", tooltip="For the node that makes the video."),
        io.Int.Output(display_name="length", tooltip="Frames of the track."),
    ]


class EchoMimicBlinkGaze(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicBlinkGaze",
            display_name="EchoMimic Blink & Gaze",
            category="EchoMimic/landmarks",
            description="Make a still portrait blink, glance and move its head a little, without "
            "a driving clip. The mouth rests: leave it to the voice.",
            search_aliases=["echomimic blinking", "eye movement", "idle motion", "head movement"],
            inputs=[
                types.Portrait.Input(
                    "portrait", tooltip="Whose face will move, from EchoMimic Portrait."
                ),
                io.Int.Input(
                    "length",
                    default=120,
                    min=1,
                    max=1_000_000,
                    tooltip="Frames of the track.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Frames per second of the video. It does not change the motion.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="Decides the motion, whatever the length.",
                ),
                io.Float.Input(
                    "blink_rate",
                    default=17.0,
                    min=0.0,
                    max=60.0,
                    step=0.5,
                    tooltip="Blinks per minute on average. People at rest: about 17.",
                ),
                io.Float.Input(
                    "gaze",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How far the eyes glance about. 0: they stay where they look.",
                ),
                io.Float.Input(
                    "head",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How much the head moves; 1 is one or two degrees. 0: not at all.",
                ),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="The portrait's face, if it should not be looked for, such as from "
                    "EchoMimic Place Face.",
                ),
                types.AudioTrack.Input("audio_track", optional=True, tooltip=AUDIO_TRACK_TIP),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, portrait, length, fps, seed, landmarks=None, audio_track=None, **amounts
    ) -> io.NodeOutput:
        if landmarks is None:
            landmarks = portrait_face(portrait, find_landmarker(files.landmarker_folders()))
        check_face_in(portrait, landmarks)
        if audio_track is not None:
            length, fps = audio_track.num_frames, audio_track.fps
        track = blink_and_gaze(landmarks, length, fps, seed, **amounts)
        return io.NodeOutput(track, track.fps, track.num_frames)


class EchoMimicLandmarkRetime(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLandmarkRetime",
            display_name="EchoMimic Landmark Retime",
            category="EchoMimic/landmarks",
            description="Fit landmarks to a frame rate and a length, faster or slower, and hold, "
            "loop or cut where they end. With a voice, close the mouth while it is silent.",
            search_aliases=["echomimic landmark length", "loop landmarks", "ping pong", "fps"],
            inputs=[
                types.Landmarks.Input(
                    "landmarks", tooltip="Whose rate, length or speed to change."
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Frames per second of the result; in between is interpolated. 0: "
                    "as the landmarks have.",
                ),
                io.Int.Input(
                    "length",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Frames of the result. 0: as long as the landmarks last.",
                ),
                io.Float.Input(
                    "speed",
                    default=1.0,
                    min=0.1,
                    max=8.0,
                    step=0.05,
                    tooltip="2: twice as fast and half as long.",
                ),
                io.Combo.Input(
                    "end",
                    options=list(ENDS),
                    default="hold",
                    tooltip="What happens where the landmarks are over: the last frame stands, "
                    "they start anew, run back and forth, or the clip ends with them.",
                ),
                types.AudioTrack.Input("audio_track", optional=True, tooltip=AUDIO_TRACK_TIP),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The voice of the video: the mouth closes while it is silent.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, landmarks, fps, length, speed, end, audio_track=None, audio=None
    ) -> io.NodeOutput:
        if audio_track is not None:
            length, fps = audio_track.num_frames, audio_track.fps
        fps = fps or landmarks.fps
        track = change_speed(landmarks, speed)
        track = fit_track(track, length or num_frames_lasting(track, fps), fps, end)
        if audio is not None:
            speech = speech_from_audio(audio_from_comfy(audio))
            track = close_mouth_in_silence(track, voice_activity(speech, track.num_frames, fps))
        return io.NodeOutput(track, track.fps, track.num_frames)

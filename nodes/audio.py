"""Sound → what each video frame hears."""

from __future__ import annotations

from comfy_api.latest import io

from ..echomimic.conditions import encode_voice
from ..echomimic.config import Compatibility
from ..echomimic.media.audio import speech_from_audio
from . import types
from .convert import audio_from_comfy, audio_to_comfy
from .runtime import Progress, borrowed


class EchoMimicAudioEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicAudioEncode",
            display_name="EchoMimic Audio Encode",
            category="EchoMimic",
            description="Turn a voice into what every frame of the video hears. The length of "
            "the video is decided here and nowhere else.",
            search_aliases=["echomimic voice", "audio to frames"],
            inputs=[
                types.AudioEncoder.Input(
                    "audio_encoder", tooltip="From EchoMimic Audio Encoder Loader."
                ),
                io.Audio.Input(
                    "audio",
                    tooltip="Speech works best. Any sample rate; channels are mixed to one.",
                ),
                io.Float.Input(
                    "fps",
                    default=24.0,
                    min=1.0,
                    max=120.0,
                    step=0.01,
                    tooltip="Frames per second of the video. The models were trained near 24.",
                ),
                io.Int.Input(
                    "length",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Longest video, in frames. 0: as long as the audio.",
                ),
                io.Boolean.Input(
                    "parity",
                    default=False,
                    advanced=True,
                    tooltip="Do as the official code does: 16-bit audio, hard cuts every 30 s, "
                    "about two frames more than the audio lasts.",
                ),
            ],
            outputs=[
                types.AudioTrack.Output(
                    display_name="audio_track", tooltip="For EchoMimic Sampler."
                ),
                io.Audio.Output(display_name="audio", tooltip="The sound, cut to the video."),
                io.Int.Output(display_name="length", tooltip="Frames of the video."),
                io.Float.Output(display_name="fps", tooltip="For the node that makes the video."),
            ],
        )

    @classmethod
    def execute(cls, audio_encoder, audio, fps, length, parity) -> io.NodeOutput:
        compatibility = Compatibility.parity() if parity else Compatibility()
        sound = audio_from_comfy(audio)
        speech = speech_from_audio(sound, int16=compatibility.int16_audio)
        with borrowed(audio_encoder) as holder:
            track = encode_voice(
                holder.network,
                speech,
                fps=fps,
                length=length or None,
                compatibility=compatibility,
                on_progress=Progress(),
            )
        duration = track.num_frames / fps
        return io.NodeOutput(track, audio_to_comfy(sound, duration), track.num_frames, fps)

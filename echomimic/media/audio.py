"""Sound files and sound in memory become 16 kHz mono speech (spec 5.1), streamed through PyAV."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ..config import AUDIO_RATE
from ..errors import MediaError
from .sound import INT16_STEP, Audio, Sound, resampled, sound_frames, sound_name

logger = logging.getLogger(__name__)


def read_speech(path: Path, *, int16: bool = False) -> Tensor:
    """Read a sound file as 16 kHz mono float32 (n,), a frame at a time (spec 5.1).

    Only the result is held: 230 MB per hour, whatever the file's rate and channels.
    `int16` rounds to 16 bit as the official decoding does.
    Raises `MediaError` if the file is missing, damaged, empty, not finite or holds no sound.
    """
    return _speech(path, int16=int16)


def speech_from_audio(audio: Audio, *, int16: bool = False) -> Tensor:
    """As `read_speech`, from sound in memory.

    With `int16`, samples that came from a 16-bit file give exactly what the file itself gives.
    Raises `MediaError` if a sample is not finite.
    """
    return _speech(audio, int16=int16)


def _speech(sound: Sound, *, int16: bool) -> Tensor:
    # 32-bit integers, not floats: with float output ffmpeg's downmix would not be normalised
    # and a stereo voice would come out 3 dB louder than from the official 16-bit decoding.
    format, dtype = ("s16", np.int16) if int16 else ("s32", np.int32)
    resampler = av.AudioResampler(format=format, layout="mono", rate=AUDIO_RATE)
    name, length = sound_name(sound), _Length()
    buffer = bytearray()  # grows in place, so the peak stays near the result's own size
    for frame in resampled(length.of(sound_frames(sound, int16=int16)), resampler, name):
        samples = frame.to_ndarray().astype(np.float32) / -float(np.iinfo(dtype).min)
        buffer += samples.tobytes()
    if not length.seconds:
        raise MediaError(f"{name} holds an empty sound track; choose another sound file.")
    if not buffer:  # a few samples do not fill the resampling filter and are lost in it
        buffer += bytes(4 * ceil(length.seconds * AUDIO_RATE))
    speech = torch.frombuffer(buffer, dtype=torch.float32)
    if max(map(abs, speech.aminmax())) < INT16_STEP:
        logger.warning("%s is silent: there is no voice for a mouth to follow.", name)
    return speech


class _Length:
    """Sums up the seconds of the frames that pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        for frame in frames:
            self.seconds += frame.samples / frame.sample_rate
            yield frame

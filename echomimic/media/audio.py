"""Sound files and sound in memory become 16 kHz mono speech (spec 5.1), streamed through PyAV."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import ceil
from pathlib import Path

import av
import numpy as np
import torch
from av.error import FFmpegError
from torch import Tensor

from ..config import AUDIO_RATE
from ..errors import MediaError

logger = logging.getLogger(__name__)

FRAME_SAMPLES = 1 << 15  # per channel, of frames cut from sound in memory
INT16_STEP = 1 / 32768  # anything quieter is silence to a 16-bit file


@dataclass(frozen=True)
class Audio:
    """A sound at its own rate. Raises `MediaError` when it cannot be one."""

    samples: Tensor  # (channels, n) float32, full scale is -1..1
    sample_rate: int  # Hz

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or not self.samples.shape[0]:
            shape = tuple(self.samples.shape)
            raise MediaError(f"A sound must be shaped (channels, samples), not {shape}.")
        if not self.samples.shape[1]:
            raise MediaError("The sound is empty; give one with at least one sample.")
        if self.sample_rate < 1:
            raise MediaError(f"A sound's sample rate must be positive, not {self.sample_rate} Hz.")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate


def read_audio(path: Path) -> Audio:
    """Read a whole sound file at its own rate and channels; meant for short ones.

    Raises `MediaError` if the file is missing, damaged, empty, not finite or holds no sound.
    """
    resampler = av.AudioResampler(format="flt")  # packed: (1, n * channels)
    frames = _resampled(_checked(_decoded(path), path.name), resampler, path.name)
    parts, channels, rate = [], 1, AUDIO_RATE
    for frame in frames:
        channels, rate = frame.layout.nb_channels, frame.sample_rate
        parts.append(frame.to_ndarray().reshape(-1, channels))
    if not parts:
        raise MediaError(f"{path.name} holds an empty sound track; choose another sound file.")
    return Audio(torch.from_numpy(np.concatenate(parts).T.copy()), rate)


def read_speech(path: Path, *, int16: bool = False) -> Tensor:
    """Read a sound file as 16 kHz mono float32 (n,), a frame at a time (spec 5.1).

    Only the result is held: 230 MB per hour, whatever the file's rate and channels.
    `int16` rounds to 16 bit as the official decoding does.
    Raises `MediaError` if the file is missing, damaged, empty, not finite or holds no sound.
    """
    return _speech(_checked(_decoded(path), path.name), path.name, int16=int16)


def speech_from_audio(audio: Audio, *, int16: bool = False) -> Tensor:
    """As `read_speech`, from sound in memory.

    With `int16`, samples that came from a 16-bit file give exactly what the file itself gives.
    Raises `MediaError` if a sample is not finite.
    """
    return _speech(_cut(audio, int16=int16), "The sound", int16=int16)


def _decoded(path: Path) -> Iterator[av.AudioFrame]:
    if not path.is_file():
        raise MediaError(f"There is no sound file {path}; check the path.")
    try:
        with av.open(f"file:{path}") as container:  # file: a name with a colon is no protocol
            stream = container.streams.best("audio")
            if stream is None:
                raise MediaError(f"{path.name} holds no sound; choose a file with a sound track.")
            yield from container.decode(stream)
    except FFmpegError as error:
        raise MediaError(
            f"{path.name} is damaged or not a sound file ({error.strerror}); "
            "choose another or convert it to WAV."
        ) from error


def _cut(audio: Audio, *, int16: bool) -> Iterator[av.AudioFrame]:
    """Frames of sound in memory, rounded before resampling so that 16-bit sources stay exact."""
    channels = audio.samples.shape[0]
    for part in audio.samples.split(FRAME_SAMPLES, dim=1):
        packed = part.detach().T.reshape(1, -1).contiguous().cpu().float()
        if not packed.isfinite().all():
            raise _not_finite("The sound")
        if int16:
            packed = (packed / INT16_STEP).round().clamp(-32768, 32767).short()
        frame = av.AudioFrame.from_ndarray(
            packed.numpy(), format="s16" if int16 else "flt", layout=_layout(channels)
        )
        frame.sample_rate = audio.sample_rate
        yield frame


def _layout(channels: int) -> str:
    """ffmpeg's usual speakers for so many channels."""
    names = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
    if channels > len(names):
        raise MediaError(f"The sound has {channels} channels, more than 8; mix it to stereo first.")
    return names[channels - 1]


def _checked(frames: Iterable[av.AudioFrame], name: str) -> Iterator[av.AudioFrame]:
    """Refuse NaN and infinity while they can be seen: integer samples would hide them."""
    for frame in frames:
        if frame.format.name.startswith(("flt", "dbl")) and not _finite(frame):
            raise _not_finite(name)
        yield frame


def _finite(frame: av.AudioFrame) -> bool:
    return bool(np.isfinite(frame.to_ndarray()).all())


def _not_finite(name: str) -> MediaError:
    return MediaError(f"{name} holds samples that are NaN or infinite; export it again.")


def _resampled(
    frames: Iterable[av.AudioFrame], resampler: av.AudioResampler, name: str
) -> Iterator[av.AudioFrame]:
    """Frames through the resampler, and at the end what it held back."""
    for frame in chain(frames, [None]):
        try:
            done = resampler.resample(frame)
        except (FFmpegError, ValueError) as error:
            raise MediaError(
                f"{name} has a channel layout that is unknown or changes ({error}); "
                "convert it to a stereo WAV."
            ) from error
        yield from done


def _speech(frames: Iterable[av.AudioFrame], name: str, *, int16: bool) -> Tensor:
    # 32-bit integers, not floats: with float output ffmpeg's downmix would not be normalised
    # and a stereo voice would come out 3 dB louder than from the official 16-bit decoding.
    format, dtype = ("s16", np.int16) if int16 else ("s32", np.int32)
    resampler = av.AudioResampler(format=format, layout="mono", rate=AUDIO_RATE)
    length = _Length()
    buffer = bytearray()  # grows in place, so the peak stays near the result's own size
    for frame in _resampled(length.of(frames), resampler, name):
        samples = frame.to_ndarray().astype(np.float32) / -float(np.iinfo(dtype).min)
        buffer += samples.tobytes()
    if not length.seconds:
        raise MediaError(f"{name} holds an empty sound track; choose another sound file.")
    if not buffer:  # a few samples do not fill the resampling filter and are lost in it
        buffer += bytes(4 * ceil(length.seconds * AUDIO_RATE))
    speech = torch.frombuffer(buffer, dtype=torch.float32)
    if max(map(abs, speech.aminmax())) < INT16_STEP:
        logger.warning("%s is silent; the mouth will hardly move.", name)
    return speech


class _Length:
    """Sums up the seconds of the frames that pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        for frame in frames:
            self.seconds += frame.samples / frame.sample_rate
            yield frame

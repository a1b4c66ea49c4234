"""Sound as PyAV's frames, from files and from memory; what can be wrong with it is said here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from torch import Tensor

from ..errors import MediaError, brief
from .container import open_media
from .frames import VIDEO_SUFFIXES

FRAME_SAMPLES = 1 << 15  # per channel, of frames cut from sound in memory
INT16_STEP = 1 / 32768  # anything quieter is silence to a 16-bit file
LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")  # FFmpeg's usual speakers


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


Sound = Path | str | Audio


def sound_name(sound: Sound) -> str:
    """How an error calls the sound."""
    return "The sound" if isinstance(sound, Audio) else Path(sound).name


def sound_format(sound: Sound) -> tuple[int, int]:
    """Rate in Hz and number of channels. Raises `MediaError`."""
    if isinstance(sound, Audio):
        return sound.sample_rate, sound.samples.shape[0]
    with _opened(Path(sound)) as stream:
        return stream.rate, stream.channels


def sound_frames(sound: Sound, *, int16: bool = False) -> Iterator[av.AudioFrame]:
    """The sound frame by frame, at its own rate and channels, never all of it at once.

    `int16` rounds sound in memory to 16 bit, before any resampling so that 16-bit sources stay
    exact. Raises `MediaError` if a file is missing, damaged or holds no sound, and if a sample is
    not finite, while that can be seen: integer samples would hide it.
    """
    frames = _cut(sound) if isinstance(sound, Audio) else _decoded(Path(sound))
    for frame in frames:
        if frame.format.name.startswith(("flt", "dbl")) and not _finite(frame):
            raise MediaError(
                f"{sound_name(sound)} holds samples that are NaN or infinite; export it again."
            )
        yield _rounded(frame) if int16 and isinstance(sound, Audio) else frame


def resampled(
    frames: Iterable[av.AudioFrame], resampler: av.AudioResampler, name: str
) -> Iterator[av.AudioFrame]:
    """Frames through the resampler, and at the end what it held back. Raises `MediaError`."""
    for frame in chain(frames, [None]):
        if frame is not None:
            frame.pts = None  # sounds follow each other, whatever a damaged file's clock says
        try:
            done = resampler.resample(frame)
        except (FFmpegError, ValueError) as error:
            raise MediaError(
                f"{name} has a channel layout that is unknown or changes ({brief(error)}); "
                "convert it to a stereo WAV."
            ) from error
        yield from done


@contextmanager
def _opened(path: Path) -> Iterator[av.AudioStream]:
    if not path.is_file():
        raise MediaError(f"There is no sound file {path}; check the path.")
    try:
        # file: a name with a colon is no protocol
        with open_media(f"file:{path}") as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise MediaError(f"{path.name} holds no sound; choose a file with a sound track.")
            if stream.codec_context is None:
                raise MediaError(f"{path.name} uses a codec that FFmpeg lacks; convert it to WAV.")
            yield stream
    except FFmpegError as error:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise MediaError(
                f"{path.name} is damaged, its sound cannot be read to the end ({error.strerror}); "
                "copy or make the file again."
            ) from error
        raise MediaError(
            f"{path.name} is damaged or not a sound file ({error.strerror}); "
            "choose another or convert it to WAV."
        ) from error


def _decoded(path: Path) -> Iterator[av.AudioFrame]:
    with _opened(path) as stream:
        yield from stream.container.decode(stream)


def _cut(audio: Audio) -> Iterator[av.AudioFrame]:
    channels = audio.samples.shape[0]
    if channels > len(LAYOUTS):
        raise MediaError(f"The sound has {channels} channels, more than 8; mix it to stereo first.")
    for part in audio.samples.split(FRAME_SAMPLES, dim=1):
        packed = part.detach().T.reshape(1, -1).contiguous().cpu().float().numpy()
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=LAYOUTS[channels - 1])
        frame.sample_rate = audio.sample_rate
        yield frame


def _rounded(frame: av.AudioFrame) -> av.AudioFrame:
    levels = (frame.to_ndarray() / INT16_STEP).round().clip(-32768, 32767).astype(np.int16)
    rounded = av.AudioFrame.from_ndarray(levels, format="s16", layout=frame.layout.name)
    rounded.sample_rate = frame.sample_rate
    return rounded


def _finite(frame: av.AudioFrame) -> bool:
    return bool(np.isfinite(frame.to_ndarray()).all())

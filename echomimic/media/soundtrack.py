"""A sound file, or sound in memory, cut or padded to the length of a video, a second at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from ..errors import MediaError

if TYPE_CHECKING:
    from .audio import Audio


class Soundtrack:
    """Planar float32 at 44.1 or 48 kHz, mono or stereo: what the AAC encoder takes.

    `source` is a sound file in any format that PyAV reads, or an `Audio`. Raises `MediaError`
    when the file cannot be read or holds no sound, and for NaN or infinite samples.
    """

    def __init__(self, source: Path | Audio, duration: Fraction) -> None:
        self._source = source
        rate, channels = _file_format(source) if _is_path(source) else _memory_format(source)
        self.rate = 44100 if rate % 11025 == 0 else 48000
        self.layout = "mono" if channels == 1 else "stereo"
        self.num_samples = round(duration * self.rate)  # per channel

    def frames(self) -> Iterator[av.AudioFrame]:
        """Blocks with timestamps, `num_samples` altogether; silence where the source has ended."""
        position = 0
        for block in self._fitted():
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self.layout)
            frame.rate, frame.pts, frame.time_base = self.rate, position, Fraction(1, self.rate)
            position += frame.samples
            yield frame

    def _fitted(self) -> Iterator[np.ndarray]:
        missing = self.num_samples
        for block in self._resampled():
            block = block[:, :missing]  # (channels, n)
            missing -= block.shape[1]
            yield block
            if not missing:
                return
        channels = 1 if self.layout == "mono" else 2
        while missing:
            block = np.zeros((channels, min(missing, self.rate)), dtype=np.float32)
            missing -= block.shape[1]
            yield block

    def _resampled(self) -> Iterator[np.ndarray]:
        # By way of integers, because FFmpeg mixes 5.1 down to floats without making room: it clips.
        resampler = av.AudioResampler(format="s32p", layout=self.layout, rate=self.rate)
        decode = _file_frames if _is_path(self._source) else _memory_frames
        for frame in chain(decode(self._source), [None]):
            for out in _resample(resampler, frame):
                yield out.to_ndarray().astype(np.float32) / 2**31  # (channels, n)


def _resample(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[av.AudioFrame]:
    if frame is not None:
        if not _finite(frame):
            raise MediaError("The soundtrack contains NaN or infinite samples; export it anew.")
        frame.pts = None  # sounds follow each other, whatever a damaged file's clock says
    try:
        return resampler.resample(frame)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            f"The soundtrack has channels that are unknown or change ({error}); "
            "convert it to a stereo WAV."
        ) from error


def _finite(frame: av.AudioFrame) -> bool:
    could_fail = frame.format.name.startswith(("flt", "dbl"))
    return not could_fail or bool(np.isfinite(frame.to_ndarray()).all())


def _is_path(source: Path | Audio) -> bool:
    return isinstance(source, (str, Path))


def _memory_format(audio: Audio) -> tuple[int, int]:
    return audio.sample_rate, audio.samples.shape[0]


def _memory_frames(audio: Audio) -> Iterator[av.AudioFrame]:
    channels, num_samples = audio.samples.shape
    for start in range(0, num_samples, audio.sample_rate):
        block = audio.samples[:, start : start + audio.sample_rate]
        block = np.ascontiguousarray(block.cpu().numpy(), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=f"{channels}c")
        frame.rate = audio.sample_rate
        yield frame


def _file_format(path: Path) -> tuple[int, int]:
    with _open(path) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise MediaError(f"{path} holds no sound; choose an audio file.")
        return stream.rate, stream.channels


def _file_frames(path: Path) -> Iterator[av.AudioFrame]:
    with _open(path) as container:
        yield from container.decode(container.streams.best("audio"))


@contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(f"file:{path}") as container:  # file: a name with a colon is no protocol
            yield container
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(
            f"The soundtrack {path} cannot be read ({reason}); choose another file."
        ) from error

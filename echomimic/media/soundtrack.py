"""A sound file, or sound in memory, cut or padded to the length of a video, a second at a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from .sound import Sound, resampled, sound_format, sound_frames, sound_name


class Soundtrack:
    """Planar float32 at 44.1 or 48 kHz, mono or stereo: what the AAC encoder takes.

    `source` is a sound file in any format that PyAV reads, or an `Audio`. Raises `MediaError`
    when the file cannot be read or holds no sound, and for NaN or infinite samples.
    """

    def __init__(self, source: Sound, duration: Fraction) -> None:
        self._source = source
        rate, channels = sound_format(source)
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
        for frame in resampled(sound_frames(self._source), resampler, sound_name(self._source)):
            yield frame.to_ndarray().astype(np.float32) / 2**31  # (channels, n)

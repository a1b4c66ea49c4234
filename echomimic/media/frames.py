"""Videos as pictures: upright uint8 RGB at a constant frame rate, one after the other."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Colorspace, VideoReformatter

from ..errors import MediaError
from .container import open_media

VIDEO_SUFFIXES = (  # of the files in a folder that are taken for videos
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts",
)  # fmt: skip
TOLERANCE = Fraction(1, 8)  # of a frame: containers round times, Matroska to 1 ms
LONGEST_PAUSE = 600  # seconds without a new frame; more than that is a broken clock
MOST_FPS = 240  # what is said to be faster has no frame rate, as streams from browsers
DEFAULT_RATE = Fraction(25)  # where a file does not say
PICTURE_FORMATS = ("image2", "_pipe")  # how the names of FFmpeg's picture readers end
LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders by codec
log = logging.getLogger(__name__)

Video = Path | str | BinaryIO
OnProgress = Callable[[int, int], None]  # frames done, frames expected
READ_ERRORS = (FFmpegError, ValueError, ArithmeticError, LookupError)  # of damaged videos


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, as `read_frames` gives it."""

    size: tuple[int, int]  # width, height as shown: rotated, pixels square
    fps: float  # on average
    duration: float | None  # seconds; None: the file does not say
    has_audio: bool

    @property
    def num_frames(self) -> int | None:
        """How many frames it has at its own rate, where the file says."""
        return None if self.duration is None else max(1, round(self.duration * self.fps))


def video_info(video: Video) -> VideoInfo:
    """Size, frame rate and length of a video file; raises as `read_frames`."""
    with _opened(video) as stream:
        first = next(_decoded(stream, video_name(video)), None)
        if first is None:
            raise _empty(video)
        size = _shown_size(first, stream)
        turn = _display_matrix(first)
        height, width = _picture(first, size, turn, VideoReformatter()).shape[:2]
        duration = _duration(stream)
        return VideoInfo(
            (width, height),
            float(_rate(stream)),
            None if duration is None else float(duration),
            bool(stream.container.streams.audio),
        )


def read_frames(
    video: Video,
    *,
    fps: float | None = None,
    strict: bool = False,
    on_progress: OnProgress | None = None,
) -> Iterator[np.ndarray]:
    """The pictures of a video file, uint8 `(H, W, 3)` RGB, at a constant rate.

    Frame k is what is shown k / fps seconds after the first frame; without `fps` the rate is the
    file's average. Rotation and pixel aspect are applied, transparency is laid over white, any
    pixel format is converted by the colour matrix that the file names (BT.601 if it names none,
    as FFmpeg does). A file that ends early or is damaged in places gives what it holds, and a
    warning is logged; `strict` raises `MediaError` instead, when it comes to the damage. Raises
    `MediaError` where it is missing, no video, or holds no frame.
    """
    with _opened(video) as stream:
        name, own_rate = video_name(video), _rate(stream)
        usable = fps is None or 0 < fps < math.inf
        rate = own_rate if fps is None or not usable else Fraction(fps).limit_denominator(100_000)
        if not usable or rate <= 0:
            raise MediaError(f"{name} cannot be read at {fps} fps; give a positive frame rate.")
        duration = _duration(stream)
        expected = 0 if duration is None else round(duration * rate)
        clock, converter = _Clock(stream, own_rate), VideoReformatter()
        size, turn, done = None, None, 0
        for frame, repeats in _resampled(clock.timed(_decoded(stream, name, strict)), rate, clock):
            if not repeats:
                continue
            if size is None:
                size, turn = _shown_size(frame, stream), _display_matrix(frame)
            picture = _picture(frame, size, turn, converter)
            for _ in range(repeats):
                yield picture
                done += 1
                if on_progress is not None:
                    on_progress(done, max(done, expected))
        if not done:
            raise _empty(video)
        if duration is not None and clock.end < duration - 2 / own_rate:
            # Where only the container says how long it is, that may be the length of the sound.
            _complain(
                f"The pictures of {name} end early: {done} frames ({float(clock.end):.2f} of "
                f"{float(duration):.2f} s) could be read",
                strict and stream.duration is not None,
            )


def is_picture(path: Path) -> bool:
    """Whether FFmpeg takes the file for a still picture. Raises `MediaError`."""
    with _opened(path) as stream:
        return stream.container.format.name.endswith(PICTURE_FORMATS)


def video_name(video: Video) -> str:
    """How an error calls the video."""
    return Path(video).name if isinstance(video, str | Path) else "The video"


@contextmanager
def _opened(video: Video) -> Iterator[av.VideoStream]:
    if isinstance(video, str | Path) and not Path(video).is_file():
        raise MediaError(f"There is no video file {video}; check the path.")
    name = video_name(video)
    # file: a name with a colon is no protocol
    source = f"file:{video}" if isinstance(video, str | Path) else video
    try:
        with open_media(source) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise MediaError(f"{name} holds no video; choose a file with pictures.")
            if stream.codec_context is None:
                raise MediaError(f"{name} uses a codec that FFmpeg lacks; convert it to MP4.")
            stream.thread_type = "AUTO"
            yield stream
    except FFmpegError as error:
        raise MediaError(
            f"{name} is damaged or not a video file ({error.strerror}); "
            "choose another or convert it to MP4."
        ) from error


def _decoded(stream: av.VideoStream, name: str, strict: bool = False) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded; what cannot, or only in parts, is counted and reported."""
    damaged, decoder = 0, _decoder(stream)
    for packet in chain(_packets(stream, name, strict), [None]):  # None empties the decoder
        frames, whole = _decode(decoder, packet)
        damaged += not whole
        if strict and damaged:
            break
        yield from frames
    if damaged:
        _complain(
            f"{name} is damaged: {damaged} of its packets cannot be decoded as a whole", strict
        )


def _decode(
    decoder: av.VideoCodecContext, packet: av.Packet | None
) -> tuple[list[av.VideoFrame], bool]:
    """Frames, and whether all of them were there: FFmpeg makes up what is missing in a frame."""
    try:
        frames = decoder.decode(packet)
    except FFmpegError:
        return [], False
    return frames, not any(frame.is_corrupt for frame in frames)


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """FFmpeg's own decoders of VP8 and VP9 leave transparency away, those of libvpx do not."""
    libvpx = LIBVPX.get(stream.codec_context.codec.name)
    alpha = any(key.lower() == "alpha_mode" for key in stream.metadata)
    if libvpx in av.codecs_available and alpha:
        return av.CodecContext.create(libvpx, "r")
    return stream.codec_context


def _packets(stream: av.VideoStream, name: str, strict: bool) -> Iterator[av.Packet]:
    """Packets up to the first that cannot be read."""
    try:
        for packet in stream.container.demux(stream):
            if packet.size:
                yield packet
    except FFmpegError as error:
        _complain(f"{name} breaks off: {error.strerror}", strict)


def _complain(sentence: str, strict: bool) -> None:
    if strict:
        raise MediaError(f"{sentence}; copy or make the file again.")
    log.warning(sentence)


def _rate(stream: av.VideoStream) -> Fraction:
    said = (stream.average_rate, stream.guessed_rate)
    return next((rate for rate in said if rate and 0 < rate <= MOST_FPS), DEFAULT_RATE)


def _duration(stream: av.VideoStream) -> Fraction | None:
    """Seconds, of pictures and sound together where the container tells no more."""
    if stream.duration is not None:
        return stream.duration * stream.time_base
    whole = stream.container.duration
    return None if whole is None else Fraction(whole, av.time_base)


class _Clock:
    """When frames are shown, in seconds from the first; mends what damaged files say."""

    def __init__(self, stream: av.VideoStream, rate: Fraction) -> None:
        # AVI knows no times but those of decoding, in an order of their own.
        self._kind = "dts" if stream.container.format.name == "avi" else "pts"
        self._unit = stream.time_base
        self._step = 1 / rate
        self.end = Fraction(0)  # of the last frame so far

    def timed(self, frames: Iterable[av.VideoFrame]) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Each frame with its time, which never runs backwards."""
        offset: Fraction | None = None
        time = -self._step
        for frame in frames:
            expected = time + self._step
            stamp = getattr(frame, self._kind)
            stamp = None if stamp is None else stamp * self._unit
            if stamp is not None and offset is None:
                offset = expected - stamp
            shown = expected if stamp is None else stamp + offset
            if not time < shown <= time + LONGEST_PAUSE:
                shown, offset = expected, expected - stamp
            time = shown
            lasts = (getattr(frame, "duration", 0) or 0) * self._unit  # PyAV 14.0 has none
            self.end = time + (lasts if 0 < lasts <= LONGEST_PAUSE else self._step)
            yield time, frame


def _resampled(
    frames: Iterable[tuple[Fraction, av.VideoFrame]], rate: Fraction, clock: _Clock
) -> Iterator[tuple[av.VideoFrame, int]]:
    """Each frame with how many output instants it is shown at."""
    previous, done = None, 0
    for time, frame in frames:
        if previous is not None:
            due = _instants(time, rate)
            yield previous, due - done
            done = due
        previous = frame
    if previous is not None:
        yield previous, max(_instants(clock.end, rate) - done, 0 if done else 1)


def _instants(time: Fraction, rate: Fraction) -> int:
    """How many output frames begin before `time`."""
    return max(0, -((TOLERANCE - time * rate) // 1))


def _shown_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height with square pixels, before rotation."""
    aspect = stream.sample_aspect_ratio or 1
    return max(1, round(frame.width * aspect)), frame.height


def _display_matrix(frame: av.VideoFrame) -> list[int] | None:
    """How stored pixels lie in the picture shown, where the file says.

    To be asked of the first frame only: a frame that was asked refers to itself from then on, and
    stays in memory until Python looks for such circles, which with 4K takes gigabytes.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return None if matrix is None else np.frombuffer(matrix, dtype=np.int32).tolist()


def _picture(
    frame: av.VideoFrame,
    size: tuple[int, int],
    turn: list[int] | None,
    converter: VideoReformatter,
) -> np.ndarray:
    """A frame as it is shown. To use the converter again saves half the time."""
    width, height = size
    see_through = any(component.is_alpha for component in frame.format.components)
    converted = converter.reformat(
        frame,
        format="rgba" if see_through or frame.format.has_palette else "rgb24",
        width=width,
        height=height,
        src_colorspace=int(frame.colorspace),  # PyAV 14 does not take them from the frame
        src_color_range=int(frame.color_range),
        dst_colorspace=int(Colorspace.ITU601),  # of RGB: means nothing, but is asked for
    )
    return _upright(_over_white(converted.to_ndarray()), turn)


def _over_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[-1] == 3:
        return pixels
    colour, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(pixels: np.ndarray, turn: list[int] | None) -> np.ndarray:
    """The display matrix maps stored x y (right, down) to shown ones; quarter turns and mirrors."""
    if turn is None:
        return pixels
    a, b, _, c, d, *_ = turn
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _empty(video: Video) -> MediaError:
    return MediaError(f"{video_name(video)} holds no picture that can be read; choose another.")

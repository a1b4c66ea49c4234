"""Frames and a soundtrack → a video file, encoded once, in memory that does not grow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ..errors import MediaError
from ..files import NotReplaced, replacing
from .provenance import Provenance
from .sound import Sound
from .soundtrack import Soundtrack

BT709 = 1  # FFmpeg's number for it, for matrix, primaries and transfer alike
LIMITED_RANGE = 1  # luma 16..235, what players expect of H.264


def to_uint8(images: Tensor, *, truncate: bool = False) -> np.ndarray:
    """(n, 3, H, W) in -1..1 → uint8 (n, H, W, 3).

    Values are rounded; `truncate` cuts them as the official code does, half a level darker on
    average (spec 10.7, D28).
    """
    levels = (images / 2 + 0.5).clamp(0, 1) * 255
    levels = levels if truncate else levels.round()
    return levels.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def check_output(path: Path) -> None:
    """Raise `MediaError` if a video obviously cannot be written to `path`.

    Meant to be called before the hours of work whose result goes there.
    """
    path = Path(path)
    if path.suffix.lower() not in (".mp4", ".mov", ".mkv"):
        raise MediaError(f"The video {path} must end in .mp4, .mov or .mkv; rename it.")
    try:
        folder = path.is_dir()
    except OSError as error:  # too long, mostly
        raise MediaError(
            f"The video {path.name:.80} cannot be written ({error.strerror}); choose another name."
        ) from error
    if folder:
        raise MediaError(f"The video {path} is a folder; choose a file name.")
    if not path.parent.is_dir():
        raise MediaError(f"The folder {path.parent} for the video does not exist; create it.")
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f"The folder {path.parent} is not writable; choose another for the video.")


def write_video(  # noqa: PLR0913 (each is a choice of its own)
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float,
    num_frames: int,
    size: tuple[int, int],
    soundtrack: Sound | None = None,
    crf: int = 18,
    provenance: Provenance = Provenance(),  # noqa: B008 (frozen)
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Encode `frames`, uint8 (H, W, 3) or (n, H, W, 3), as H.264 yuv420p with AAC sound.

    `size` is (W, H) in pixels; H.264 wants even sides, so an odd side gets its last row or column
    twice. The sound is cut or padded with silence to num_frames / fps. Frames are consumed one
    by one as they are made. `provenance` is what the container says of them. The file appears
    under its name when it is complete: after any error nothing is left. Raises `MediaError` when
    the file cannot be written, the soundtrack cannot be read, or the frames are not `num_frames`
    of `size`.
    """
    path = Path(path)
    check_output(path)
    if num_frames < 1:
        raise MediaError(f"The video {path.name} would have no frames; give it at least one.")
    if not 1 / 1001 <= fps < math.inf:
        raise MediaError(f"The video {path.name} cannot have {fps} fps; give a positive number.")
    rate = Fraction(fps).limit_denominator(1001)  # 24000/1001 stays exact
    with _replacing(path) as temporary, _Encoder(temporary, path, rate, size, crf) as encoder:
        encoder.say(provenance)
        if soundtrack is not None:
            encoder.add_sound(Soundtrack(soundtrack, num_frames / rate))
        for done, frame in enumerate(_checked(frames, num_frames, size), start=1):
            encoder.encode(frame)
            if on_progress is not None:
                on_progress(done, num_frames)
        encoder.finish()


class _Encoder:
    """An open video file. Sound is written along with the picture, so that the muxer, which
    orders packets by time, never has to hold much of either."""

    def __init__(
        self, file: Path, shown_as: Path, rate: Fraction, size: tuple[int, int], crf: int
    ) -> None:
        self._shown_as = shown_as
        self._sound: Iterator[av.AudioFrame] = iter(())
        self._sound_until = Fraction(0)  # seconds
        self._count = 0
        # Without use_metadata_tags, MP4 keeps only the few tags that iTunes knows.
        flags = {"movflags": "+faststart+use_metadata_tags"}
        options = flags if file.suffix.lower() != ".mkv" else {}
        with self._explained():
            self._container = av.open(f"file:{file}", "w", container_options=options)
            self._video = self._container.add_stream("libx264", rate=rate)
            width, height = size
            self._video.width, self._video.height = width + width % 2, height + height % 2
            self._video.pix_fmt = "yuv420p"
            self._video.options = {"crf": str(crf)} | _repeatable()
            self._tag_colours()
        self._audio = None

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(self, *exception: object) -> None:
        # After a failure this tries to complete a file that is thrown away: its error says nothing.
        with suppress(av.FFmpegError, OSError):
            self._container.close()

    def say(self, provenance: Provenance) -> None:
        """How the video was made; before the first frame, which writes the file's head."""
        self._container.metadata.update(provenance.container_tags())

    def add_sound(self, soundtrack: Soundtrack) -> None:
        with self._explained():
            self._audio = self._container.add_stream("aac", rate=soundtrack.rate)
            self._audio.layout = soundtrack.layout
        self._sound = soundtrack.frames()

    def encode(self, image: np.ndarray) -> None:
        """One frame, uint8 (H, W, 3), and the sound up to its end."""
        height, width = image.shape[:2]
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE
        )
        frame.pts, frame.time_base = self._count, 1 / self._video.codec_context.framerate
        self._count += 1
        self._mux(self._video, frame)
        self._encode_sound(self._count * frame.time_base)

    def finish(self) -> None:
        """Write all that the encoders hold back, and the file's index."""
        self._encode_sound(None)
        self._mux(self._video, None)
        if self._audio is not None:
            self._mux(self._audio, None)
        with self._explained():
            self._container.close()

    def _encode_sound(self, until: Fraction | None) -> None:
        while until is None or self._sound_until < until:
            frame = next(self._sound, None)
            if frame is None:
                return
            self._sound_until = (frame.pts + frame.samples) * frame.time_base
            self._mux(self._audio, frame)

    def _mux(self, stream: av.stream.Stream, frame: av.frame.Frame | None) -> None:
        with self._explained():
            self._container.mux(stream.encode(frame))

    def _tag_colours(self) -> None:
        context = self._video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MediaError(
                f"The video {self._shown_as} cannot be written ({reason}); "
                "free disk space or choose another place."
            ) from error


def _repeatable() -> dict[str, str]:
    """What makes x264 turn equal frames into equal files.

    At many widths (64, 144 and 176 pixels of those tried, not 512) its AVX-512 code lets choices
    depend on memory that nobody wrote. Every processor with AVX-512 has AVX2.
    """
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return {"x264-params": "asm=AVX2"} if has_avx512 else {}


def _checked(
    frames: Iterable[np.ndarray], num_frames: int, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Single frames (H, W, 3); complains unless there are `num_frames` of `size` (W, H)."""
    shape = (size[1], size[0], 3)
    count = 0
    for frame in single_frames(frames):
        count += 1
        if frame.shape != shape or frame.dtype != np.uint8:
            raise MediaError(f"Frame {count} is {frame.dtype} {frame.shape}, not uint8 {shape}.")
        if count > num_frames:
            raise MediaError(f"There are more frames than the {num_frames} announced.")
        yield frame
    if count < num_frames:
        raise MediaError(f"The frames ended after {count} of {num_frames}.")


def single_frames(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) one by one, out of single ones or chunks (n, H, W, 3)."""
    for item in frames:
        if item.ndim == 4:
            yield from item
        else:
            yield item


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    try:
        with replacing(path) as temporary:
            yield temporary
    except NotReplaced as error:
        raise MediaError(
            f"The video {path} cannot be replaced ({error.strerror}); close the program "
            "that uses it or choose another name."
        ) from error

"""Videos as ComfyUI hands them around: read one frame at a time, written as frames are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from comfy_api.latest import Input, InputImpl, io, ui
from torch import Tensor

from ..echomimic.errors import MediaError, brief
from ..echomimic.media.frames import READ_ERRORS, read_frames, video_info
from ..echomimic.media.provenance import Provenance
from ..echomimic.media.sound import Sound
from ..echomimic.media.video import write_video
from .convert import audio_from_comfy, frames_from_image
from .files import new_file
from .runtime import Progress

OnProgress = Callable[[int, int], None]
SAME_LENGTH = 1e-3  # seconds; a trimmed video differs from its file by more


def file_inputs() -> list[io.Input]:
    """Where a node's video goes, and how good it is."""
    return [
        io.String.Input(
            "filename_prefix",
            default="video/EchoMimic",
            tooltip="Folder and start of the file name, as in Save Video.",
        ),
        io.Boolean.Input(
            "save_output",
            default=True,
            tooltip="Keep the file in the output folder. Off: a preview in the temp "
            "folder, gone at the next start.",
        ),
        io.Int.Input(
            "crf",
            default=18,
            min=0,
            max=51,
            advanced=True,
            tooltip="H.264 quality: lower is better and larger.",
        ),
    ]


def sound_input(without: str = "") -> io.Input:
    """The sound that goes with a node's video."""
    return io.MultiType.Input(
        "audio",
        [io.Audio, io.Video],
        optional=True,
        tooltip=f"Sound, or a video whose sound is taken; cut or padded to the video.{without}",
    )


def save_video(
    frames: Iterable[np.ndarray],
    *,
    fps: float,
    num_frames: int,
    size: tuple[int, int],
    sound: Sound | None,
    provenance: Provenance,
    written_at: Callable[[Path], AbstractContextManager[Path]] = nullcontext,
    **file: Any,
) -> io.NodeOutput:
    """Encode frames while they are made; the VIDEO of the file, shown on the node.

    `file` are the values of `file_inputs`. `written_at` turns the file's path into the one that it
    is written to first.
    """
    folder = io.FolderType.output if file["save_output"] else io.FolderType.temp
    path, subfolder = new_file(file["filename_prefix"], folder.value, ".mp4", size)
    with written_at(path) as place:
        write_video(
            place,
            frames,
            fps=fps,
            num_frames=num_frames,
            size=size,
            soundtrack=sound,
            crf=file["crf"],
            provenance=provenance,
            on_progress=Progress(),
        )
    shown = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, folder)])
    return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=shown)


def video_frames(
    video: Input.Video, fps: float | None = None, on_progress: OnProgress | None = None
) -> Iterator[np.ndarray]:
    """The frames of a VIDEO, uint8 (H, W, 3), at a constant rate (None: its own).

    Files are streamed. Videos that are trimmed, or in memory anyway, are taken from ComfyUI.
    """
    source = _whole_file(video)
    if source is not None:
        yield from read_frames(source, fps=fps, on_progress=on_progress)
        return
    if fps is not None and not 0 < fps < math.inf:
        raise MediaError(f"A video cannot be read at {fps} fps; give a positive frame rate.")
    with _explained():
        parts = video.get_components()
    rate = float(parts.frame_rate)
    step = rate / (fps or rate)
    total = max(1, round(len(parts.images) / step))
    for number in range(total):
        index = min(int(number * step + 1e-6), len(parts.images) - 1)
        yield from frames_from_image(parts.images[index : index + 1])
        if on_progress is not None:
            on_progress(number + 1, total)


def sound_of(source: dict[str, Any] | Input.Video | None) -> Sound | None:
    """The sound of an AUDIO or a VIDEO; None where there is none. Files are not read here."""
    if not isinstance(source, Input.Video):
        return None if source is None else audio_from_comfy(source)
    file = _whole_file(source)
    if isinstance(file, str):
        return Path(file) if video_info(file).has_audio else None
    with _explained():
        audio = source.get_components().audio
    return None if audio is None or not audio["waveform"].numel() else audio_from_comfy(audio)


def pictures(source: Tensor | Input.Video, fps: float | None = None) -> Iterator[np.ndarray]:
    """The frames, uint8 (H, W, 3), of an IMAGE or a VIDEO."""
    return frames_from_image(source) if is_image(source) else video_frames(source, fps)


def first_picture(source: Tensor | Input.Video) -> np.ndarray:
    """The first frame of an IMAGE or a VIDEO; raises `MediaError` without one."""
    picture = next(pictures(source), None)
    if picture is None:
        raise MediaError("The connected image holds no picture; connect one that does.")
    return picture


def is_image(source: object) -> bool:
    """Whether a value is an IMAGE, whose frames have no rate."""
    return isinstance(source, Tensor)


def frame_rate(video: Input.Video) -> float:
    """Frames per second of a VIDEO; raises `MediaError`."""
    with _explained():
        return float(video.get_frame_rate())


@contextmanager
def _explained() -> Iterator[None]:
    """ComfyUI opens the file of a VIDEO no sooner than it is asked something."""
    try:
        yield
    except READ_ERRORS as error:
        raise MediaError(
            f"The connected video cannot be read ({brief(error)}); choose another or convert it "
            "to MP4."
        ) from error


def _whole_file(video: Input.Video) -> str | BytesIO | None:
    """The file of a VIDEO, if all of it is meant."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return None  # encoding what is in memory would cost time and quality
    whole = InputImpl.VideoFromFile(video.get_stream_source())
    with _explained():
        trimmed = abs(whole.get_duration() - video.get_duration()) > SAME_LENGTH
    return None if trimmed else video.get_stream_source()

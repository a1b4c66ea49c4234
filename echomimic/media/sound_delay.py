"""How sound and picture of a file lie to each other in time."""

from __future__ import annotations

from pathlib import Path

from av.error import FFmpegError

from ..errors import MediaError
from .container import open_media


def sound_delay(video: Path) -> float:
    """Seconds that the first sound comes after the first picture; negative if it comes before.

    Picture and sound are read one without the other, each from its own start. 0 where the file
    does not say. Raises `MediaError` for what is no video.
    """
    try:
        with open_media(f"file:{video}") as container:
            picture, sound = (container.streams.best(kind) for kind in ("video", "audio"))
            if None in (picture, sound) or None in (picture.start_time, sound.start_time):
                return 0.0
            return float(
                sound.start_time * sound.time_base - picture.start_time * picture.time_base
            )
    except FFmpegError as error:
        raise MediaError(
            f"{video.name} is damaged or not a video file ({error.strerror}); "
            "choose another or convert it to MP4."
        ) from error

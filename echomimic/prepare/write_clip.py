"""A stretch that was kept → a clip's folder, as `train.clips` reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import AUDIO_RATE
from ..errors import DatasetError
from ..files import replacing_folder
from ..landmarks.face_box import Crop, cut
from ..landmarks.track import LandmarkTrack
from ..landmarks.track_file import save_track
from ..media.frame_zip import write_frames
from ..train.clips import FRAME_ZIP, FRAMES, LANDMARKS, META, SPEECH, write_speech
from .lip_sync import Candidate
from .options import PrepareOptions


def cropped_track(track: LandmarkTrack, crop: Crop) -> LandmarkTrack:
    """The track in its crop. Mesh and pose, which belong to the whole picture, are left out."""
    (width, height), (new_width, new_height) = crop.source_size, crop.size
    points = crop.to_crop(track.points * (width, height, width))
    points = points / (new_width, new_height, new_width)
    return replace(track, points=points, size=crop.size, mesh=None, transforms=None, neutral=None)


def cropped_frame(picture: np.ndarray, crop: Crop) -> np.ndarray:
    """The crop of a picture, uint8 (H, W, 3) both."""
    pixels = torch.from_numpy(np.require(picture, requirements=["C", "W"]))
    return cut(pixels.permute(2, 0, 1), crop).permute(1, 2, 0).contiguous().numpy()


def heard(speech: np.ndarray, first: float, seconds: float) -> np.ndarray:
    """16 kHz speech (n,) from a second on, silence where there is none."""
    start, count = round(first * AUDIO_RATE), round(seconds * AUDIO_RATE)
    there = speech[max(0, start) : max(0, start + count)]
    before = min(max(0, -start), count)
    return np.pad(there, (before, count - len(there) - before))


def write_clip(
    folder: Path,
    clip: Candidate,
    speech: np.ndarray,
    meta: Mapping[str, Any],
    options: PrepareOptions,
) -> None:
    """Write the folder of a clip, which appears when it is complete and replaces an earlier one.

    `speech` is what the file gets, of which the clip shows a part from `meta["start"]` on. Raises
    `DatasetError` where it cannot be written.
    """
    try:
        with replacing_folder(folder) as unfinished:
            _write_frames(unfinished, clip.frames(), options)
            write_speech(unfinished / SPEECH, speech)
            save_track(clip.track, unfinished / LANDMARKS)
            (unfinished / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be written ({error}); check the folder and the free space."
        ) from error


def _write_frames(folder: Path, frames: Iterator[np.ndarray], options: PrepareOptions) -> None:
    if options.frames == "npy":
        np.save(folder / FRAMES, np.stack(list(frames)))
    else:
        write_frames(folder / FRAME_ZIP, frames, suffix=options.frames, quality=options.quality)

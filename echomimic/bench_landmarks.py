"""Speed of landmarks on this machine: extraction, synchronisation, drawing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .assets import PORTRAIT
from .landmarks.camera import project
from .landmarks.draw import draw_track
from .landmarks.extract import extract_track
from .landmarks.mesh import NUM_POINTS
from .landmarks.track import LandmarkTrack
from .media.image import read_image
from .motion.sync import METHODS, synchronise

SIZE = (512, 512)
EXTRACTED = 100  # frames
SYNCHRONISED = 1000
DRAWN = 500


def landmark_figures(landmarker: Path | None) -> dict[str, Any]:
    """Frames per second at 512x512, and seconds for 1,000 frames of synchronisation.

    Extraction is left out where the landmarker's model file is missing.
    """
    figures: dict[str, Any] = {}
    if landmarker is not None:
        frames = [read_image(PORTRAIT)] * (EXTRACTED + 1)
        extract_track(frames[:1], fps=24, landmarker=landmarker)  # loads MediaPipe
        seconds = _seconds(lambda: extract_track(frames[1:], fps=24, landmarker=landmarker))
        figures["landmark_frames_extracted_per_second"] = EXTRACTED / seconds
    track = _any_track(SYNCHRONISED)
    face = replace(_any_track(1), fps=1.0)
    for method in METHODS:
        name = f"seconds_to_sync_{SYNCHRONISED}_frames_{method}"
        figures[name] = _seconds(lambda method=method: synchronise(track, face, method=method))
    seconds = _seconds(lambda: draw_track(track, SIZE, range(DRAWN)))
    figures["landmark_frames_drawn_per_second"] = DRAWN / seconds
    return figures


def _any_track(num_frames: int) -> LandmarkTrack:
    """A cloud of points in the place of a head: what is done with them takes as long."""
    random = np.random.default_rng(0)
    shape = random.normal(0, 4, (1, NUM_POINTS, 3))  # centimetres
    mesh = shape + random.normal(0, 0.05, (num_frames, NUM_POINTS, 3))
    transforms = np.tile(np.eye(4), (num_frames, 1, 1))
    transforms[:, 2, 3] = -40
    points = np.concatenate([project(mesh, transforms, SIZE), mesh[..., 2:] / 40], axis=-1)
    return LandmarkTrack(points, SIZE, 25.0, mesh=mesh, transforms=transforms)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

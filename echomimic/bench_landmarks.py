"""Speed of landmarks on this machine: extraction, synchronisation, drawing."""

from __future__ import annotations

import time
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
EXTRACTED = 100  # frames, each of another picture
SYNCHRONISED = 1000
DRAWN = 500


def landmark_figures(landmarker: Path | None) -> dict[str, Any]:
    """Frames per second at 512x512, and seconds for 1,000 frames of synchronisation.

    Without the landmarker's model file extraction is left out, and what is drawn is no face.
    """
    figures: dict[str, Any] = {}
    track = drawn = _any_track(SYNCHRONISED)
    if landmarker is not None:
        picture = read_image(PORTRAIT)
        frames = [np.roll(picture, shift, axis=1) for shift in range(EXTRACTED)]  # all different
        extract_track(frames[:1], fps=24, landmarker=landmarker)  # loads MediaPipe
        start = time.perf_counter()
        drawn = extract_track(frames, fps=24, landmarker=landmarker)
        seconds = time.perf_counter() - start
        figures["landmark_frames_extracted_per_second"] = EXTRACTED / seconds
    face = replace(_any_track(1), fps=1.0)
    for method in METHODS:
        start = time.perf_counter()
        synchronise(track, face, method=method)
        name = f"seconds_to_sync_{SYNCHRONISED}_frames_{method}"
        figures[name] = time.perf_counter() - start
    frames_drawn = [frame % drawn.num_frames for frame in range(DRAWN)]
    start = time.perf_counter()
    draw_track(drawn, SIZE, frames_drawn)
    figures["landmark_frames_drawn_per_second"] = DRAWN / (time.perf_counter() - start)
    return figures


def _any_track(num_frames: int) -> LandmarkTrack:
    """A cloud of points in the place of a head: fitting it takes as long."""
    random = np.random.default_rng(0)
    shape = random.normal(0, 4, (1, NUM_POINTS, 3))  # centimetres
    mesh = shape + random.normal(0, 0.05, (num_frames, NUM_POINTS, 3))
    transforms = np.tile(np.eye(4), (num_frames, 1, 1))
    transforms[:, 2, 3] = -40
    points = np.concatenate([project(mesh, transforms, SIZE), mesh[..., 2:] / 40], axis=-1)
    return LandmarkTrack(points, SIZE, 25.0, mesh=mesh, transforms=transforms)

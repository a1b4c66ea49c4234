"""Draws motion_sync.png, landmarks only, from a driving clip and a portrait:
`python docs/images/make_sync_image.py DRIVER.mp4 PORTRAIT.png face_landmarker.task`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from make_images import GREY, INK, Sheet
from PIL import Image

from echomimic.landmarks.draw import draw_landmarks, overlay
from echomimic.landmarks.extract import extract_file
from echomimic.landmarks.mesh import PARTS
from echomimic.landmarks.track import LandmarkTrack
from echomimic.motion.sync import METHODS, synchronise

HERE = Path(__file__).parent
SIDE, GAP, LABEL = 220, 8, 84
SHOWN = 5  # frames
ASIDE = (
    14.0,
    4.0,
    -30.0,
)  # centimetres; from where the clip was filmed to where it might have been


def filmed_from_elsewhere(track: LandmarkTrack) -> LandmarkTrack:
    """The same performance, the head nearer to the edge of the picture and twice as far away."""
    transforms = track.transforms.copy()
    transforms[:, :3, 3] += ASIDE
    return replace(track, transforms=transforms)


def turned_most(track: LandmarkTrack) -> np.ndarray:
    """Numbers of frames (SHOWN,), evenly spread from the calmest pose to the most turned one."""
    rotations = track.transforms[:, :3, :3]
    turned = ((rotations - rotations[0]) ** 2).sum(axis=(1, 2))
    return np.argsort(turned)[np.linspace(0, track.num_frames - 1, SHOWN).astype(int)]


def contact_sheet(driver: LandmarkTrack, portrait: LandmarkTrack) -> Sheet:
    """A row per method; the portrait's own features dim beneath."""
    sheet = Sheet((LABEL + SHOWN * (SIDE + GAP) + GAP, len(METHODS) * (SIDE + GAP) + GAP))
    own = draw_landmarks(portrait.points[0], (512, 512), PARTS) // 3
    frames = turned_most(driver)
    for row, method in enumerate(METHODS):
        y = GAP + row * (SIDE + GAP)
        sheet.text(LABEL / 2 + GAP / 2, y + SIDE / 2 - 8, method.replace("_", "\n"), 15, INK)
        track = synchronise(driver, portrait, method=method)
        for column, frame in enumerate(frames):
            x = LABEL + GAP + column * (SIDE + GAP)
            drawn = overlay(own, draw_landmarks(track.points[frame], (512, 512), PARTS))
            sheet.picture(Image.fromarray(drawn), (x, y, x + SIDE, y + SIDE))
            if row == 0:
                sheet.text(x + 24, y + 14, str(frame), 11, GREY)
    return sheet


if __name__ == "__main__":
    clip, picture, landmarker = map(Path, sys.argv[1:])
    film, face = (extract_file(path, landmarker=landmarker) for path in (clip, picture))
    contact_sheet(filmed_from_elsewhere(film), face).save(HERE / "motion_sync.png")

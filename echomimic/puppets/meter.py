"""Reads back from pixels what a puppet does, in films that any model made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .identity import EYE_WHITE, MOUTH, TEETH, Colour, Identity

MOUTH_BOX = (0.18, 0.06, 0.16)  # half width, above and below the mouth's rest level
EYE_BOX = (0.24, 0.12)  # half width, half height
MOUTH_REACH = (0.17, 0.11)  # half width and half height of an open mouth
SEARCH = 0.09  # how far a moving head carries them
FARTHEST = 120.0  # RGB distance beyond which a pixel is not of a colour


@dataclass(frozen=True)
class Reading:
    """What was read, frame by frame."""

    mouth: np.ndarray  # (f,) height of the open mouth, in picture widths
    eyes: np.ndarray  # (f,) area of the whites of the eyes, likewise: small when they are closed
    centre: np.ndarray  # (f, 2) middle of the whites, in picture widths; nan: eyes closed
    tilt: np.ndarray  # (f,) angle between the eyes in radians, clockwise
    skin: np.ndarray  # (3,) RGB
    hair: np.ndarray  # (3,) RGB


def measure(frames: np.ndarray, person: Identity) -> Reading:
    """Read uint8 frames (f, S, S, 3) of a person, of whom only the portrait is known."""
    size = frames.shape[1]
    grid = (np.arange(size) + 0.5) / size
    pixels = frames.astype(np.float32)
    below, level = 0.53, 0.53 + person.mouth_level
    half, above, under = MOUTH_BOX
    mouth = _box(grid, 0.5, half, level - above, level + under)
    dark = _likeness(pixels[:, mouth[0], mouth[1]], MOUTH, person)
    teeth = _likeness(pixels[:, mouth[0], mouth[1]], TEETH, person)
    inside = _beside(np.maximum(dark, teeth), dark, grid[mouth[1]], grid[mouth[0]])
    eye_level = below + person.eye_level
    eyes = _box(grid, 0.5, EYE_BOX[0], eye_level - EYE_BOX[1], eye_level + EYE_BOX[1])
    white = _likeness(pixels[:, eyes[0], eyes[1]], EYE_WHITE, person)
    x, y = grid[eyes[1]], grid[eyes[0]]
    left, right = _centroid(white * (x < 0.5), x, y), _centroid(white * (x >= 0.5), x, y)
    return Reading(
        mouth=_height(inside) / size,
        eyes=white.sum(axis=(1, 2)) / size**2,
        centre=(left + right) / 2,
        tilt=np.arctan2(right[:, 1] - left[:, 1], right[:, 0] - left[:, 0]),
        skin=_median_near(pixels, person.skin),
        hair=_median_near(pixels, person.hair),
    )


def mouth_correlation(reading: Reading, opening: np.ndarray) -> float:
    """Correlation of the read mouth with the opening it should have."""
    if reading.mouth.std() < 1e-9 or opening.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(reading.mouth, opening)[0, 1])


def _box(
    grid: np.ndarray, middle: float, half: float, top: float, bottom: float
) -> tuple[slice, slice]:
    """Rows and columns of a box, widened by what the head may move."""
    rows = np.searchsorted(grid, (top - SEARCH, bottom + SEARCH))
    columns = np.searchsorted(grid, (middle - half - SEARCH, middle + half + SEARCH))
    return slice(*rows), slice(*columns)


def _likeness(pixels: np.ndarray, colour: Colour, person: Identity) -> np.ndarray:
    """How much each pixel (f, h, w, 3) is of a colour, 0..1, and not of the others on the face."""
    others = [person.skin, person.lip, person.hair, person.shirt, person.background, person.outline]
    if person.glasses is not None:
        others.append(person.glasses)
    own = _distance(pixels, colour)
    other = np.min([_distance(pixels, c) for c in others], axis=0)
    share = other / (own + other + 1e-6)  # 1: this colour, 0: one of the others
    return np.clip(2 * share - 0.5, 0, 1) * (own < FARTHEST)


def _distance(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    return np.linalg.norm(pixels - np.array(colour, np.float32), axis=-1)


def _beside(inside: np.ndarray, dark: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Only what lies around the dark of the mouth: collars and eyes can be as white as teeth."""
    place = np.nan_to_num(_centroid(dark**2, x, y), nan=-1.0)  # (f, 2)
    beside = np.abs(x - place[:, :1]) < MOUTH_REACH[0]
    level = np.abs(y - place[:, 1:]) < MOUTH_REACH[1]
    return inside * beside[:, None, :] * level[:, :, None]


def _height(inside: np.ndarray) -> np.ndarray:
    """Rows that are open where the mouth is highest, averaged over a few columns; (f,)."""
    columns = np.sort(inside.sum(axis=1), axis=1)  # (f, w)
    count = max(1, inside.shape[2] // 12)
    return columns[:, -count:].mean(axis=1)


def _centroid(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    total = weight.sum(axis=(1, 2))
    total = np.where(total > 1e-3, total, np.nan)
    return np.stack([(weight.sum(axis=1) @ x) / total, (weight.sum(axis=2) @ y) / total], axis=1)


def _median_near(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """Median of the pixels nearer to a colour than a third of the way to others; of its region."""
    flat = pixels[:: max(1, len(pixels) // 12)].reshape(-1, 3)
    distance = np.linalg.norm(flat - np.array(colour, np.float32), axis=1)
    near = flat[distance < max(45.0, float(np.quantile(distance, 0.02)))]
    return np.median(near, axis=0)

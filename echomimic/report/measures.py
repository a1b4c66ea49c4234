"""Curves of a face and a voice over time, and what they say together.

All are proxies that need no trained network; Sync-C is another matter, and needs SyncNet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee

import numpy as np
from torch import Tensor

from ..config import AUDIO_RATE
from ..landmarks.track import LandmarkTrack
from ..motion.space import STILL_POINTS, face_space

INNER_LIPS = (13, 14)  # their middles, upper and lower
OUTER_CORNERS = (33, 263)  # of the eyes
EYES = (  # corners; then points of the upper and the lower lid above one another
    ((33, 133), ((160, 144), (159, 145), (158, 153))),
    ((362, 263), ((385, 380), (386, 374), (387, 373))),
)
QUIETEST = -60.0  # dB below the loudest frame
CLOSED, OPEN = 0.5, 0.7  # shares of how far the eyes are usually open; in between nothing changes
LONGEST_BLINK = 0.8  # seconds; closed for longer is asleep, not blinking
MOST_LAG = 0.6  # seconds
CONTROLS = 20  # wrong alignments that tell what correlation chance gives


def mouth_opening(track: LandmarkTrack) -> np.ndarray:
    """How far the lips are apart, (f,), in distances between the outer corners of the eyes."""
    space = face_space(track)
    upper, lower = (space.shape[:, point] for point in INNER_LIPS)
    return np.linalg.norm(upper - lower, axis=1) / _eye_distance(space.neutral)


def eye_opening(track: LandmarkTrack) -> np.ndarray:
    """Height of the eyes in their width, (f,), the mean of both."""
    shape = face_space(track).shape
    eyes = []
    for (left, right), lids in EYES:
        width = np.linalg.norm(shape[:, left] - shape[:, right], axis=1)
        heights = [np.linalg.norm(shape[:, a] - shape[:, b], axis=1) for a, b in lids]
        eyes.append(np.mean(heights, axis=0) / np.maximum(width, 1e-9))
    return np.mean(eyes, axis=0)


def blinks(opening: np.ndarray, fps: float) -> np.ndarray:
    """Frames in which a blink begins, (n,), of eyes that are open as `opening` (f,) says."""
    usual = np.percentile(opening, 90)
    closed, starts, begun = False, [], 0
    for frame, share in enumerate(opening / max(usual, 1e-9)):
        if not closed and share < CLOSED:
            closed, begun = True, frame
        elif closed and share > OPEN:
            closed = False
            if begun > 0 and (frame - begun) / fps <= LONGEST_BLINK:
                starts.append(begun)
    return np.array(starts, dtype=int)


def voice_level(speech: Tensor | np.ndarray, num_frames: int, fps: float) -> np.ndarray:
    """Loudness of 16 kHz speech (n,) during each video frame, (f,) dB below the loudest one.

    Frames after the sound are as quiet as silence, -60 dB.
    """
    power = np.concatenate([[0.0], np.cumsum(np.asarray(speech, dtype=np.float64) ** 2)])
    edges = np.round(np.arange(num_frames + 1) * AUDIO_RATE / fps).astype(int)
    energy = np.diff(power[edges.clip(0, len(power) - 1)]) / np.diff(edges)
    loudest = max(energy.max(), 1e-12)
    return 10 * np.log10(np.maximum(energy / loudest, 10 ** (QUIETEST / 10)))


def correlation_by_lag(
    opening: np.ndarray, level: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds that the mouth is late, (n,), and how opening and level (f,) correlate then, (n,).

    Lags reach to 0.6 s, or to a third of a short clip. A curve that is flat correlates with
    nothing: 0.
    """
    most = min(round(MOST_LAG * fps), len(opening) // 3)
    lags = np.arange(-most, most + 1)
    return lags / fps, np.array([_correlation_at(opening, level, lag) for lag in lags])


def chance(opening: np.ndarray, level: np.ndarray, fps: float) -> float | None:
    """The best correlation that a wrong alignment reaches in the middle; None for short clips.

    The voice is turned round the clip by more than 1 s, so nothing fits but the rhythm of speech.
    """
    away = round((1 + MOST_LAG) * fps)
    if len(opening) < 3 * away:
        return None
    turns = np.linspace(away, len(level) - away, CONTROLS).round().astype(int)
    best = [correlation_by_lag(opening, np.roll(level, turn), fps)[1].max() for turn in turns]
    return float(np.median(best))


def head_speed(track: LandmarkTrack) -> float:
    """How fast the head moves in the picture: mean, in distances between the eyes per second."""
    points, eyes = _still_points(track)
    if len(points) < 2:
        return 0.0
    return float(np.linalg.norm(np.diff(points, axis=0), axis=-1).mean() / eyes * track.fps)


def landmark_roughness(track: LandmarkTrack) -> np.ndarray:
    """Mean |x(t) - 2 x(t+1) + x(t+2)| of points that no expression moves, (f - 2,).

    In thousandths of the distance between the eyes: 0 for even motion, large for a jump at t+1.
    """
    points, eyes = _still_points(track)
    second = points[2:] - 2 * points[1:-1] + points[:-2]  # (f - 2, n, 2)
    return 1000 * np.linalg.norm(second, axis=-1).mean(axis=1) / eyes


def picture_roughness(frames: Iterable[np.ndarray], track: LandmarkTrack) -> np.ndarray:
    """The same of the pixels outside of the face, (f - 2,), in levels of 0..255.

    `frames` are uint8 (H, W, 3); three at a time are held.
    """
    outside: np.ndarray | None = None
    values = []
    for before, now, after in _triples(frames):
        if outside is None:
            outside = _outside_face(track, now.shape[:2])
        second = before.astype(np.int16) - 2 * now.astype(np.int16) + after.astype(np.int16)
        values.append(float(np.abs(second[outside]).mean()))
    return np.array(values)


def seam_index(roughness: np.ndarray, border_every: int) -> float | None:
    """Mean roughness where segments of `border_every` frames meet (of the frames on either side),
    over the mean elsewhere: a ratio without unit, 0 without bound, 1 for a border that nobody sees.

    `roughness` (f - 2,) is that around frame i + 1. None where there are no borders, or where
    nothing moves. A measure of ours.
    """
    middle = np.arange(len(roughness)) + 1
    at_border = np.isin(middle % border_every, (0, border_every - 1))  # on either side
    elsewhere = roughness[~at_border]
    if not at_border.any() or not len(elsewhere) or elsewhere.mean() == 0:
        return None
    return float(roughness[at_border].mean() / elsewhere.mean())


def largest_jump(roughness: np.ndarray) -> tuple[int, float] | None:
    """The frame where it is roughest, and how many times the median that is."""
    if not len(roughness) or np.median(roughness) == 0:
        return None
    worst = int(roughness.argmax())
    return worst + 1, float(roughness[worst] / np.median(roughness))


def _correlation_at(opening: np.ndarray, level: np.ndarray, lag: int) -> float:
    mouth = opening[max(0, lag) : len(opening) + min(0, lag)]
    voice = level[max(0, -lag) : len(level) + min(0, -lag)]
    if mouth.std() < 1e-9 or voice.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(mouth, voice)[0, 1])


def _eye_distance(points: np.ndarray) -> float:
    return max(float(np.linalg.norm(np.subtract(*points[list(OUTER_CORNERS)]))), 1e-9)


def _still_points(track: LandmarkTrack) -> tuple[np.ndarray, float]:
    """Points (f, n, 2) in pixels that expressions do not move, and the eyes' distance there."""
    pixels = track.points[..., :2] * track.size
    return pixels[:, list(STILL_POINTS)], _eye_distance(np.median(pixels, axis=0))


def _outside_face(track: LandmarkTrack, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) that the face never reaches; all of them if it reaches everywhere."""
    height, width = size
    points = track.points[..., :2] * (width, height)
    (x0, y0), (x1, y1) = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    outside = np.ones(size, dtype=bool)
    outside[max(0, int(y0)) : max(0, int(y1) + 1), max(0, int(x0)) : max(0, int(x1) + 1)] = False
    return outside if outside.mean() > 0.02 else np.ones(size, dtype=bool)


def _triples(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
    """Neighbouring frames, three by three."""
    first, second, third = tee(frames, 3)
    next(second, None), next(third, None), next(third, None)
    return zip(first, second, third, strict=False)

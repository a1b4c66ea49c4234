"""Sync-C and Sync-D: how sure SyncNet is that lips and sound belong together, and how near."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import EvaluationError
from ..landmarks.track import LandmarkTrack
from .faces import sync_faces
from .syncnet import FPS, SyncNet, embed, num_windows

LONGEST = 60 * FPS  # frames
MAX_SHIFT = 15  # frames
MEDIAN = 9  # frames, of the confidence over time


@dataclass(frozen=True)
class SyncScore:
    """SyncNet's judgement of a clip.

    `confidence` is Sync-C, also LSE-C or Confidence: the median distance over all shifts less the
    smallest one, from 0 without bound; real speech has about 6 to 9. `distance` is Sync-D, also
    LSE-D or Min dist: the smallest one, real speech has about 6 to 8. Both are in the unit of the
    embeddings and depend on the crop, on music, and on the language. Source: evaluate() of
    joonson/syncnet_python; Prajwal et al. 2020, arXiv 2008.10010.
    """

    offset: int  # frames by which the sound comes before the lips
    confidence: float
    distance: float
    windows: int

    def figures(self) -> dict[str, float]:
        """Under the names that reports use."""
        return {
            "sync_c": self.confidence,
            "sync_d": self.distance,
            "sync_offset": self.offset,
        }

    def text(self) -> str:
        """A line for people."""
        when = "after" if self.offset < 0 else "before"
        lag = f"the sound {abs(self.offset)} frames {when} the lips" if self.offset else "in step"
        return (
            f"SyncNet, own crop: Sync-C {self.confidence:.2f}, Sync-D {self.distance:.2f}, {lag} "
            f"({self.windows} windows)"
        )


def sync_distances(lips: Tensor, sounds: Tensor, max_shift: int = MAX_SHIFT) -> Tensor:
    """Distance of the lips of each window to the sound at each shift, (windows, 2 shifts + 1).

    Column j is the sound j - `max_shift` windows later. Beyond both ends the sound is zero, as in
    the original, and counts: of short clips it distorts the means.
    """
    padded = F.pad(sounds, (0, 0, max_shift, max_shift))
    columns = [
        F.pairwise_distance(lips, padded[shift : shift + len(lips)])
        for shift in range(2 * max_shift + 1)
    ]
    return torch.stack(columns, dim=1)


def sync_score(distances: Tensor, *, padding: bool = True) -> SyncScore:
    """The judgement of distances (windows, shifts).

    Without `padding`, a variant of ours for clips of a few seconds, only pairs of lips and sound
    that both exist count. Its figures are not those of the original.
    """
    means = distances.mean(dim=0) if padding else _means_of_pairs(distances)
    best = int(means.argmin())
    return SyncScore(
        offset=distances.shape[1] // 2 - best,
        confidence=float(means[means.isfinite()].median() - means[best]),
        distance=float(means[best]),
        windows=len(distances),
    )


def frame_confidence(distances: Tensor) -> Tensor:
    """How sure each window is by itself at the clip's best shift, (windows,)."""
    means = distances.mean(dim=0)
    return means.median() - distances[:, means.argmin()]


def smoothed(confidence: Tensor) -> Tensor:
    """The median of 9 windows at each, zeros beyond the ends; for plots over time."""
    windows = F.pad(confidence, (MEDIAN // 2, MEDIAN // 2)).unfold(0, MEDIAN, 1)
    return windows.median(dim=1).values


def score_film(
    model: SyncNet, frames: Iterable[np.ndarray], track: LandmarkTrack, speech: np.ndarray
) -> SyncScore:
    """Of a clip at 25 fps: uint8 RGB frames (H, W, 3), their landmarks, 16 kHz speech in -1..1.

    As `embed_film` and `sync_score`.
    """
    return sync_score(sync_distances(*embed_film(model, frames, track, speech)))


def embed_film(
    model: SyncNet, frames: Iterable[np.ndarray], track: LandmarkTrack, speech: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Lips and sounds (windows, 1024) of such a clip.

    The crop is ours (`faces.sync_faces`), so scores must be called "SyncNet, own crop". Only the
    first minute counts, to hold no more than its faces. Raises `EvaluationError` at another rate,
    and for clips shorter than 6 frames.
    """
    if track.fps != FPS:
        raise EvaluationError(f"SyncNet sees {FPS} frames a second, not {track.fps:g}; resample.")
    faces = list(islice(sync_faces(frames, track), LONGEST))
    levels = np.round(speech * 32768).clip(-32768, 32767).astype(np.int16)
    num_windows(len(faces), len(levels))
    return embed(model, np.stack(faces), levels)


def wrong_moment(lips: Tensor, sounds: Tensor) -> SyncScore | None:
    """The judgement of lips with sounds from half a clip away: what chance gives.

    Speaker, microphone and language are the same, only the moment is not. None for clips that
    are too short for sounds to be away at every shift.
    """
    if len(lips) < 4 * MAX_SHIFT:
        return None
    return sync_score(sync_distances(lips, sounds.roll(len(sounds) // 2, dims=0)))


def _means_of_pairs(distances: Tensor) -> Tensor:
    """Means of the columns without what was padded; infinite where nothing is left."""
    count, shifts = distances.shape
    sound = torch.arange(count)[:, None] + torch.arange(shifts) - shifts // 2
    real = (sound >= 0) & (sound < count)
    sums = torch.where(real, distances, 0.0).sum(dim=0)
    return torch.where(real.any(dim=0), sums / real.sum(dim=0).clamp(min=1), torch.inf)

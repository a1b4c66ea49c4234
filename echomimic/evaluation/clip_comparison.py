"""Two clips frame by frame: where they differ and by how much, without any file of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import EvaluationError
from ..landmarks.track import LandmarkTrack
from . import motion
from .images import MOST_PSNR, psnr, ssim
from .pairs import fitted

if TYPE_CHECKING:
    from ..train.lpips import LPIPS

SAME_RATE = 1e-3  # frames per second by which the rates of landmarks may differ
ELSEWHERE = (
    "FID, FVD and Sync-C are not among these figures: they are of many clips, or need the weights "
    "of others; see `echomimic evaluate`."
)


@dataclass(frozen=True)
class ClipComparison:
    """Curves over the frames of both clips. What was not measured is None, or missing."""

    size: tuple[int, int]  # width and height of the pictures that were compared
    fps: float | None
    ssim: np.ndarray  # (f,)
    psnr: np.ndarray  # (f,) dB
    lpips: np.ndarray | None  # (f,)
    landmarks: dict[str, np.ndarray]  # (f,) each, of face, mouth and eyes; NaN: no face
    lip_motion: tuple[float, float] | None  # correlation, and seconds that the first mouth is late
    worst: tuple[np.ndarray, np.ndarray]  # both pictures, uint8 (H, W, 3), of the lowest SSIM
    notes: tuple[str, ...] = field(default=())

    @property
    def num_frames(self) -> int:
        return len(self.ssim)

    @property
    def worst_frame(self) -> int:
        return int(self.ssim.argmin())

    def figures(self) -> dict[str, float | None]:
        """Means over the frames, under the names that reports use; None: not measured."""
        correlation, late = self.lip_motion or (None, None)
        return {
            "frames": self.num_frames,
            "ssim": float(self.ssim.mean()),
            "psnr": float(self.psnr.mean()),
            "lpips": None if self.lpips is None else float(self.lpips.mean()),
            **{f"landmarks_{part}": float(np.nanmean(c)) for part, c in self.landmarks.items()},
            "lip_motion": correlation,
            "lip_lag": late,
        }

    def text(self) -> str:
        """The figures for people, a line each."""
        width, height = self.size
        rate = "" if self.fps is None else f" at {self.fps:g} fps"
        equal = int((self.psnr >= MOST_PSNR).sum())
        lines = [
            f"{self.num_frames} frames of {width}x{height}{rate} are compared"
            + (f"; {equal} are equal" if equal else ""),
            f"SSIM {_spread(self.ssim)}, least alike at frame {self.worst_frame}",
            f"PSNR {_spread(self.psnr, '.1f')} dB",
        ]
        if self.lpips is not None:
            lines.append(f"LPIPS {_spread(self.lpips)}")
        if self.landmarks:
            parts = (f"{part} {np.nanmean(c):.4f}" for part, c in self.landmarks.items())
            lines.append(f"landmark error: {', '.join(parts)} (in distances between the eyes)")
        return "\n".join([*lines, *self._mouths(), *self.notes, ELSEWHERE])

    def _mouths(self) -> list[str]:
        if self.lip_motion is None:
            return []
        correlation, late = self.lip_motion
        when = f"{abs(late):.2f} s {'late' if late > 0 else 'early'}" if late else "together"
        return [f"mouth and reference's mouth: correlation {correlation:.2f}, {when}"]


def compare_clips(
    frames: Iterable[np.ndarray],
    others: Iterable[np.ndarray],
    *,
    fps: float | None = None,
    tracks: tuple[LandmarkTrack, LandmarkTrack] | None = None,
    lpips: LPIPS | None = None,
) -> ClipComparison:
    """Compare frames, uint8 RGB (H, W, 3), with those of a reference, brought to their size.

    Frame i is held against frame i, up to the end of the shorter clip. `tracks` are the landmarks
    of both. Raises `EvaluationError` for clips that cannot be compared.
    """
    rows, worst, notes = [], (np.inf, None), []
    for frame, other in _both(frames, others, notes):
        row = _measured(frame, other, lpips)
        rows.append(row)
        if row[0] < worst[0]:
            worst = row[0], (frame, other)
    if not rows:
        raise EvaluationError("There is no frame to compare; connect clips that have pictures.")
    curves = np.array(rows).T
    return ClipComparison(
        size=worst[1][0].shape[1::-1],
        fps=fps,
        ssim=curves[0],
        psnr=curves[1],
        lpips=curves[2] if lpips is not None else None,
        worst=worst[1],
        **_faces(tracks, len(rows), notes),
        notes=tuple(notes),
    )


def _both(
    frames: Iterable[np.ndarray], others: Iterable[np.ndarray], notes: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of one size; a longer clip is said in `notes`."""
    for number, (frame, other) in enumerate(zip_longest(frames, others)):
        if frame is None or other is None:
            longer = "reference" if frame is None else "clip"
            notes.append(f"the {longer} is longer; what follows after {number} frames is left out")
            return
        yield frame, fitted(other, frame.shape[:2], "the reference", "the clip")


@torch.no_grad()
def _measured(frame: np.ndarray, other: np.ndarray, lpips: LPIPS | None) -> list[float]:
    pair = frame[None], other[None]
    row = [float(ssim(*pair)[0]), float(psnr(*pair)[0])]
    if lpips is not None:
        a, b = (torch.from_numpy(x).movedim(-1, 1).float() / 127.5 - 1 for x in pair)
        row.append(float(lpips(a, b)))
    return row


def _faces(
    tracks: tuple[LandmarkTrack, LandmarkTrack] | None, count: int, notes: list[str]
) -> dict[str, Any]:
    """Errors and lips; where no face is seen in both, that is a note and not a figure."""
    if tracks is None:
        return {"landmarks": {}, "lip_motion": None}
    ours, theirs = (_beginning(track, count) for track in tracks)
    if abs(ours.fps - theirs.fps) > SAME_RATE:
        raise EvaluationError(
            f"The landmarks have {ours.fps:g} and {theirs.fps:g} frames a second; extract both at "
            "one rate."
        )
    try:
        errors, lips = motion.landmark_errors(ours, theirs), motion.lip_motion(ours, theirs)
    except EvaluationError as error:
        notes.append(str(error))
        return {"landmarks": {}, "lip_motion": None}
    return {"landmarks": errors, "lip_motion": lips}


def _beginning(track: LandmarkTrack, count: int) -> LandmarkTrack:
    if track.num_frames < count:
        raise EvaluationError(
            f"The landmarks have {track.num_frames} frames, but {count} are compared; connect "
            "those of the same clips."
        )
    arrays = {name: getattr(track, name) for name in
              ("points", "mesh", "transforms", "blendshapes", "valid")}  # fmt: skip
    return replace(track, **{n: a[:count] for n, a in arrays.items() if a is not None})


def _spread(curve: np.ndarray, form: str = ".4f") -> str:
    return f"{curve.mean():{form}} ({curve.min():{form}} to {curve.max():{form}})"

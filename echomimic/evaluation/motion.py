"""How a generated face moves beside the real one: expressions, landmarks, lips and flicker."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import EvaluationError
from ..landmarks.mesh import SYNC_PARTS
from ..landmarks.track import LandmarkTrack
from ..report import measures

# Of MediaPipe's 52 scores: the first, `_neutral`, never changes; jaw and mouth stand together.
BLENDSHAPES = tuple(range(1, 52))
MOUTH_SHAPES = tuple(range(23, 50))  # 27: jaw and mouth
UPPER_SHAPES = tuple(index for index in BLENDSHAPES if index not in MOUTH_SHAPES)  # 24
MOST_MISSING = 0.02  # share of frames without a face, above which faces are not compared


def blendshapes(track: LandmarkTrack) -> np.ndarray:
    """Expressions of the frames in which a face was seen, (n, 51): scores in 0..1.

    Their Fréchet distance is BS-FD, ours: the distance of expressions without a licensed face
    model. It is not E-FID and does not compare with it. `MOUTH_SHAPES` and `UPPER_SHAPES` (each
    less 1) choose columns. Raises `EvaluationError` where they are unknown, or where more than
    2 % of the frames have no face.
    """
    if track.blendshapes is None:
        raise EvaluationError(
            f"{track.source or 'The clip'} has no blendshapes, which BS-FD compares; use the face "
            "landmarker `with_blendshapes`."
        )
    check_seen(track)
    return track.blendshapes[track.valid][:, BLENDSHAPES]


def check_seen(track: LandmarkTrack) -> None:
    """Raise `EvaluationError` where more than 2 % of the frames show no face: the others say
    little of the clip."""
    missing = 1 - track.valid.mean()
    if missing > MOST_MISSING:
        raise EvaluationError(
            f"{track.source or 'The clip'} shows no face in {missing:.0%} of its frames, too many "
            "to compare faces; leave the clip out."
        )


def blendshape_error(track: LandmarkTrack, real: LandmarkTrack) -> float:
    """Mean |score - real score| over 51 blendshapes and the frames that show a face in both clips;
    without unit, 0 (equal clips) to 1.

    Only meaningful where a driving video told the face what to do. A measure of ours. Raises
    `EvaluationError`.
    """
    _check(track, real)
    if track.blendshapes is None or real.blendshapes is None:
        raise EvaluationError("Blendshapes of both clips are needed to compare them.")
    both = track.valid & real.valid
    difference = track.blendshapes[both] - real.blendshapes[both]
    return float(np.abs(difference[:, BLENDSHAPES]).mean())


def landmark_error(track: LandmarkTrack, real: LandmarkTrack) -> dict[str, float]:
    """Mean over frames and points of |p - p'| / d, where p and p' are a landmark and the real one
    in pixels, and d is the distance between the outer corners of the real eyes in that frame: of
    all 478 points, of the mouth, and of the eyes. In distances between the eyes, 0 (equal clips)
    without bound.

    Frames without a face on either side do not count. A detector agrees with itself: about 0.01
    is its own jitter. Known as LMD (Chen et al. 2018, arXiv 1803.10404, in pixels and of the
    mouth), and divided by the eyes' distance as NME (Sagonas et al. 2013, the 300-W challenge).
    Raises `EvaluationError`.
    """
    return {part: float(np.nanmean(e)) for part, e in landmark_errors(track, real).items()}


def landmark_errors(track: LandmarkTrack, real: LandmarkTrack) -> dict[str, np.ndarray]:
    """The same of each frame, (f,); NaN where no face is seen on either side."""
    _check(track, real)
    ours, truth = (each.points[..., :2] * real.size for each in (track, real))
    left, right = measures.OUTER_CORNERS
    eyes = np.linalg.norm(truth[:, left] - truth[:, right], axis=-1).clip(min=1e-9)
    error = np.linalg.norm(ours - truth, axis=-1) / eyes[:, None]  # (f, 478)
    error[~(track.valid & real.valid)] = np.nan
    groups = {"mouth": SYNC_PARTS["mouth"], "eyes": _eye_points()}
    return {
        "face": error.mean(axis=1),
        **{name: error[:, list(points)].mean(axis=1) for name, points in groups.items()},
    }


def lip_motion(track: LandmarkTrack, real: LandmarkTrack) -> tuple[float, float]:
    """Pearson's r of the mouth's opening and the real one at the lag where r is highest, -1 to 1
    (1: the same motion; 0: either mouth stays still), and that lag: the seconds by which the mouth
    is late, -0.6 to 0.6 (of short clips a third of their length).

    An opening is the distance of the inner lips' middles in that between the outer corners of the
    eyes, of the face without its pose (`report.measures.mouth_opening`). Frames without a face
    hold what `track` fills them with. A measure of ours. Raises `EvaluationError`.
    """
    _check(track, real)
    return best_lag(measures.mouth_opening(track), measures.mouth_opening(real), real.fps)


def voice_motion(track: LandmarkTrack, speech: np.ndarray) -> tuple[float, float]:
    """Pearson's r, -1 to 1, of the mouth's opening (as in `lip_motion`) and the loudness of 16 kHz
    speech (n,) at the lag where r is highest, and that lag in seconds: how late the mouth is,
    -0.6 to 0.6.

    Loudness is the power during each frame in dB below the loudest one, at least -60
    (`report.measures.voice_level`). A proxy of ours that hears nothing else; Sync-C is the measure
    that hears sounds, and needs SyncNet.
    """
    opening = measures.mouth_opening(track)
    return best_lag(opening, measures.voice_level(speech, len(opening), track.fps), track.fps)


def best_lag(opening: np.ndarray, other: np.ndarray, fps: float) -> tuple[float, float]:
    """The highest correlation of curves (f,), and by how many seconds the first is late then."""
    lags, correlations = measures.correlation_by_lag(opening, other, fps)
    best = int(correlations.argmax())
    return float(correlations[best]), float(lags[best])


def flicker(
    frames: Iterable[np.ndarray], track: LandmarkTrack, border_every: int = 0
) -> dict[str, float | None]:
    """Mean |x(t) - 2 x(t+1) + x(t+2)| of the pixels outside of the face, in levels of 0..255,
    and of points that no expression moves, in thousandths of the eyes' distance; and the seam
    indices, each of these where windows of `border_every` frames meet over elsewhere (1: none
    is seen; None: there are no borders). Each is a mean over frames, from 0 (a still picture)
    without bound; of the real clip it is what the camera and the head do by themselves. A measure
    of ours, computed by `report.measures`. Raises `EvaluationError` below 3 frames.
    """
    pictures = measures.picture_roughness(frames, track)
    points = measures.landmark_roughness(track)
    if not len(pictures):
        raise EvaluationError("Flicker needs at least 3 frames; give a longer clip.")
    seams = [measures.seam_index(x, border_every) if border_every else None
             for x in (pictures, points)]  # fmt: skip
    return {
        "picture": float(pictures.mean()),
        "landmarks": float(points.mean()),
        "picture_seam": seams[0],
        "landmark_seam": seams[1],
    }


def _eye_points() -> tuple[int, ...]:
    return SYNC_PARTS["left_eye"] + SYNC_PARTS["right_eye"]


def _check(track: LandmarkTrack, real: LandmarkTrack) -> None:
    if track.num_frames != real.num_frames:
        raise EvaluationError(
            f"Landmarks of {track.num_frames} and of {real.num_frames} frames cannot be compared; "
            "cut both clips to one length."
        )
    if not (track.valid & real.valid).any():
        raise EvaluationError("No frame shows a face in both clips; choose other clips.")

"""The measures that a report lists: what each is called, its unit, which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .motion import BLENDSHAPES, MOUTH_SHAPES, UPPER_SHAPES

Kind = Literal["mean", "distance"]


@dataclass(frozen=True)
class Measure:
    """A row of the report."""

    name: str  # of its figures or features
    title: str
    unit: str
    better: str  # higher, lower, or what it should be near
    definition: str
    kind: Kind = "mean"
    needs: str = ""  # what it is not computed without
    columns: tuple[int, ...] | None = None  # of the features; None: all


_MOUTH, _UPPER = (  # columns of the 51 blendshapes that are compared
    tuple(BLENDSHAPES.index(shape) for shape in group) for group in (MOUTH_SHAPES, UPPER_SHAPES)
)
_FACE = "landmarks"

KERNEL = Measure(
    "kid", "KID", "", "lower", "kernel distance of FID's features, no bias at few samples",
    "distance",
)  # fmt: skip
MEASURES = (
    Measure("fid", "FID", "", "lower", "Fréchet distance of Inception features of all frames",
            "distance", "FID's Inception"),
    Measure("fvd", "FVD", "", "lower", "Fréchet distance of I3D logits of 16 frames, stride 16",
            "distance", "FVD's I3D"),
    Measure("bsfd", "BS-FD", "", "lower",
            "Fréchet distance of 51 blendshape scores; not E-FID", "distance", _FACE),
    Measure("bsfd", "BS-FD, mouth", "", "lower", "the same of the 27 of mouth and jaw",
            "distance", _FACE, _MOUTH),
    Measure("bsfd", "BS-FD, upper face", "", "lower", "the same of the other 24", "distance",
            _FACE, _UPPER),
    Measure("ssim", "SSIM", "", "higher", "RGB, Gaussian 11x11 (1.5), 5 pixels of border left out"),
    Measure("psnr", "PSNR", "dB", "higher", "mean over frames, at most 100"),
    Measure("lpips", "LPIPS", "", "lower", "v0.1, mean over frames", needs="LPIPS' networks"),
    Measure("sync_c", "Sync-C (SyncNet, own crop)", "", "higher",
            "median less smallest distance over shifts of 15 frames", needs="SyncNet"),
    Measure("sync_d", "Sync-D (SyncNet, own crop)", "", "lower", "smallest mean distance",
            needs="SyncNet"),
    Measure("sync_c_chance", "Sync-C of a wrong moment", "", "0",
            "the same with the sound of half a clip away: what chance gives",
            needs="SyncNet"),
    Measure("sync_offset", "SyncNet's offset", "frames", "0",
            "frames by which the sound comes before the lips", needs="SyncNet"),
    Measure("voice", "mouth and loudness, r", "", "higher",
            "Pearson's, at the best lag to 0.6 s; a proxy", needs="landmarks and sound"),
    Measure("voice_lag", "mouth after voice", "s", "0", "lag of that best correlation",
            needs=_FACE),
    Measure("lip_motion", "mouth and real mouth, r", "", "higher",
            "Pearson's of the openings, at the best lag", needs=_FACE),
    Measure("lip_lag", "mouth after real mouth", "s", "0", "lag of that best correlation",
            needs=_FACE),
    Measure("landmarks_face", "landmark error", "eye distances", "lower",
            "mean distance of 478 points to the real ones", needs=_FACE),
    Measure("landmarks_mouth", "landmark error, mouth", "eye distances", "lower",
            "the same of the mouth", needs=_FACE),
    Measure("landmarks_eyes", "landmark error, eyes", "eye distances", "lower",
            "the same of the eyes", needs=_FACE),
    Measure("blendshapes", "blendshape error", "", "lower",
            "mean absolute difference of 51 scores", needs=_FACE),
    Measure("flicker_picture", "flicker of the picture", "levels", "real",
            "mean second difference in time outside the face, of 255", needs=_FACE),
    Measure("flicker_landmarks", "flicker of the head", "‰ of eye distance", "real",
            "the same of points that no expression moves", needs=_FACE),
    Measure("flicker_picture_seam", "seam index of the picture", "", "1",
            "flicker at window borders over elsewhere", needs=_FACE),
    Measure("flicker_landmark_seam", "seam index of the head", "", "1",
            "the same of the head", needs=_FACE),
    Measure("identity", "CSIM", "", "higher",
            "cosine of identity vectors with the real clip's mean", needs="an identity network"),
    Measure("efid", "E-FID", "", "lower",
            "Fréchet distance of the expression coefficients that were given", "distance",
            "expression coefficients"),
)  # fmt: skip

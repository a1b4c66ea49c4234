"""Everything that is measured of one pair of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import EvaluationError
from . import motion
from .faces import aligned_faces
from .identity import identity_similarity
from .images import psnr, ssim
from .networks import full_precision
from .pairs import SHORTEST, Film, Tracker
from .sync import MAX_SHIFT, embed_film, sync_distances, sync_score, wrong_moment
from .syncnet import FPS, WINDOW, SyncNet

if TYPE_CHECKING:
    from ..train.lpips import LPIPS
    from .networks import FeatureNetwork, IdentityNetwork, Weights

REAL = "real "  # before the name of a figure: of the real clip, measured alone
LPIPS_BATCH = 4
LANDMARKS = ("landmarks_face", "landmarks_mouth", "landmarks_eyes", "lip_motion", "lip_lag")
SYNC = ("sync_c", "sync_d", "sync_offset", "sync_c_chance")
FEWEST = 4 * MAX_SHIFT + WINDOW  # frames that have a wrong moment
NO_LANDMARKS = "it needs landmarks of the face, and there is no face landmarker."


@dataclass(frozen=True)
class Setup:
    """What is measured, how, and with which networks; None leaves its measures out."""

    fps: float = 25.0
    seconds: float = 20.0  # of each clip, from its start
    border_every: int = 0  # frames after which windows meet; 0: nowhere
    device: str = "cpu"  # of the networks, for the record
    tracker: Tracker | None = None
    lpips: LPIPS | None = None
    syncnet: SyncNet | None = None
    images: FeatureNetwork | None = None
    clips: FeatureNetwork | None = None
    identity: IdentityNetwork | None = None
    weights: dict[str, Weights] = field(default_factory=dict)  # of each that is given, by its use

    def __post_init__(self) -> None:
        if self.syncnet is not None and self.fps != FPS:
            raise EvaluationError(f"SyncNet sees {FPS} frames a second; leave fps at {FPS}.")
        if round(self.seconds * self.fps) < SHORTEST:
            raise EvaluationError(
                f"{self.seconds:g} seconds at {self.fps:g} fps are fewer than {SHORTEST} frames; "
                f"give at least {SHORTEST / self.fps:.2g} seconds."
            )

    def settings(self) -> dict[str, Any]:
        """All that figures depend on besides the clips."""
        return {
            "fps": self.fps,
            "seconds": self.seconds,
            "border_every": self.border_every,
            "weights": {use: known.sha256 for use, known in self.weights.items()},
            "protocols": [net.protocol for net in (self.images, self.clips, self.identity) if net],
        }


@dataclass
class Measured:
    """Of one pair: figures, features (n, d) of both sides, and what could not be measured."""

    num_frames: int
    size: tuple[int, int]  # width and height of the pictures that were compared
    figures: dict[str, float] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # figures or features, and why

    def add(self, values: dict[str, float | None]) -> None:
        self.figures |= {name: float(v) for name, v in values.items() if v is not None}

    def lacks(self, names: Iterable[str], reason: str) -> None:
        self.missing |= dict.fromkeys(names, reason)


def measure_pair(real: Film, made: Film, setup: Setup) -> Measured:
    """All measures of a pair for which there are networks, landmarks and sound.

    What a single measure cannot judge is a note and not a figure. On a GPU too, networks compute
    in full float32, and equal clips have equal figures.
    """
    with full_precision():
        return _measure(real, made, setup)


def _measure(real: Film, made: Film, setup: Setup) -> Measured:
    result = Measured(len(made.frames), made.frames.shape[2:0:-1])
    result.add({"ssim": ssim(made.frames, real.frames).mean(),
                "psnr": psnr(made.frames, real.frames).mean()})  # fmt: skip
    if setup.lpips is not None:
        result.add({"lpips": _lpips(setup.lpips, made.frames, real.frames)})
    for use, network in (("fid", setup.images), ("fvd", setup.clips)):
        if network is not None:
            _try(result, (use,), _features, use, network, real, made)
    if made.track is None or real.track is None:
        result.lacks(SYNC if setup.syncnet else (), NO_LANDMARKS)
        result.lacks(("identity",) if setup.identity else (), NO_LANDMARKS)
    else:
        _faces(result, real, made, setup)
    return result


def _faces(result: Measured, real: Film, made: Film, setup: Setup) -> None:
    _try(result, LANDMARKS, _landmarks, real, made)
    _try(result, ("bsfd", "blendshapes"), _expressions, real, made)
    for film, prefix in ((made, ""), (real, REAL)):
        _flicker(result, film, prefix, setup.border_every)
        _try(result, (f"{prefix}voice", f"{prefix}voice_lag"), _voice, film, prefix)
        if setup.syncnet is not None:
            _try(result, [prefix + name for name in SYNC], _sync, film, prefix, setup.syncnet)
    if setup.identity is not None:
        _try(result, ("identity",), _identity, real, made, setup.identity)


def _landmarks(result: Measured, real: Film, made: Film) -> None:
    for film in (real, made):
        motion.check_seen(film.track)
    error = motion.landmark_error(made.track, real.track)
    result.add({f"landmarks_{part}": value for part, value in error.items()})
    correlation, late = motion.lip_motion(made.track, real.track)
    result.add({"lip_motion": correlation, "lip_lag": late})


def _expressions(result: Measured, real: Film, made: Film) -> None:
    both = motion.blendshapes(real.track), motion.blendshapes(made.track)
    result.features |= {"bsfd real": both[0], "bsfd": both[1]}
    result.add({"blendshapes": motion.blendshape_error(made.track, real.track)})


def _flicker(result: Measured, film: Film, prefix: str, border_every: int) -> None:
    steady = motion.flicker(film.frames, film.track, border_every)
    figures = {f"{prefix}flicker_{name}": value for name, value in steady.items()}
    result.add(figures)
    reason = f"{film.name} has no border of windows, or does not move." if border_every else (
        "--border-every is not given.")  # fmt: skip
    result.lacks([name for name, value in figures.items() if value is None], reason)


def _voice(result: Measured, film: Film, prefix: str) -> None:
    correlation, late = motion.voice_motion(film.track, _heard(film))
    result.add({f"{prefix}voice": correlation, f"{prefix}voice_lag": late})


def _sync(result: Measured, film: Film, prefix: str, network: SyncNet) -> None:
    points = embed_film(network, film.frames, film.track, _heard(film))
    figures = sync_score(sync_distances(*points)).figures()
    result.add({prefix + name: value for name, value in figures.items()})
    chance = wrong_moment(*points)
    if chance is None:
        result.lacks([f"{prefix}sync_c_chance"], f"{film.name} has fewer than {FEWEST} frames.")
    else:
        result.add({f"{prefix}sync_c_chance": chance.confidence})


def _heard(film: Film) -> np.ndarray:
    if film.speech is None:
        raise EvaluationError(f"{film.name} is silent, so nothing is said of its lips and voice.")
    return film.speech


def _identity(result: Measured, real: Film, made: Film, network: IdentityNetwork) -> None:
    faces = [np.stack(list(aligned_faces(film.frames, film.track)))[film.track.valid]
             for film in (made, real)]  # fmt: skip
    result.add({"identity": identity_similarity(network, *faces)})


def _features(result: Measured, use: str, network: FeatureNetwork, real: Film, made: Film) -> None:
    both = network.features(real.frames), network.features(made.frames)
    result.features |= {f"{use} real": both[0], use: both[1]}


@torch.no_grad()
def _lpips(network: LPIPS, frames: np.ndarray, others: np.ndarray) -> float:
    values, device = [], network.shift.device
    for start in range(0, len(frames), LPIPS_BATCH):
        a, b = (torch.from_numpy(x[start : start + LPIPS_BATCH]).to(device).movedim(-1, 1)
                for x in (frames, others))  # fmt: skip
        each = network.distances(a.float() / 127.5 - 1, b.float() / 127.5 - 1)  # (b, 5)
        values.append(each.sum(dim=1).cpu())
    return float(torch.cat(values).mean())


def _try(result: Measured, names: Iterable[str], run: Callable[..., None], *arguments: Any) -> None:
    """What one measure cannot do, the others can; the report says why it has no `names`."""
    try:
        run(result, *arguments)
    except EvaluationError as error:
        result.lacks(names, str(error))
        if str(error) not in result.notes:
            result.notes.append(str(error))

"""Everything that is measured of one pair of clips."""

from __future__ import annotations

from collections.abc import Callable
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
from .pairs import Film, Tracker
from .sync import embed_film, sync_distances, sync_score, wrong_moment
from .syncnet import FPS, SyncNet

if TYPE_CHECKING:
    from ..train.lpips import LPIPS
    from .networks import FeatureNetwork, IdentityNetwork, Weights

REAL = "real "  # before the name of a figure: of the real clip, measured alone
LPIPS_BATCH = 4


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
    figures: dict[str, float] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, values: dict[str, float | None]) -> None:
        self.figures |= {name: float(v) for name, v in values.items() if v is not None}


def measure_pair(real: Film, made: Film, setup: Setup) -> Measured:
    """All measures of a pair for which there are networks, landmarks and sound.

    What a single measure cannot judge is a note and not a figure. On a GPU too, networks compute
    in full float32, and equal clips have equal figures.
    """
    with full_precision():
        return _measure(real, made, setup)


def _measure(real: Film, made: Film, setup: Setup) -> Measured:
    result = Measured(len(made.frames))
    result.add({"ssim": ssim(made.frames, real.frames).mean(),
                "psnr": psnr(made.frames, real.frames).mean()})  # fmt: skip
    if setup.lpips is not None:
        result.add({"lpips": _lpips(setup.lpips, made.frames, real.frames)})
    for use, network in (("fid", setup.images), ("fvd", setup.clips)):
        if network is not None:
            _try(result, lambda net=network, use=use: _features(result, use, net, real, made))
    if made.track is not None and real.track is not None:
        _faces(result, real, made, setup)
    return result


def _faces(result: Measured, real: Film, made: Film, setup: Setup) -> None:
    error = motion.landmark_error(made.track, real.track)
    result.add({f"landmarks_{part}": value for part, value in error.items()})
    correlation, late = motion.lip_motion(made.track, real.track)
    result.add({"lip_motion": correlation, "lip_lag": late})
    _try(result, lambda: _expressions(result, real, made))
    for film, prefix in ((made, ""), (real, REAL)):
        steady = motion.flicker(film.frames, film.track, setup.border_every)
        result.add({f"{prefix}flicker_{name}": value for name, value in steady.items()})
        _try(result, lambda film=film, prefix=prefix: _voice(result, film, prefix, setup))
    if setup.identity is not None:
        faces = [np.stack(list(aligned_faces(film.frames, film.track)))[film.track.valid]
                 for film in (made, real)]  # fmt: skip
        _try(result, lambda: result.add(
            {"identity": identity_similarity(setup.identity, *faces)}))  # fmt: skip


def _voice(result: Measured, film: Film, prefix: str, setup: Setup) -> None:
    if film.speech is None:
        raise EvaluationError(f"{film.name} is silent, so nothing is said of its lips and voice.")
    correlation, late = motion.voice_motion(film.track, film.speech)
    result.add({f"{prefix}voice": correlation, f"{prefix}voice_lag": late})
    if setup.syncnet is not None:
        points = embed_film(setup.syncnet, film.frames, film.track, film.speech)
        figures = sync_score(sync_distances(*points)).figures()
        chance = wrong_moment(*points)
        figures["sync_c_chance"] = None if chance is None else chance.confidence
        result.add({prefix + name: value for name, value in figures.items()})


def _expressions(result: Measured, real: Film, made: Film) -> None:
    both = motion.blendshapes(real.track), motion.blendshapes(made.track)
    result.features |= {"bsfd real": both[0], "bsfd": both[1]}
    result.add({"blendshapes": motion.blendshape_error(made.track, real.track)})


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


def _try(result: Measured, run: Callable[[], None]) -> None:
    """What one measure cannot do, the others can."""
    try:
        run()
    except EvaluationError as error:
        result.notes.append(str(error))

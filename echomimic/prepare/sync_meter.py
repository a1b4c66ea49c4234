"""SyncNet as the meter of lips against a voice, with the weights that the user has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import OptionsError
from ..evaluation.faces import SYNC_CROP
from ..evaluation.networks import full_precision, known_file
from ..evaluation.sync import MAX_SHIFT, score_film
from ..evaluation.syncnet import FPS, LICENCE, WINDOW, SyncNet, read_syncnet
from .checks import Check, check
from .lip_sync import Candidate
from .options import Limits, PrepareOptions

SHORTEST = (MAX_SHIFT + WINDOW + 1) / FPS  # seconds; of less, most of what is compared is padding


@dataclass(frozen=True)
class SyncNetMeter:
    """Sync-C, and by how many frames the sound comes before the lips, as `echomimic evaluate`.

    Holds the path and not the network, since it is sent to worker processes. `name` has the
    checksum: clips that another file judged are not mixed with these.
    """

    weights: Path
    name: str
    device: str = "cpu"
    reasons: tuple[str, ...] = ("sync_c", "sync_offset")

    def __call__(self, clip: Candidate, limits: Limits) -> list[Check]:
        network = _network(self.weights, self.device)
        with full_precision():
            score = score_film(network, clip.frames(), clip.track, clip.speech)
        return check(limits, sync_c=score.confidence, sync_offset=float(score.offset))


def syncnet_meter(weights: Path, options: PrepareOptions, device: str = "cpu") -> SyncNetMeter:
    """The meter of a weight file for clips of these options.

    Raises `WeightsError` for a file that is missing or not SyncNet, `OptionsError` for clips
    that it cannot judge.
    """
    if options.fps != FPS:
        raise OptionsError(
            f"SyncNet sees {FPS} frames a second, not {options.fps:g}; leave --fps at {FPS}, or "
            "--syncnet out."
        )
    if options.shortest < SHORTEST:
        raise OptionsError(
            f"SyncNet judges clips from {SHORTEST:g} s on; give a longer --shortest, or leave "
            "--syncnet out."
        )
    known = known_file(weights, LICENCE)
    read_syncnet(weights)  # a wrong file is said before any video is read
    return SyncNetMeter(
        Path(weights).resolve(), f"{SYNC_CROP} (sha256 {known.sha256[:16]})", device
    )


@lru_cache(maxsize=1)
def _network(weights: Path, device: str) -> SyncNet:
    """Read once in each process."""
    return read_syncnet(weights).to(device)

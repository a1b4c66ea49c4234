"""Pairs of real and generated clips → a report; what was measured is kept and used again."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..errors import EvaluationError, LandmarkError, MediaError, PortraitError
from .bootstrap import DEVIATIONS, DISTANCE_RESAMPLES, LEVEL, RESAMPLES, WIDE, WIDE_RESAMPLES
from .measure import Measured, Setup, measure_pair
from .pairs import Pair, read_pair
from .store import VERSION, load_measured, pair_contents, pair_key, save_measured
from .summary import Row, summarise

OnProgress = Callable[[int, int], None]  # pairs done, pairs in all
CLIPS = "clips"  # folder of what was measured
CONTENTS = ("real_blake2b", "generated_blake2b")  # of 16 bytes, of the whole files


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, and all that its figures depend on."""

    rows: list[Row]
    measured: dict[str, Measured]  # by the pair's name
    contents: dict[str, tuple[str, str]]  # names of what is in the real and the generated file
    left_out: dict[str, str]  # pairs that could not be measured, and why
    protocol: dict[str, Any]

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "protocol": self.protocol,
            "measures": [row.figures() for row in self.rows],
            "clips": {
                name: {
                    "frames": one.num_frames,
                    "size": list(one.size),
                    **dict(zip(CONTENTS, self.contents[name], strict=True)),
                    "figures": one.figures,
                    "notes": one.notes,
                }
                for name, one in self.measured.items()
            },
            "left_out": self.left_out,
        }


def evaluate(
    pairs: Sequence[Pair],
    setup: Setup,
    folder: Path,
    *,
    tracked_by: str = "",
    coefficients: tuple[np.ndarray, np.ndarray] | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Measure every pair that was not measured yet, and sum up.

    Figures and features of each pair are kept in `folder`/clips; a later call with the same
    clips, settings and weights reads them. `tracked_by` names what finds the landmarks. A pair
    that cannot be measured is left out and said so. Raises `EvaluationError` if none is left, or
    if nothing can be kept in the folder.
    """
    _make_folder(folder / CLIPS)
    measured, contents, left_out = {}, {}, {}
    for done, pair in enumerate(pairs, start=1):
        try:
            contents[pair.name] = pair_contents(pair)
            key = pair_key(contents[pair.name], setup, tracked_by)
            measured[pair.name] = _measured(pair, setup, folder, key)
        except (EvaluationError, MediaError, LandmarkError, PortraitError) as error:
            left_out[pair.name] = str(error)
        if on_progress is not None:
            on_progress(done, len(pairs))
    if not measured:
        name, reason = next(iter(left_out.items()), ("", "there are none"))
        raise EvaluationError(f"None of the {len(pairs)} pairs can be measured; {name}: {reason}")
    rows = summarise([*measured.values()], coefficients)
    protocol = _protocol(setup, tracked_by, [*measured.values()], len(left_out))
    return Evaluation(rows, measured, contents, left_out, protocol)


def _make_folder(folder: Path) -> None:
    """Before clips are measured, which takes long."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(
            f"The folder {folder} cannot be made ({error.strerror}); choose another for the report."
        ) from error


def _measured(pair: Pair, setup: Setup, folder: Path, key: str) -> Measured:
    path = folder / CLIPS / f"{pair.name}.safetensors"
    known = load_measured(path, key)
    if known is not None:
        return known
    films = read_pair(pair, fps=setup.fps, seconds=setup.seconds, tracker=setup.tracker)
    found = measure_pair(*films, setup)
    save_measured(path, found, key)
    return load_measured(path, key) or found  # as a later call will see it, to the last bit


def _protocol(
    setup: Setup, tracked_by: str, measured: list[Measured], num_left_out: int
) -> dict[str, Any]:
    networks = {
        use: {"file": known.file, "sha256": known.sha256, "licence": known.licence}
        for use, known in setup.weights.items()
    }
    return {
        "definitions": VERSION,
        "pairs": len(measured),
        "left_out": num_left_out,
        "fps": setup.fps,
        "seconds": setup.seconds,
        "sizes": ", ".join(sorted({"{}x{}".format(*one.size) for one in measured})),
        "grid": "frames from the first on, cut to the shorter clip; the real one in the generated "
        "size, antialiased",
        "border_every": setup.border_every,
        "device": setup.device,
        "landmarks": tracked_by or "none",
        "features": {
            net.name: net.protocol for net in (setup.images, setup.clips, setup.identity) if net
        },
        "weights": networks,
        "intervals": f"{LEVEL} %, bootstrap over clips, seed 0: {RESAMPLES} draws of means, "
        f"{DISTANCE_RESAMPLES} of distances ({WIDE_RESAMPLES} of more than {WIDE} features), "
        f"these give or take {DEVIATIONS} deviations",
        "floor": "the same distance between two halves of the real clips, drawn with seed 0",
        "versions": {
            "echomimic": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }

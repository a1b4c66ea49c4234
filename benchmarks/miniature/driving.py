"""Section 1: what drives the face (the paper's Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echomimic.errors import EvaluationError
from echomimic.evaluation.bootstrap import distance_interval
from echomimic.evaluation.frechet import frechet_distance, halves
from echomimic.quality import MODES

from .features import SPACES
from .films import ROUND_TRIP, STILL, TRUTH, Film
from .scale import Scale
from .statistics import HIGHER, LOWER, Estimate, differences, distance_difference, over_films
from .statistics import verdict as judged
from .store import Store

CONTROLS = (STILL, ROUND_TRIP)
ROWS = (*reversed(MODES), *CONTROLS)
MEASURES = ("SSIM", "PSNR", "mouth r", "mouth amplitude", "jitter", "eyes' place")  # of a film
CLAIMED = {"SSIM": HIGHER, "mouth r": HIGHER}  # for what the paper's table has; so are distances
ORDER = (("landmarks", "audio + landmarks"), ("audio + landmarks", "audio"))  # the paper's


def films(scale: Scale) -> list[Film]:
    """Every person with every voice, in every mode; truth is the lively film in each."""
    return [
        Film(person, voice, scale.frames, driven, features=True, options=scale.options())
        for person in range(scale.people)
        for voice in range(scale.voices)
        for driven in (*ROWS, TRUTH)
    ]


def summary(store: Store, folder: Path, scale: Scale) -> dict[str, Any]:
    """The section as JSON."""
    lines = {driven: [] for driven in (*ROWS, TRUTH)}
    for film in films(scale):
        lines[film.driven].append(store.get(folder, film))
    figures = {
        driven: {name: [line["figures"][name] for line in lines[driven]] for name in MEASURES}
        for driven in ROWS
    }
    spaces = {space: _features(lines, space) for space in SPACES}
    return {
        "protocol": {
            "people": scale.people, "voices": scale.voices, "frames": scale.frames,
            "options": _said(scale), "spaces": SPACES,
        },
        "measures": {
            driven: {name: over_films(values).described() for name, values in known.items()}
            for driven, known in figures.items()
        },
        "distances": {space: _distances(rows) for space, rows in spaces.items()},
        "claims": [*_of_figures(figures), *_of_distances(spaces)],
        "films": figures,
    }  # fmt: skip


def _said(scale: Scale) -> str:
    options = scale.options()
    return (
        f"{options.num_inference_steps} steps of {options.scheduler}, guidance "
        f"{options.guidance_scale:g}, {options.windows} windows of {options.context_frames} frames "
        f"with {options.context_overlap} in common"
    )


def _features(lines: dict[str, list[dict]], space: str) -> dict[str, list[np.ndarray]]:
    """Rows of each film by what drove it, in deviations of the real ones."""
    rows = {
        driven: [np.array(line["features"][space]) for line in known]
        for driven, known in lines.items()
    }
    deviation = np.concatenate(rows[TRUTH]).std(axis=0) + 1e-9
    return {driven: [film / deviation for film in known] for driven, known in rows.items()}


def _distances(rows: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    real = rows[TRUTH]
    found: dict[str, Any] = {
        "samples": sum(map(len, real)),
        "width": real[0].shape[1],
        "floor": _floor(real),
        "floor in time": _floor_in_time(real),
    }
    for driven in ROWS:
        value = frechet_distance(np.concatenate(rows[driven]), np.concatenate(real))
        low, high = distance_interval(rows[driven], real) or (None, None)
        found[driven] = Estimate(value, low, high, len(real)).described()
    return found


def _floor_in_time(real: Sequence[np.ndarray]) -> float | None:
    """Between the first and the second half of the same films."""
    parts = ([film[: len(film) // 2] for film in real], [film[len(film) // 2 :] for film in real])
    try:
        return frechet_distance(*map(np.concatenate, parts))
    except EvaluationError:
        return None


def _floor(real: Sequence[np.ndarray]) -> float | None:
    try:
        return frechet_distance(*halves(real))
    except EvaluationError:  # too few for two halves
        return None


def _of_figures(figures: dict[str, dict[str, Sequence[float]]]) -> list[dict[str, Any]]:
    return [
        _claim(name, better, pair, differences(*(figures[driven][name] for driven in pair)))
        for name, better in CLAIMED.items()
        for pair in ORDER
    ]  # fmt: skip


def _of_distances(spaces: dict[str, dict[str, list[np.ndarray]]]) -> list[dict[str, Any]]:
    return [
        _claim(f"distance of {space}", LOWER, pair,
               distance_difference(rows[pair[0]], rows[pair[1]], rows[TRUTH]))
        for space, rows in spaces.items()
        for pair in ORDER
    ]  # fmt: skip


def _claim(name: str, better: str, pair: tuple[str, str], found: Estimate) -> dict[str, Any]:
    return {
        "measure": name, "better": better, "first": pair[0], "second": pair[1],
        "difference": found.described(), "verdict": judged(found, better),
    }  # fmt: skip

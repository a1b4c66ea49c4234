"""Section 4: how clips are sampled, one factor at a time around the defaults, and their price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from echomimic.config import SamplingOptions, variant
from echomimic.denoiser import clip_windows
from echomimic.sampling.schedule import SCHEDULERS

from .films import Film
from .scale import Scale
from .statistics import HIGHER, LOWER, OPEN, differences, over_films, over_seeds
from .statistics import verdict as judged
from .store import Store

DRIVEN = {"voice": ("audio", "calm"), "landmarks": ("landmarks", "lively")}
MEASURES = {  # (how it is driven, measure) → what is better; what settings are judged by
    ("voice", "mouth r"): HIGHER,
    ("voice", "SSIM"): HIGHER,
    ("voice", "jitter"): LOWER,
    ("landmarks", "mouth r"): HIGHER,
    ("landmarks", "SSIM"): HIGHER,
    ("landmarks", "PSNR"): HIGHER,
    ("landmarks", "jitter"): LOWER,
    ("landmarks", "eyes' place"): LOWER,
}
# Differences that hardly matter.
HAIRS = {"mouth r": 0.01, "SSIM": 0.005, "PSNR": 0.2, "jitter": 0.1, "eyes' place": 0.005}
FRONTS = (("voice", "mouth r"), ("landmarks", "SSIM"), ("landmarks", "jitter"))
OVERLAPS = range(7)
CROSSED = (4, 6, 10, 20), (1.0, 1.5, 2.5)
FEW_STEPS = (4, 6)  # with which every scheduler is tried as well
PYRAMIDS = (3, 6)  # overlaps that are tried with those weights
SHOWN_NAMES = {
    "num_inference_steps": "{} steps", "guidance_scale": "guidance {:g}", "scheduler": "{}",
    "windows": "{} windows", "context_overlap": "overlap {}", "overlap_weights": "{} weights",
}  # fmt: skip


def settings(scale: Scale) -> dict[str, list[SamplingOptions]]:
    """Factor → the settings that are tried; the model's own is among them."""
    own, most = scale.options(), scale.most_values

    def one(**values: Sequence[Any]) -> list[SamplingOptions]:
        ((name, chosen),) = values.items()
        return [replace(own, **{name: value}) for value in list(chosen)[:most]]

    crossed = [
        replace(own, num_inference_steps=steps, guidance_scale=guidance)
        for steps, guidance in product(CROSSED[0][:most], CROSSED[1][:most])
    ]
    few = [replace(options, num_inference_steps=steps)
           for steps in FEW_STEPS[:most] for options in one(scheduler=SCHEDULERS)]  # fmt: skip
    overlapping = one(context_overlap=OVERLAPS)
    looped = [replace(options, windows="looped") for options in overlapping]
    pyramids = [replace(options, overlap_weights="pyramid") for options in (*overlapping, *looped)
                if options.context_overlap in PYRAMIDS]  # fmt: skip
    return {
        "steps": [own, *one(num_inference_steps=(4, 6, 8, 10, 15, 20, 30))],
        "guidance": one(guidance_scale=(1.0, 1.25, 1.5, 2.0, 2.5, 3.5)),
        "scheduler": one(scheduler=SCHEDULERS),
        "open windows": overlapping,
        "looped windows": looped,
        "overlap weights": pyramids,
        "steps × guidance": crossed,
        "steps × scheduler": few,
    }  # fmt: skip


def films(scale: Scale, options: SamplingOptions) -> dict[str, list[Film]]:
    """By how they are driven."""
    return {
        name: [
            Film(person, person, scale.frames, driven, acted, options=options)
            for person in range(scale.sampling_people)
        ]
        for name, (driven, acted) in DRIVEN.items()
    }


def all_films(scale: Scale) -> list[Film]:
    """Of every setting, those of the model's own first."""
    tried = [options for chosen in settings(scale).values() for options in chosen]
    return [film for options in tried for group in films(scale, options).values() for film in group]


def summary(store: Store, folder: Path, scale: Scale) -> dict[str, Any]:
    """The section as JSON."""
    own, rows, factors = scale.options(), {}, {}
    for factor, chosen in settings(scale).items():
        factors[factor] = [named(options, own) for options in chosen]
        for options in chosen:
            rows.setdefault(named(options, own), _row(store, folder, scale, options))
    base, timing = rows[named(own, own)], _put_seconds(list(rows.values()))
    for row in rows.values():
        _compare(row, base)
    return {
        "protocol": {"people": scale.sampling_people, "frames": scale.frames,
                     "own": _plain(own), "timing": timing},
        "own": named(own, own),
        "hairs": HAIRS,
        "factors": factors,
        "settings": rows,
        "fronts": {f"{how}, {name}": front(rows, how, name) for how, name in FRONTS},
        **_advice(rows, named(own, own)),
    }  # fmt: skip


def named(options: SamplingOptions, own: SamplingOptions) -> str:
    """A setting by what differs from the model's own."""
    changed = [
        text.format(getattr(options, name))
        for name, text in SHOWN_NAMES.items()
        if getattr(options, name) != getattr(own, name)
    ]
    return ", ".join(changed) or "the model's own"


def _plain(options: SamplingOptions) -> dict[str, Any]:
    return {name: asdict(options)[name] for name in (*SHOWN_NAMES, "context_frames")}


def _row(store: Store, folder: Path, scale: Scale, options: SamplingOptions) -> dict[str, Any]:
    """Figures of all films of a setting."""
    lines = {
        how: [store.get(folder, film)["figures"] for film in group]
        for how, group in films(scale, options).items()
    }
    values = {f"{how}, {name}": [line[name] for line in lines[how]] for how, name in MEASURES}
    return {
        "options": _plain(options),
        "calls": calls(options, scale.frames),
        "took": [line["seconds"] for group in lines.values() for line in group],
        "measures": {name: over_films(known).described() for name, known in values.items()},
        "films": values,
    }


def calls(options: SamplingOptions, num_frames: int) -> int:
    """How many windows the denoising UNet sees; with guidance each of them twice."""
    windows = clip_windows(variant("joint"), options, num_frames)
    seen = sum(len(windows(step)) for step in range(options.num_inference_steps))
    return seen * (2 if options.guidance_scale > 1 else 1)


def _put_seconds(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Add the seconds of every setting, by a line through what all films took.

    They are measured over half an hour, in which the machine's speed drifts by more than settings
    differ; what they compute is known exactly. The line has least squares of relative errors.
    """
    seen = np.array([row["calls"] for row in rows for _ in row["took"]], float)
    took = np.array([seconds for row in rows for seconds in row["took"]])
    lines = np.stack([np.ones_like(seen), seen], axis=1) / took[:, None]
    (fixed, each), *_ = np.linalg.lstsq(lines, np.ones_like(took), rcond=None)
    for row in rows:
        row["seconds"] = float(f"{fixed + each * row['calls']:.4g}")
    away = (fixed + each * seen) / took - 1
    return {name: float(f"{value:.3g}") for name, value in
            {"fixed": fixed, "each": each, "deviation": away.std()}.items()}  # fmt: skip


def _compare(row: dict[str, Any], base: dict[str, Any]) -> None:
    """Add where a setting is better or worse than the model's own by more than a hair.

    An asterisk says that it is so film by film, beyond chance.
    """
    row["better"], row["worse"] = [], []
    for (how, name), better in MEASURES.items():
        key = f"{how}, {name}"
        found = differences(row["films"][key], base["films"][key], over_seeds)
        ahead = found.mean if better == HIGHER else -found.mean
        said = key + "*" * (judged(found, better) != OPEN)
        row["better"] += [said] * (ahead > HAIRS[name])
        row["worse"] += [said] * (ahead < -HAIRS[name])


def front(rows: dict[str, dict[str, Any]], how: str, name: str) -> list[str]:
    """The settings that no other one beats in time and in a measure at once, cheapest first."""
    sign = 1 if MEASURES[how, name] == HIGHER else -1
    worth = {k: sign * row["measures"][f"{how}, {name}"]["mean"] for k, row in rows.items()}
    best, chosen = -float("inf"), []
    for setting in sorted(rows, key=lambda setting: (rows[setting]["seconds"], -worth[setting])):
        if worth[setting] > best:
            best, chosen = worth[setting], [*chosen, setting]
    return chosen


def _advice(rows: dict[str, dict[str, Any]], own: str) -> dict[str, Any]:
    """The cheapest setting that is nowhere worse than the model's own, and those that beat it."""
    as_good = [name for name, row in rows.items() if not row["worse"]]
    return {
        "cheapest": min(as_good, key=lambda name: rows[name]["seconds"]),
        "ahead": [name for name in as_good if rows[name]["better"] and name != own],
    }

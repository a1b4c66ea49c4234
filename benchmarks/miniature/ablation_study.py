"""Section 3: the paper's ideas, each taken away from models that learn to be driven."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echomimic.errors import EvaluationError

from .films import Film
from .scale import Scale
from .statistics import HIGHER, LOWER, differences, over_seeds
from .statistics import verdict as judged
from .store import Store, Work
from .variants import VARIANTS

TRAINING = "training.json"  # which `ablations` leaves beside a model
EYES = ("left_eye", "right_eye", "pupils", "left_brow", "right_brow")
NOISE = (20, 10, 5)  # dB
CASES: dict[str, dict[str, Any]] = {  # how films are driven
    "voice": {"driven": "audio", "acted": "calm"},
    "landmarks": {"driven": "landmarks"},
    "voice + landmarks without mouth": {"driven": "audio + landmarks"},
    "mouth alone": {"driven": "landmarks", "parts": ("mouth",)},
    "landmarks without mouth": {"driven": "landmarks", "parts": (*EYES, "nose")},
    "eyes and brows alone": {"driven": "landmarks", "parts": EYES},
    **{f"voice, noise at {snr} dB": {"driven": "audio", "acted": "calm", "snr": float(snr)}
       for snr in NOISE},
}  # fmt: skip
GENERAL = ("voice", "landmarks")
PARTIAL = ("voice + landmarks without mouth", "mouth alone", "landmarks without mouth",
           "eyes and brows alone")  # fmt: skip
MOUTHLESS = ("landmarks without mouth", "eyes and brows alone")  # nothing tells the mouth
NOISY = tuple(case for case in CASES if "noise" in case)
MEASURES = {"mouth r": HIGHER, "SSIM": HIGHER, "PSNR": HIGHER, "PSNR of eyes and mouth": HIGHER,
            "sharpness": HIGHER, "jitter": LOWER}  # fmt: skip
DRIVEN: dict[str, tuple[str, ...]] = {  # variant → cases in which it is measured
    "base": tuple(CASES),
    "no_spatial": GENERAL,
    "no_selection": (*GENERAL, *PARTIAL),
    "no_augmentation": (*GENERAL, *NOISY),
    "audio_only": ("voice",),
    "landmarks_only": ("landmarks",),
}


@dataclass(frozen=True)
class Question:
    """What the paper says, and the figures in which it would show."""

    name: str
    claim: str
    without: dict[str, tuple[str, ...]]  # variant → cases
    measures: tuple[str, ...]


QUESTIONS = (
    Question(
        "spatial loss", "The spatial loss makes details sharper and truer.",
        {"no_spatial": GENERAL}, ("PSNR", "PSNR of eyes and mouth", "SSIM", "sharpness", "mouth r"),
    ),
    Question(
        "random landmark selection", "Random selection keeps a model useful where parts are left "
        "out.", {"no_selection": PARTIAL}, ("PSNR", "SSIM", "mouth r"),
    ),
    Question(
        "audio augmentation", "Augmentation keeps the mouth with a noisy voice.",
        {"no_augmentation": ("voice", *NOISY)}, ("mouth r",),
    ),
    Question(
        "concurrent training", "One model of voice and landmarks is no worse, in each, than one "
        "trained for it alone.",
        {"audio_only": ("voice",), "landmarks_only": ("landmarks",)},
        ("mouth r", "SSIM", "PSNR", "jitter"),
    ),
)  # fmt: skip


def found_models(folder: Path) -> dict[str, dict[int, Path]]:
    """Variant → seed → folder.

    Raises `EvaluationError` if there are none of the base, or no other one to compare it with.
    """
    models: dict[str, dict[int, Path]] = {variant: {} for variant in VARIANTS}
    for path in sorted(folder.glob("*-seed*")):
        match = re.fullmatch(r"(\w+)-seed(\d+)", path.name)
        if match and match[1] in models:
            models[match[1]][int(match[2])] = path
    shared = {seed for name, known in models.items() for seed in known if name != "base"}
    if not shared & set(models["base"]):
        raise EvaluationError(
            f"{folder} holds no base-seed1 with another variant of the same seed; train them with "
            "`python -m benchmarks.miniature.ablations`."
        )
    return models


def films(scale: Scale, case: str) -> list[Film]:
    options = scale.options(num_inference_steps=scale.ablation_steps)
    return [
        Film(person, voice=person, frames=scale.frames, options=options, **CASES[case])
        for person in range(scale.ablation_people)
    ]


def work(models: dict[str, dict[int, Path]], scale: Scale) -> list[Work]:
    """Seed by seed, so that what there was time for can be compared."""
    seeds = sorted({seed for known in models.values() for seed in known})
    return [
        (models[variant][seed], film)
        for seed in seeds
        for variant in VARIANTS if seed in models[variant]
        for case in DRIVEN[variant]
        for film in films(scale, case)
    ]  # fmt: skip


def summary(store: Store, models: dict[str, dict[int, Path]], scale: Scale) -> dict[str, Any]:
    """The section as JSON: means over films of every model, and what they say together."""
    values = {
        variant: {
            case: {seed: _means(store, folder, films(scale, case))
                   for seed, folder in models[variant].items()}
            for case in DRIVEN[variant]
        }
        for variant in VARIANTS if models[variant]
    }  # fmt: skip
    options = scale.options(num_inference_steps=scale.ablation_steps)
    return {
        "protocol": {
            "people": scale.ablation_people, "frames": scale.frames,
            "steps": options.num_inference_steps, "guidance": options.guidance_scale,
            "training": _training(models["base"]),
        },
        "measures": {
            variant: {case: {name: over_seeds([means[name] for means in seeds.values()]).described()
                             for name in MEASURES} for case, seeds in cases.items()}
            for variant, cases in values.items()
        },
        "questions": [_answered(question, values) for question in QUESTIONS],
        "models": values,
    }  # fmt: skip


def _means(store: Store, folder: Path, chosen: Sequence[Film]) -> dict[str, float]:
    lines = [store.get(folder, film)["figures"] for film in chosen]
    return {
        name: float(f"{sum(line[name] for line in lines) / len(lines):.6g}") for name in MEASURES
    }


def _answered(question: Question, values: dict[str, Any]) -> dict[str, Any]:
    """The base less each variant, seed by seed."""
    found = []
    for variant, cases in question.without.items():
        shared = sorted(
            set(values.get(variant, {}).get(cases[0], {})) & set(values["base"]["voice"])
        )
        for case in cases if shared else ():
            for name in question.measures:
                if name == "mouth r" and case in MOUTHLESS:
                    continue
                sides = ([values[one][case][seed][name] for seed in shared]
                         for one in ("base", variant))  # fmt: skip
                difference = differences(*sides, over_seeds)
                found.append({
                    "variant": variant, "case": case, "measure": name, "better": MEASURES[name],
                    "difference": difference.described(),
                    "verdict": judged(difference, MEASURES[name]),
                })  # fmt: skip
    return {"name": question.name, "claim": question.claim, "differences": found}


def _training(base: dict[int, Path]) -> dict[str, Any]:
    """How the models were trained, as far as it is noted."""
    notes = [json.loads((path / TRAINING).read_text(encoding="utf-8"))
             for path in base.values() if (path / TRAINING).is_file()]  # fmt: skip
    if not notes:
        return {}
    stages = notes[0]["recipe"]["stages"]
    return {
        "on": notes[0]["on"],
        "seconds": [round(note["seconds"]) for note in notes],
        "stages": {name: {key: stage[key] for key in ("steps", "batch_size")}
                   for name, stage in stages.items()},
        "targets": {name: stage["settings"]["samples"]["targets"]
                    for name, stage in stages.items()},
    }  # fmt: skip

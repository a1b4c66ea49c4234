"""The recipes of the ablations: those of the built-in model, each with one idea taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from echomimic.train.recipe import Recipe, StageOptions

VOICE_ALONE = {"audio": 1.0, "landmarks": 0.0, "both": 0.0}
LANDMARKS_ALONE = {"audio": 0.0, "landmarks": 1.0, "both": 0.0}
CHANGES: dict[str, dict[str, Any]] = {  # of the settings of stages 1 and 2
    "base": {},
    "no_spatial": {"samples": {"spatial_share": 0.0}, "objective": {"spatial_weight": 0.0}},
    "no_selection": {"samples": {"selection": {"enabled": False}}},
    "no_augmentation": {"augmentation": {"enabled": False}},
    "audio_only": {"samples": {"mixture": VOICE_ALONE}},
    "landmarks_only": {"samples": {"mixture": LANDMARKS_ALONE}},
}
VARIANTS = tuple(CHANGES)
STAGES = ("stage1", "stage2")


@dataclass(frozen=True)
class Schedule:
    """How long each variant trains; everything else is as in the recipe of the built-in model."""

    steps: tuple[int, int] = (300, 40)  # of stage 1 and stage 2
    batch_size: tuple[int, int] = (8, 2)
    targets: int = 2  # frames of each sample of stage 1
    workers: int = 0  # processes that load samples, of each run


def ablation(base: Recipe, variant: str, seed: int, schedule: Schedule) -> Recipe:
    """The recipe of a variant: stages 1 and 2, shortened, and changed in one thing."""
    stages = {
        name: _shortened(base.stages[name], steps, batch_size, variant, schedule.workers)
        for name, steps, batch_size in zip(STAGES, schedule.steps, schedule.batch_size, strict=True)
    }
    fewer = merged(stages["stage1"].settings, {"samples": {"targets": schedule.targets}})
    stages["stage1"] = replace(stages["stage1"], settings=fewer)
    return replace(base, name=f"ablation {variant}", seed=seed, stages=stages)


def _shortened(
    options: StageOptions, steps: int, batch_size: int, variant: str, workers: int
) -> StageOptions:
    return replace(
        options,
        steps=steps,
        batch_size=batch_size,
        warmup_steps=min(options.warmup_steps, steps // 10),
        workers=workers,
        log_every=max(1, steps // 10),
        save_every=max(1, steps // 2),
        keep_last=1,
        settings=merged(options.settings, CHANGES[variant]),
    )


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the changes in their places, deep down."""
    both = dict(values)
    for name, change in changes.items():
        deeper = isinstance(change, Mapping) and isinstance(both.get(name), Mapping)
        # A mixture or a switch replaces what it names; mappings of settings are gone into.
        both[name] = merged(both[name], change) if deeper else change
    return both

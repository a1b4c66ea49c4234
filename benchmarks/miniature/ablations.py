"""Train the ablations of the paper in miniature, several at once.

    python -m benchmarks.miniature.ablations --start echomimic/assets/mini --out ablations --jobs 6

Makes `OUT/<variant>-seed<k>`, model folders as `echomimic models convert` leaves them: joint models
that learn anew what drives them (`beginning`), from `--start`, every variant by the same short
schedule, on the same puppets. What is finished is kept, and a run that was stopped goes on.

Needs `pip install ".[standalone,train]"`, and no network. On a machine with a GPU the runs share it
(`--device`).
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from echomimic.errors import EchoMimicError, OptionsError
from echomimic.files import replacing_folder
from echomimic.train.export import AUDIO_ENCODER, VAE
from echomimic.train.loop import MODELS, train_stage
from echomimic.train.make_puppets import PuppetOptions, make_puppets
from echomimic.train.recipe import Recipe, read_recipe, strict
from echomimic.train.stage import Stage
from echomimic.train.stages import make_stage
from echomimic.weights.convert import convert

from .beginning import begin
from .encoded import Job, caches, frozen
from .store import end_with_parent
from .variants import VARIANTS, Schedule, ablation

log = logging.getLogger("ablations")

RECIPE_FILE = "training.json"


class Unvalidated:
    """A stage that is not validated: the study measures the finished models instead."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def validate(self, step: int, folder: Path) -> dict[str, float]:
        return {}


def train(job: Job) -> float:
    """Train a model and put it into its place; returns the seconds that it took."""
    began = time.monotonic()
    models = job.run / MODELS
    _put_frozen(job.start, models, job.recipe)
    recipe = begin(job.start, job.run / "beginning", job.recipe)
    for name, options in recipe.stages.items():
        stage = make_stage(name, recipe, job.data, models)
        train_stage(
            Unvalidated(stage), options, job.run / name,
            fingerprint={"seed": recipe.seed, "model": recipe.model},
            on_step=lambda done, total, figures, name=name: log.info(
                "%s %s %d/%d loss %.3f", job.name, name, done, total, figures["loss"]
            ),
        )  # fmt: skip
    seconds = time.monotonic() - began
    with replacing_folder(job.out / job.name) as unfinished:
        convert([models], unfinished, [job.recipe.variant], "float16")
        note = {"recipe": asdict(job.recipe), "seconds": seconds, "on": device_name()}
        (unfinished / RECIPE_FILE).write_text(json.dumps(note, indent=1), encoding="utf-8")
    if not job.keep:
        shutil.rmtree(job.run, ignore_errors=True)
    return seconds


def _put_frozen(start: Path, models: Path, recipe: Recipe) -> None:
    """The start's VAE and audio encoder, as if stages of this run had made them."""
    for component, place in (("vae", VAE), ("audio_encoder", AUDIO_ENCODER)):
        found = frozen(start, recipe, component)
        target = (models / place).with_suffix(found.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def prepare_worker(device: str, threads: int) -> None:
    """Of a process that trains: where, and with how many threads."""
    end_with_parent()
    if device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # accelerate takes a GPU where there is one
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("echomimic", "accelerate"):
        logging.getLogger(name).setLevel(logging.WARNING)


def run(options: argparse.Namespace) -> None:
    """Everything that is not there yet."""
    base, schedule = read_recipe(options.recipe), _schedule(options)
    data = options.data or options.out / "data"
    if options.data is None:
        values = {k: v for k, v in base.data["puppets"].items() if k != "count"}
        made = strict(PuppetOptions, values, "the puppets of the recipe")
        make_puppets(data, options.puppets, made, workers=options.jobs)
    wanted = [
        Job(ablation(base, variant, seed, schedule), data, options.start, options.out,
            f"{variant}-seed{seed}", options.keep)
        for seed in options.seeds for variant in options.variants
    ]  # fmt: skip
    jobs = [job for job in wanted if not (job.out / job.name / RECIPE_FILE).is_file()]
    log.info("%d of %d models are to be trained.", len(jobs), len(wanted))
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")  # a GPU does not survive a fork
    start = {"initializer": prepare_worker, "initargs": (options.device, options.threads)}
    with ProcessPoolExecutor(options.jobs, mp_context=context, **start) as pool:
        for task in list(caches(pool, jobs, options.device)):
            task.result()
        log.info("The clips are encoded.")
        tasks: Mapping[Future, Job] = {pool.submit(train, job): job for job in jobs}
        for task in as_completed(tasks):
            log.info("%s took %.0f s", tasks[task].name, task.result())


def _schedule(options: argparse.Namespace) -> Schedule:
    return Schedule(
        tuple(options.steps),
        tuple(options.batch),
        options.targets,
        options.workers,
    )


def _variants(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in VARIANTS:
            raise OptionsError(f"There is no variant {name!r}; there are {', '.join(VARIANTS)}.")
    return names


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description="Train the ablations in miniature.")
    add = parser.add_argument
    add("--start", type=Path, required=True, help="model folder that all begin from")
    add("--out", type=Path, required=True, help="folder for the models")
    add("--data", type=Path, help="folder of puppets; default: made in OUT/data")
    add("--puppets", type=int, default=1200, help="how many are made (1200)")
    add("--recipe", default="mini", help="recipe that the variants change (mini)")
    add("--variants", default=list(VARIANTS), type=_variants, help="by comma; default: all")
    add("--seeds", default=[1, 2, 3], type=lambda text: [int(s) for s in text.split(",")])
    default = Schedule()
    add("--steps", type=int, nargs=2, default=default.steps, help="of stage 1 and 2")
    add("--batch", type=int, nargs=2, default=default.batch_size, help="of stage 1 and 2")
    add("--targets", type=int, default=default.targets, help="frames of a sample of stage 1")
    add("--jobs", type=int, default=os.cpu_count(), help="models trained at once")
    add("--threads", type=int, default=1, help="of each")
    add("--workers", type=int, default=0, help="processes that load samples, of each")
    add("--device", choices=("cuda", "cpu"),
        default="cuda" if torch.cuda.is_available() else "cpu")  # fmt: skip
    add("--keep", action="store_true", help="keep checkpoints and logs")
    return parser.parse_args(arguments)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(parse())
    except EchoMimicError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The commands `echomimic train`, `echomimic puppets` and `echomimic quality`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_progress import Progress
from .errors import OptionsError

if TYPE_CHECKING:
    from .pipeline import OnProgress
    from .train.recipe import Recipe

STAGES = ("vae", "decoder", "audio", "stage1", "stage2")  # as in train.recipe


def add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("train", help="train a model, from scratch or from another")
    command.set_defaults(run=_train)
    command.add_argument("recipe", help="a recipe file, or the name of a bundled one: mini, full")
    command.add_argument("--out", type=Path, required=True, help="folder of the run")
    command.add_argument(
        "--data", help="folder of clips, or s3://… address of shards; default: as the recipe says"
    )
    command.add_argument("--stage", choices=STAGES, action="append", help="default: all, in order")
    command.add_argument("--fresh", action="store_true", help="start anew instead of going on")
    command.add_argument("--steps", type=int, help="steps of each stage, for a first try")
    command.add_argument(
        "--workers", type=int, help="processes that load data; default: as the recipe says"
    )


def add_puppets(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("puppets", help="clips of cartoon people, to train on")
    command.set_defaults(run=_puppets)
    command.add_argument("folder", type=Path)
    command.add_argument("--count", type=int, default=100, help="people (100)")
    command.add_argument("--first-seed", type=int, default=0)
    command.add_argument("--frames", type=int, default=20, help="frames of each clip (20)")
    command.add_argument("--size", type=int, default=128, help="width and height in pixels (128)")
    command.add_argument("--workers", type=int, help="processes; default: one per core")


def add_quality(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("quality", help="measure a joint model on unseen puppets")
    command.set_defaults(run=_quality)
    command.add_argument("--models", type=Path, help="folder of a joint model; default: built in")
    command.add_argument("--people", type=int, default=10, help="puppets (10)")
    command.add_argument(
        "--voice", type=Path, action="append", default=[], help="recording, up to 3"
    )
    command.add_argument("--steps", type=int, help="denoising steps; default: the model's")
    command.add_argument("--cfg", type=float, help="guidance; default: the model's")
    command.add_argument("--sheet", type=Path, help="PNG with truth over result, to look at")


def _train(options: argparse.Namespace) -> None:
    from .train.clips import Dataset
    from .train.loop import MODELS, leave_processes, train_stage
    from .train.recipe import read_recipe
    from .train.stages import make_stage

    recipe = _with_options(read_recipe(options.recipe), options)
    chosen = [name for name in recipe.stages if name in (options.stage or STAGES)]
    if not chosen:
        raise OptionsError(f"{options.recipe} has no stage {', '.join(options.stage)}.")
    with Progress() as progress:
        data = _data(recipe, options.data, options.out, progress)
        clips = Dataset(data)
        clips.check(lambda *done: progress("check", *done))
        fingerprint = {
            "seed": recipe.seed, "model": recipe.model, "variant": recipe.variant,
            "clips": clips.digest(),
        }  # fmt: skip
        for name in chosen:
            stage = make_stage(name, recipe, data, options.out / MODELS, progress)
            settings = recipe.stages[name]

            def show(done: int, total: int, figures: Mapping[str, float], name: str = name) -> None:
                progress(name, done, total, f"loss {figures['loss']:.3f}")

            train_stage(
                stage, settings, options.out / name,
                fingerprint=fingerprint, resume=not options.fresh, on_step=show,
            )  # fmt: skip
    leave_processes()
    sys.stderr.write(f"{options.out / MODELS}\n")


def _with_options(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe, with what the command line says of every stage."""
    said = {"steps": options.steps, "workers": options.workers}
    said = {key: value for key, value in said.items() if value is not None}
    stages = {name: replace(stage, **said) for name, stage in recipe.stages.items()}
    return replace(recipe, stages=stages)


def _data(recipe: Recipe, given: str | None, out: Path, progress: OnProgress) -> Path:
    """The folder of clips: given or named by the recipe, or its puppets, made in the run's folder.

    Shards are fetched into the run's folder first. Of several processes, one does either.
    """
    from .train.make_puppets import PuppetOptions, make_puppets, meta_file
    from .train.processes import by_main_process
    from .train.recipe import strict
    from .train.shards import fetch_shards, is_sharded, marks

    place = given or str(recipe.data.get("folder") or "")
    if place and is_sharded(place):
        fetched = out / "clips"
        by_main_process(
            lambda: fetch_shards(place, fetched, lambda *done: progress("shards", *done)),
            marks(place, fetched),
        )
        return fetched
    if place:
        return Path(place)
    values = dict(recipe.data.get("puppets") or {})
    if not values:
        raise OptionsError(
            f"{recipe.name} names no data; add `data: {{folder: …}}`, or give --data FOLDER."
        )
    count, first_seed = values.pop("count", 100), values.pop("first_seed", 0)
    made = strict(PuppetOptions, values, f"the puppets of {recipe.name}")
    folder = out / "data"
    by_main_process(
        lambda: make_puppets(
            folder, count, made, first_seed=first_seed,
            on_progress=lambda done, total: progress("puppets", done, total),
        ),
        [meta_file(folder, seed) for seed in range(first_seed, first_seed + count)],
    )  # fmt: skip
    return folder


def _quality(options: argparse.Namespace) -> None:
    from .config import SamplingOptions
    from .pipeline import EchoMimic
    from .puppets.identity import TEST_SEEDS
    from .quality import quality, voices
    from .quality_table import table

    if options.models is None:
        model = EchoMimic.mini(keep_loaded=True)
    else:
        model = EchoMimic.from_folder(options.models, "joint", keep_loaded=True)
    sampling = SamplingOptions.for_variant(
        model.variant, num_inference_steps=options.steps, guidance_scale=options.cfg
    )
    people = TEST_SEEDS[: options.people]
    with Progress() as progress:
        figures = quality(
            model, people, voices(options.voice), sampling,
            sheet=options.sheet, on_progress=progress,
        )  # fmt: skip
    sys.stdout.write(table(figures) + "\n")


def _puppets(options: argparse.Namespace) -> None:
    from .train.make_puppets import PuppetOptions, make_puppets

    made = PuppetOptions(num_frames=options.frames, size=options.size)
    with Progress() as progress:
        make_puppets(
            options.folder, options.count, made, first_seed=options.first_seed,
            workers=options.workers,
            on_progress=lambda done, total: progress("puppets", done, total),
        )  # fmt: skip
    sys.stderr.write(f"{options.folder}\n")

"""The paper in miniature: measures everything, and writes docs/evaluation.md.

    python -m benchmarks.miniature

Trains the models of the ablations first, unless `--ablations` names a folder of them. A study that
was killed goes on with the same command. `--page-only` writes the page from what lies in
docs/evaluation. Sections that were measured elsewhere stay as they are: `--sections ablations` on
another machine, and its JSON put into docs/evaluation, will do.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from echomimic.assets import MINI
from echomimic.errors import EchoMimicError, OptionsError
from echomimic.files import replacing
from echomimic.media.image import write_image

from . import ablation_study, ablations, driving, plots, sampling_study, synchronisation
from .page import page
from .scale import SCALES, Scale
from .store import Store, fingerprint, measure_missing, work_of

log = logging.getLogger("miniature")

SECTIONS = ("driving", "synchronisation", "ablations", "sampling")
PLAIN_LIST = re.compile(r"\[([^][{}]*)\]")  # in JSON; written on one line
DOCS = Path(__file__).resolve().parents[2] / "docs"


def study(options: argparse.Namespace) -> None:
    """Measure what is asked for and missing, section by section, and write the page each time."""
    scale, folder = SCALES[options.scale], options.docs / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    if options.page_only:
        write_page(options.docs, SECTIONS)
        return
    store = Store(options.work / "films.jsonl")
    for name in options.sections:
        log.info("Section %s", name)
        section = _measured(name, options, scale, store)
        _write_json(folder, name, {"about": _about(name, options), **section})
        write_page(options.docs, [name])


def _measured(name: str, options: argparse.Namespace, scale: Scale, store: Store) -> dict[str, Any]:
    place = {"jobs": options.jobs, "device": options.device}
    models = options.models
    if name == "synchronisation":
        return synchronisation.summary(scale) | {"scale": asdict(scale)}
    if name == "ablations":
        found = ablation_study.found_models(options.ablations or _trained(options))
        measure_missing(store, ablation_study.work(found, scale), **place)
        return ablation_study.summary(store, found, scale)
    section = {"driving": driving, "sampling": sampling_study}[name]
    films = driving.films(scale) if name == "driving" else sampling_study.all_films(scale)
    measure_missing(store, work_of([models], films), **place)
    return section.summary(store, models, scale)


def _trained(options: argparse.Namespace) -> Path:
    """The folder of the ablations, of which those that are missing are trained."""
    folder = options.work / "ablations"
    given = ["--start", options.models, "--out", folder, "--jobs", options.jobs]
    ablations.run(ablations.parse([*map(str, given), "--device", options.device]))
    return folder


def write_page(docs: Path, plotted: Sequence[str]) -> None:
    """The page, and plots of these sections, from the JSON that there is.

    Raises `OptionsError` if there is none.
    """
    folder = docs / "evaluation"
    read = {name: _read_json(folder, name) for name in SECTIONS}
    sections = {name: section for name, section in read.items() if section is not None}
    if not sections:
        raise OptionsError(f"{folder} holds no study; run it without --page-only.")
    draw: dict[str, Callable[[dict[str, Any]], Any]] = {
        "driving": plots.draw_driving,
        "synchronisation": lambda section: plots.draw_synchronisation(
            section, synchronisation.drawn_points(Scale(**section["scale"]))
        ),
        "ablations": plots.draw_ablations,
        "sampling": plots.draw_sampling,
    }
    for name in sections.keys() & set(plotted):
        write_image(folder / f"{name}.png", draw[name](sections[name]))
    _write_text(docs / "evaluation.md", page(sections))


def _about(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What figures depend on besides the films."""
    own = name in ("driving", "sampling")  # measured with the model itself
    return {
        "scale": options.scale,
        "weights": fingerprint(options.models) if own else None,
        "device": options.device,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _write_json(folder: Path, name: str, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    text = PLAIN_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    _write_text(folder / f"{name}.json", text)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_json(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _sections(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"there are {', '.join(SECTIONS)}, not {name!r}")
    return names


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description="The paper in miniature: docs/evaluation.md.")
    add = parser.add_argument
    add("--models", type=Path, default=MINI, help="folder of a joint model; default: built in")
    add("--ablations", type=Path, help="folder of <variant>-seed<k>; default: trained")
    add("--docs", type=Path, default=DOCS, help="folder of evaluation.md and evaluation/")
    add("--work", type=Path, default=Path("build/miniature"), help="what was measured so far")
    add("--scale", choices=list(SCALES), default="full")
    add("--quick", dest="scale", action="store_const", const="quick", help="--scale quick")
    add("--sections", type=_sections, default=list(SECTIONS), help="by comma; default: all")
    add("--page-only", action="store_true", help="from the JSON that is there")
    add("--jobs", type=int, default=os.cpu_count(), help="processes, of one thread each")
    add("--device", default="cpu")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("echomimic").setLevel(logging.ERROR)
    try:
        study(parse(arguments))
    except EchoMimicError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

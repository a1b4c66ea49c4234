"""The page's section on ablations."""

from __future__ import annotations

from typing import Any

from . import sentences
from .sentences import estimate_text
from .statistics import OPEN, REVERSED, SHOWN

CONCURRENT = "concurrent training"


def ablations(section: dict[str, Any]) -> list[str]:
    protocol = section["protocol"]
    lines = [
        "## 3. Ablations",
        "",
        _trained(section),
        "",
        f"Measured on {protocol['people']} people in {protocol['frames']} frames each, "
        f"{protocol['steps']} steps, guidance {protocol['guidance']:g}. Values are means over "
        "seeds of means over films, with Student's interval over seeds; differences are taken seed "
        "by seed.",
        "",
        *_general(section),
        "![Differences between the base and each variant](evaluation/ablations.png)",
        "",
    ]
    for question in section["questions"]:
        lines += _question(question)
    return lines


def _trained(section: dict[str, Any]) -> str:
    models = section["models"]
    seeds = {variant: len(next(iter(cases.values()))) for variant, cases in models.items()}
    counts = ", ".join(f"{variant} {count}" for variant, count in seeds.items())
    return (
        f"Models (variant and number of seeds): {counts}. Each begins as the built-in model that "
        "has forgotten what drives it: the landmark encoder and all attention to the voice are new "
        "and random, by the seed. From there each is trained by the recipe of the built-in model "
        "but for the one thing that its name takes away. So the figures say how well a model "
        "learns to be driven, in a short time, with an idea and without it. What the spatial loss "
        "has done for the looks of the built-in model before is in all of them, which can make its "
        "part look smaller than it is. The audio encoder is frozen and was itself trained on "
        "augmented voices, so little is left to do for the augmentation here. `audio_only` and "
        "`landmarks_only` see as many samples as the base, all of their kind; of the base's a "
        "third are of each kind, and a third have both. "
        + _schedule(section["protocol"]["training"])
    )


def _schedule(training: dict[str, Any]) -> str:
    if not training:
        return "How long they trained is not noted beside them."
    stages = "; ".join(
        f"{name} {stage['steps']} steps of {stage['batch_size']} samples with "
        f"{training['targets'][name]} targets"
        for name, stage in training["stages"].items()
    )
    return f"Schedule: {stages}, on {training['on']}."


def _general(section: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for case in ("voice", "landmarks"):
        having = {v: cases[case] for v, cases in section["measures"].items() if case in cases}
        names = list(next(iter(having.values())))
        rows = [[variant, *(estimate_text(known[name]) for name in names)]
                for variant, known in having.items()]  # fmt: skip
        lines += [f"Driven by {case}:", "", *sentences.table(["variant", *names], rows), ""]
    return lines


def _question(question: dict[str, Any]) -> list[str]:
    found = question["differences"]
    verdicts = [one["verdict"] for one in found]
    is_equality = question["name"] == CONCURRENT
    said = sentences.no_worse(verdicts) if is_equality else sentences.counted(verdicts)
    rows = [
        [one["case"], one["measure"], f"base − {one['variant']}",
         estimate_text(one["difference"], signed=True), _judged(one)]
        for one in found
    ]  # fmt: skip
    heading = ["driven by", "measure", "", "difference (95 %)", "the base is"]
    return [
        f"### {question['name'].capitalize()}",
        "",
        f"{question['claim']} {said}",
        "",
        *(sentences.table(heading, rows) if rows else ()),
        "",
    ]


def _judged(one: dict[str, Any]) -> str:
    words = {SHOWN: "**better**", REVERSED: "**worse**", OPEN: "not told apart"}
    return words[one["verdict"]]

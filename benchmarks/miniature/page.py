"""The study as a page of Markdown, made from its JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import sentences
from .sentences import estimate_text, number
from .statistics import OPEN, REVERSED, SHOWN

CONCURRENT = "concurrent training"
INTRODUCTION = """# The paper in miniature

What the paper claims (arXiv 2407.08136), measured on cartoon people whom no model was trained on,
with models of the built-in one's kind: 128 × 128 pixels, some 10 million parameters. It says how
these ideas work at this size; whether they work so at the paper's size it cannot say. Made by

```bash
python -m benchmarks.miniature.ablations --start echomimic/assets/mini --out ablations
python -m benchmarks.miniature --ablations ablations
```

which go on where they were stopped; `--page-only` makes this page anew from the JSON in
[evaluation/](evaluation), which has all figures. Every sentence that says what a claim came to was
chosen by the program, by the intervals: a difference counts if its 95 % interval excludes 0. Many
are compared at once: of a hundred without any meaning, about five count all the same.

FID, FVD, E-FID and Sync-C need published networks whose weights were not at hand, and are not here.
Intervals are over films (bootstrap) or over seeds (Student), as is said with each table.
"""


def page(sections: dict[str, Any]) -> str:
    """All sections that there are; one that was not measured is named."""
    writers: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
        "driving": _driving, "synchronisation": _synchronisation, "ablations": _ablations,
        "sampling": _sampling,
    }  # fmt: skip
    lines = [INTRODUCTION]
    for name, write in writers.items():
        if name in sections:
            lines += [*write(sections[name]), *_about(sections[name]["about"])]
        else:
            lines += [f"## {name.capitalize()}", "", "Not measured.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _about(about: dict[str, Any]) -> list[str]:
    weights = f"weights {about['weights'][:12]}, " if about["weights"] else ""
    return [
        f"<sub>Scale {about['scale']}, {weights}{about['device']}, Python {about['python']}, "
        f"PyTorch {about['torch']}.</sub>",
        "",
    ]


def _driving(section: dict[str, Any]) -> list[str]:
    protocol, distances = section["protocol"], section["distances"]
    names = list(next(iter(section["measures"].values())))
    rows = [[driven, *(estimate_text(known[name]) for name in names)]
            for driven, known in section["measures"].items()]  # fmt: skip
    apart = [
        [driven, *(estimate_text(known[driven]) for known in distances.values())]
        for driven in section["measures"]
    ]
    floors = (known["floor"] for known in distances.values())
    apart.append(["real films: one half of them, and the other", *map(number, floors)])
    floors = (known["floor in time"] for known in distances.values())
    apart.append(["real films: their first halves, and their second", *map(number, floors)])
    films = protocol["people"] * protocol["voices"]
    return [
        "## 1. What drives the face (the paper's Table 4)",
        "",
        f"{protocol['people']} people with {protocol['voices']} voices, {protocol['frames']} "
        f"frames at 25 a second: {films} films in every mode, {protocol['options']}. Truth is the "
        "same film in all modes, one in which the head moves a lot: voice alone cannot know that, "
        "so landmarks win what compares pixels by construction, as in the paper. *audio + "
        "landmarks* is the official way: all parts but the mouth. The still portrait and truth "
        "after a round trip through the VAE are controls.",
        "",
        *table(["driven by", *names], rows),
        "",
        "Jitter and amplitude of the real film are 1. Eyes' place: distance from the right one, in "
        "distances between the eyes. The Fréchet distances are of three feature spaces of our own, "
        "in deviations of the real films:",
        "",
        *(f"- **{space}** ({distances[space]['samples']} samples of {distances[space]['width']} "
          f"numbers): {what}." for space, what in protocol["spaces"].items()),
        "",
        *table(["driven by", *distances], apart),
        "",
        "![Every measure of the driving modes, with intervals](evaluation/driving.png)",
        "",
        "The paper's order is landmarks before audio + landmarks before audio, in FID, FVD, SSIM, "
        "E-FID and Sync-C; here SSIM, the distances and mouth r stand for them. "
        + sentences.counted([claim["verdict"] for claim in section["claims"]]),
        "",
        *sentences.lists(section["claims"]),
        "",
    ]  # fmt: skip


def _synchronisation(section: dict[str, Any]) -> list[str]:
    protocol = section["protocol"]
    names = list(next(iter(section["measures"].values())))
    rows = [[method, *(estimate_text(known[name]) for name in names)]
            for method, known in section["measures"].items()]  # fmt: skip
    return [
        "## 2. Motion synchronisation (the paper's Fig. 7)",
        "",
        f"{len(protocol['faces'])} faces ({'; '.join(protocol['faces'])}), each driving every "
        f"other one: {protocol['pairs']} pairs, {protocol['frames']} frames. Figures are mean "
        "distances of landmarks, in distances between the outer corners of the eyes. *At rest* the "
        "driver only speaks, and all else should be the portrait's own features; *acting*, "
        "head, gaze and brows move far, and truth is the portrait's person in the same "
        "performance. The driver is filmed from another place than the portrait. "
        "The mouth's motion is its opening's correlation with the true one (higher is better).",
        "",
        *table(["method", *names], rows),
        "",
        "![Distances by method, and the landmarks of one moment](evaluation/synchronisation.png)",
        "",
        "The paper fits the whole face first and adds a residual for each part. That this lies "
        "nearer than what the others do: "
        + sentences.counted([claim["verdict"] for claim in section["claims"]]),
        "",
        *sentences.lists(section["claims"]),
        "",
    ]  # fmt: skip


def _ablations(section: dict[str, Any]) -> list[str]:
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
        f"Models (variant and number of seeds): {counts}. Each is trained from scratch, by the "
        "recipe of the built-in model but for the one thing that its name takes away. VAE and "
        "audio encoder are the built-in model's, frozen; the audio encoder was itself trained on "
        "augmented voices, so little is left to do for the augmentation of stages 1 and 2. "
        "`audio_only` and `landmarks_only` see as many samples as the base, all of their kind. "
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
    widths = " and ".join(map(str, training["channels"]))
    return f"Schedule: {stages}; UNet widths {widths}, on {training['on']}."


def _general(section: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for case in ("voice", "landmarks"):
        having = {v: cases[case] for v, cases in section["measures"].items() if case in cases}
        names = list(next(iter(having.values())))
        rows = [[variant, *(estimate_text(known[name]) for name in names)]
                for variant, known in having.items()]  # fmt: skip
        lines += [f"Driven by {case}:", "", *table(["variant", *names], rows), ""]
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
        *(table(heading, rows) if rows else ()),
        "",
    ]


def _judged(one: dict[str, Any]) -> str:
    words = {SHOWN: "**better**", REVERSED: "**worse**", OPEN: "not told apart"}
    return words[one["verdict"]]


def _sampling(section: dict[str, Any]) -> list[str]:
    protocol, settings = section["protocol"], section["settings"]
    own, names = section["own"], list(next(iter(settings.values()))["measures"])
    lines = [
        "## 4. Sampling",
        "",
        f"{protocol['people']} people driven by voice and by landmarks, {protocol['frames']} "
        "frames each, one factor at a time around the model's own setting "
        f"({', '.join(f'{name} {value}' for name, value in protocol['own'].items())}). Time is the "
        "processor's seconds per second of video, one thread, portrait and voice included.",
        "",
        "![Quality against time of all settings](evaluation/sampling.png)",
        "",
    ]
    for name, chosen in section["fronts"].items():
        on = "is" if own in chosen else "is not"
        lines.append(
            f"- Front of {name} against time: {'; '.join(chosen)}. "
            f"The model's own setting {on} on it."
        )
    lines += ["", *_advice(section), ""]
    for factor, chosen in section["factors"].items():
        rows = [[setting, number(settings[setting]["seconds"]),
                 *(number(settings[setting]["measures"][name]["mean"]) for name in names),
                 _against(settings[setting])] for setting in dict.fromkeys(chosen)]  # fmt: skip
        lines += [f"**{factor}**", "",
                  *table(["setting", "seconds", *names, "against the own"], rows), ""]  # fmt: skip
    return lines


def _advice(section: dict[str, Any]) -> list[str]:
    settings, own, cheapest = section["settings"], section["own"], section["cheapest"]
    share = settings[cheapest]["seconds"] / settings[own]["seconds"]
    ahead = "; ".join(section["ahead"])
    hairs = ", ".join(f"{name} {hair:g}" for name, hair in section["hairs"].items())
    return [
        f"Better and worse is what differs from the model's own by more than a hair ({hairs}), "
        "with an asterisk where Student's interval over the films excludes 0. "
        f"The cheapest setting that is worse in no measure is **{cheapest}** "
        f"({100 * share:.0f} % of the time). Better in at least one measure and worse in none: "
        f"{ahead or 'no setting'}."
    ]


def _against(row: dict[str, Any]) -> str:
    parts = [f"{word}: {', '.join(row[word])}" for word in ("better", "worse") if row[word]]
    return "; ".join(parts) or "–"


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """A table of Markdown."""
    return [
        f"| {' | '.join(heading)} |",
        f"|{'---|' * len(heading)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]

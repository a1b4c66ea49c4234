"""The study as a page of Markdown, made from its JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import sentences
from .page_ablations import ablations
from .page_sampling import sampling
from .sentences import estimate_text, number, table

INTRODUCTION = """# The paper in miniature

What the paper claims (arXiv 2407.08136), measured on cartoon people whom no model was trained on,
with the built-in model and others of its kind: 128 × 128 pixels, some 10 million parameters. It
says how these ideas work at this size; whether they work so at the paper's size it cannot say.
Made by

```bash
python -m benchmarks.miniature
```

which trains the models of the ablations too, and goes on where it was stopped; `--page-only` makes
this page anew from the JSON in [evaluation/](evaluation), which has all figures. Every sentence
that says what a claim came to was chosen by the program, by the intervals: a difference counts if
its 95 % interval excludes 0. Many are compared at once: of a hundred without any meaning, about
five count all the same.

FID, FVD, E-FID and Sync-C need published networks whose weights were not at hand, and are not here.
Intervals are over films (bootstrap) or over seeds (Student), as is said with each table.
"""


def page(sections: dict[str, Any]) -> str:
    """All sections that there are; one that was not measured is named."""
    writers: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
        "driving": _driving, "synchronisation": _synchronisation, "ablations": ablations,
        "sampling": sampling,
    }  # fmt: skip
    lines = [INTRODUCTION]
    for name, write in writers.items():
        if name in sections:
            lines += [*write(sections[name]), *_about(sections[name]["about"])]
        else:
            lines += [f"## {name.capitalize()}", "", "Not measured.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _about(about: dict[str, Any]) -> list[str]:
    """What figures depend on, and what somebody who measured them had to remark, if anything."""
    weights = f"weights {about['weights'][:12]}, " if about["weights"] else ""
    return [
        f"<sub>Scale {about['scale']}, {weights}{about['device']}, Python {about['python']}, "
        f"PyTorch {about['torch']}.{' ' * ('remark' in about)}{about.get('remark', '')}</sub>",
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
        "Dashed: the real films' first halves and their second.",
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
        "The mouth's motion is its opening's correlation with the true one (higher is better). "
        "Landmarks alone are compared here: no model draws any picture of them.",
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

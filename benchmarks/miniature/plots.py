"""The study's plots, made from its JSON alone: uint8 (H, W, 3). `MediaError` without matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from echomimic.evaluation.plot import blank_figure
from echomimic.landmarks.mesh import PARTS
from echomimic.motion.space import PART_POINTS

from .statistics import OPEN, SHOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#d1495b", "#2e7d6b", "#6a5acd", "#e0a030", "#8899aa")
JUDGED = {SHOWN: "#2e7d6b", OPEN: "#8899aa"}  # else: the opposite
OPPOSITE = "#d1495b"
CELL = (300, 240)  # pixels
TICKS = (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200)  # seconds


def draw_driving(section: dict[str, Any]) -> np.ndarray:
    """Every measure and distance by what drives the face."""
    measures, distances = section["measures"], section["distances"]
    names = list(next(iter(measures.values())))
    panels = [(name, {driven: known[name] for driven, known in measures.items()}, None)
              for name in names]  # fmt: skip
    panels += [
        (
            f"distance of {space}",
            {driven: known[driven] for driven in measures},
            known["floor in time"],  # that between people is far above all bars
        )
        for space, known in distances.items()
    ]
    return _bars(panels, columns=3)


def draw_synchronisation(section: dict[str, Any], drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Measures by method, and the landmarks of one moment by each."""
    measures = section["measures"]
    names = list(next(iter(measures.values())))
    panels = [(name, {method: known[name] for method, known in measures.items()}, None)
              for name in names]  # fmt: skip
    bars = _bars(panels, columns=3)
    figure, canvas = blank_figure((bars.shape[1], 260))
    for number, (name, points) in enumerate(drawn.items(), 1):
        axes = figure.add_subplot(1, len(drawn), number)
        for part in PARTS:
            chosen = points[list(PART_POINTS[part])]
            axes.scatter(chosen[:, 0], -chosen[:, 1], s=3, color="#222", linewidth=0)
        axes.set(xlim=(0.1, 0.9), ylim=(-1, -0.1), xticks=[], yticks=[], aspect="equal")
        axes.set_title(name, fontsize=8)
    return np.concatenate([bars, _drawn(canvas)])


def draw_ablations(section: dict[str, Any]) -> np.ndarray:
    """The base less each variant with intervals over seeds, in shares of the base's figure."""
    questions = [one for one in section["questions"] if one["differences"]]
    lines = sum(len(one["differences"]) for one in questions)
    figure, canvas = blank_figure((1000, 90 + 60 * len(questions) + 17 * lines))
    figure.subplots_adjust(left=0.42, right=0.97, top=0.96, bottom=0.05)
    ratios = [len(one["differences"]) for one in questions]
    grid = figure.add_gridspec(len(questions), 1, height_ratios=ratios, hspace=0.5)
    for number, question in enumerate(questions):
        _forest(figure.add_subplot(grid[number, 0]), question, section["measures"])
    return _drawn(canvas)


def _forest(axes: Axes, question: dict[str, Any], measures: dict[str, Any]) -> None:
    labels = []
    for place, one in enumerate(question["differences"]):
        found, own = one["difference"], measures["base"][one["case"]][one["measure"]]["mean"]
        scale = 100 / max(abs(own), 1e-9) * (1 if one["better"] == "higher" else -1)
        reach = 0.0 if found["low"] is None else abs(found["high"] - found["mean"]) * abs(scale)
        colour = JUDGED.get(one["verdict"], OPPOSITE)
        axes.errorbar([found["mean"] * scale], [-place], xerr=[[reach], [reach]], marker="o",
                      markersize=4, capsize=3, color=colour)  # fmt: skip
        labels.append(f"{one['case']}: {one['measure']} (less {one['variant']})")
    axes.axvline(0, color="#222", linewidth=0.8)
    axes.set_yticks([-place for place in range(len(labels))], labels, fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    title = f"{question['name']}: advantage of the base, % of its figure (right: as the paper says)"
    axes.set_title(title, fontsize=8)


def draw_sampling(section: dict[str, Any]) -> np.ndarray:
    """Quality against time for every setting; the front is a line, the own setting a star."""
    figure, canvas = blank_figure((1100, 430))
    figure.subplots_adjust(left=0.06, right=0.98, top=0.9, bottom=0.24, wspace=0.25)
    for number, (name, front) in enumerate(section["fronts"].items(), 1):
        axes = figure.add_subplot(1, len(section["fronts"]), number)
        _scatter(axes, section, name, front)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=8, frameon=False)
    return _drawn(canvas)


def _scatter(axes: Axes, section: dict[str, Any], name: str, front: list[str]) -> None:
    rows = section["settings"]

    def place(setting: str) -> tuple[float, float]:
        return rows[setting]["seconds"], rows[setting]["measures"][name]["mean"]

    seen: set[str] = set()
    for number, (factor, chosen) in enumerate(section["factors"].items()):
        fresh = [one for one in dict.fromkeys(chosen) if one not in seen]
        seen |= set(fresh)
        if fresh:
            colour = (*COLOURS, "#1f77b4", "#b07aa1", "#7a4a2a")[number % 8]
            axes.scatter(*zip(*map(place, fresh), strict=True), s=18, color=colour, label=factor)
    axes.plot(*zip(*map(place, front), strict=True), color="#222", linewidth=0.9, label="front")
    axes.scatter(*place(section["own"]), s=120, marker="*", color="#222", label="the model's own",
                 zorder=4)  # fmt: skip
    axes.set(xscale="log", xlabel="processor seconds per second of video")
    low, high = axes.get_xlim()
    axes.set_xticks([t for t in TICKS if low < t < high], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_title(name, fontsize=10)
    axes.tick_params(labelsize=8)


def _bars(panels: list[tuple[str, dict[str, Any], float | None]], columns: int) -> np.ndarray:
    """One panel per measure; a dashed line is the floor of a distance."""
    lines = -(-len(panels) // columns)
    figure, canvas = blank_figure((columns * CELL[0], lines * CELL[1]))
    figure.subplots_adjust(left=0.07, right=0.98, top=1 - 0.15 / lines, bottom=0.36 / lines)
    grid = figure.add_gridspec(lines, columns, hspace=0.95, wspace=0.3)
    for number, (name, values, floor) in enumerate(panels):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        for place, known in enumerate(values.values()):
            mean = 0.0 if known["mean"] is None else known["mean"]
            low, high = (mean if known[k] is None else known[k] for k in ("low", "high"))
            axes.bar([place], [mean], width=0.7, color=COLOURS[place % len(COLOURS)])
            axes.errorbar([place], [mean], [[max(0, mean - low)], [max(0, high - mean)]],
                          color="#222", capsize=4)  # fmt: skip
        if floor is not None:
            axes.axhline(floor, color="#222", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(values)), list(values), fontsize=7, rotation=20, ha="right")
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(name, fontsize=9)
    return _drawn(canvas)


def _drawn(canvas: Any) -> np.ndarray:
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

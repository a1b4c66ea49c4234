"""What a prompt of ComfyUI says: the graph that a video was made by, node by node.

A prompt is {id: {"class_type": kind, "inputs": {name: value or [id, output]}}}. It comes from files
of anybody, so nothing is taken for granted: what is not of this form is passed over.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

Values = dict[str, Any]  # by the names of widgets
NODES = "EchoMimic"  # how the ids of our nodes begin
LOADER = "EchoMimicModelLoader"
# How nodes are called that decide on sampling, of ComfyUI and of others' packs.
SAMPLING = re.compile(
    "Sampler|Scheduler|Sigmas|Guider|CFG|Guidance|Noise|ContextWindow|Cache|Lo[Rr][Aa]"
    "|ModelSampling|TorchCompile"
)
SEEDS = ("seed", "noise_seed")
# Where a clip is told what to show; what made the portrait's picture is another story.
SHOWN = ("portrait", "audio_track", "landmarks")
LONGEST = 200  # characters of a value


def told_nodes(prompt: object) -> list[tuple[str, Values]]:
    """Our nodes and those that decide on sampling: their kinds, and what was chosen on them."""
    nodes = _nodes(prompt)
    return [
        (node["class_type"], _chosen(nodes, node))
        for node in nodes.values()
        if _is_ours(node) or _samples(node)
    ]


def has_our_nodes(prompt: object) -> bool:
    """Whether a node of EchoMimic took part."""
    return any(map(_is_ours, _nodes(prompt).values()))


def made_above(prompt: object, node_id: object, given_through: str) -> dict[str, Any]:
    """What the graph above an input of a node says of its making; {} where it says nothing.

    `model` is what our loader was told, `seed` that of the nearest sampler, and `nodes` are those
    that decide on sampling, nearest first: {kind: values}.
    """
    nodes = _nodes(prompt)
    above = [nodes[name] for name in _above(nodes, str(node_id), given_through)]
    told = [(node["class_type"], _chosen(nodes, node)) for node in above]
    models = [values.get("model") for kind, values in told if kind == LOADER]
    sampling = [(kind, values) for kind, values in told if values and SAMPLING.search(kind)]
    seeds = [values[name] for _, values in sampling for name in SEEDS if name in values]
    found = {"model": models[:1], "seed": seeds[:1], "nodes": [numbered(sampling)] * bool(sampling)}
    return {name: values[0] for name, values in found.items() if values and values[0] is not None}


def numbered(told: list[tuple[str, Values]]) -> dict[str, Values]:
    """By kind; the second of a kind is called "kind 2"."""
    result, count = {}, {}
    for kind, values in told:
        count[kind] = count.get(kind, 0) + 1
        result[kind if count[kind] == 1 else f"{kind} {count[kind]}"] = values
    return result


def _nodes(prompt: object) -> dict[str, dict[str, Any]]:
    """The nodes that are of the form that ComfyUI gives them."""
    given = prompt if isinstance(prompt, Mapping) else {}
    return {
        str(name): node
        for name, node in given.items()
        if isinstance(node, Mapping)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), Mapping)
    }


def _is_ours(node: Mapping[str, Any]) -> bool:
    return node["class_type"].startswith(NODES)


def _samples(node: Mapping[str, Any]) -> bool:
    return SAMPLING.search(node["class_type"]) is not None


def _above(nodes: Mapping[str, Any], node_id: str, given_through: str) -> Iterator[str]:
    """Ids of the nodes that an input depends on, nearest first."""
    inputs = nodes[node_id]["inputs"] if node_id in nodes else {}
    waiting, seen = deque(_linked(nodes, inputs.get(given_through))), {node_id}
    while waiting:
        name = waiting.popleft()
        if name in seen:
            continue
        seen.add(name)
        yield name
        for input_name, value in nodes[name]["inputs"].items():
            if input_name not in SHOWN:
                waiting.extend(_linked(nodes, value))


def _linked(nodes: Mapping[str, Any], value: object) -> list[str]:
    """The node that a value comes from, if it comes from one."""
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
    return [str(value[0])] if is_link and str(value[0]) in nodes else []


def _chosen(nodes: Mapping[str, Any], node: Mapping[str, Any]) -> Values:
    """What was chosen on a node, or on a Primitive that is connected to it."""
    values = {}
    for name, value in node["inputs"].items():
        for source in _linked(nodes, value):
            if nodes[source]["class_type"].startswith("Primitive"):
                value = nodes[source]["inputs"].get("value")
        if isinstance(value, str | int | float):
            values[str(name)] = _without_folder(value) if isinstance(value, str) else value
    return values


def _without_folder(text: str) -> str:
    """Widgets of others may name files by their places, which are nobody's business."""
    paths = (PurePosixPath(text), PureWindowsPath(text))
    return next((path.name for path in paths if path.is_absolute()), text)[:LONGEST]

"""What the videos of our nodes say of their making: the library's mark, and ComfyUI's own tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy.cli_args import args
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..echomimic.config import SamplingOptions
from ..echomimic.errors import MediaError
from ..echomimic.media.comfy_prompt import NODES, made_above
from ..echomimic.media.provenance import KEY, Provenance, made_by, read_provenance
from .model import name_of, variant_of

HIDDEN = [io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id]


def marked(
    latent: dict[str, Tensor], model: ModelPatcher, options: SamplingOptions | None = None
) -> dict[str, Any]:
    """A LATENT that remembers how it was made; stock nodes carry what they do not know along.

    `options` is None where the sampler is still to come.
    """
    return latent | {KEY: mark_of(model, options)}


def mark_of(model: ModelPatcher, options: SamplingOptions | None = None) -> dict[str, Any]:
    """What a MODEL and the options of our samplers say of a clip."""
    name = name_of(model)
    if options is not None:
        return made_by(variant_of(model), options, model=name)
    return {"variant": variant_of(model).name} | ({} if name is None else {"model": name})


def provenance(hidden: object | None, **sources: object) -> Provenance:
    """What a node's video says: what the first marked LATENT, VIDEO or mark of `sources` says,
    and the graph above it.

    `sources` are called as the node's inputs that they came through. `hidden` holds what `HIDDEN`
    asks for. Prompt and workflow are left out where the user started ComfyUI with
    --disable-metadata; that the video was generated, and with what, is said anyway.
    """
    marks = {name: _mark(source) for name, source in sources.items()}
    through = next((name for name, mark in marks.items() if mark), next(iter(marks)))
    prompt, node_id = (getattr(hidden, name, None) for name in ("prompt", "unique_id"))
    said = _together(marks[through], made_above(prompt, node_id, through))
    return Provenance(said, {} if args.disable_metadata else _tags(hidden))


def _together(mark: dict[str, Any], graph: dict[str, Any]) -> dict[str, Any]:
    """What the value itself says counts; the graph adds what it cannot know, such as LoRAs."""
    if "settings" in mark:  # of our samplers, whose widgets need not be told twice
        nodes = graph.get("nodes", {})
        others = {name: nodes[name] for name in nodes if not name.startswith(NODES)}
        graph = {"nodes": others} if others else {}
    return graph | mark


def _mark(source: object) -> dict[str, Any]:
    if isinstance(source, dict):
        return source.get(KEY, {})
    # Other videos would be encoded to be looked at.
    file = source.get_stream_source() if isinstance(source, InputImpl.VideoFromFile) else None
    if not isinstance(file, str):
        return {}
    try:
        said = read_provenance(Path(file))
    except MediaError:
        return {}
    return {name: value for name, value in said.items() if name not in ("prompt", "workflow")}


def _tags(hidden: object | None) -> dict[str, str]:
    """The tags of Save Video, by which ComfyUI opens a video's workflow."""
    tags = dict(getattr(hidden, "extra_pnginfo", None) or {})
    prompt = getattr(hidden, "prompt", None)
    if prompt is not None:
        tags["prompt"] = prompt
    return {name: json.dumps(value) for name, value in tags.items()}

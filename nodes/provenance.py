"""What the videos of our nodes say of their making: the library's mark, and ComfyUI's own tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy.cli_args import args
from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..echomimic.config import SamplingOptions, Variant
from ..echomimic.errors import MediaError
from ..echomimic.media.provenance import KEY, Provenance, made_by, read_provenance

HIDDEN = [io.Hidden.prompt, io.Hidden.extra_pnginfo]


def marked(latent: dict[str, Tensor], variant: Variant, options: SamplingOptions) -> dict[str, Any]:
    """A LATENT that remembers how it was made; stock nodes carry what they do not know along."""
    return latent | {KEY: made_by(variant, options)}


def provenance(hidden: object | None, *sources: object) -> Provenance:
    """What a node's video says: what the first marked LATENT or VIDEO of `sources` says, and the
    graph.

    `hidden` holds what `HIDDEN` asks for. Prompt and workflow are left out where the user started
    ComfyUI with --disable-metadata; that the video was generated is said anyway.
    """
    marks = [mark for mark in map(_mark, sources) if mark]
    return Provenance(marks[0] if marks else {}, {} if args.disable_metadata else _tags(hidden))


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

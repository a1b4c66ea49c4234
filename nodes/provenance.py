"""What the videos of our nodes say of their making: the library's mark, and ComfyUI's own tags."""

from __future__ import annotations

import json
from typing import Any

from comfy.cli_args import args
from comfy_api.latest import io
from torch import Tensor

from ..echomimic.config import SamplingOptions, Variant
from ..echomimic.media.provenance import KEY, Provenance, made_by

HIDDEN = [io.Hidden.prompt, io.Hidden.extra_pnginfo]


def marked(latent: dict[str, Tensor], variant: Variant, options: SamplingOptions) -> dict[str, Any]:
    """A LATENT that remembers how it was made; stock nodes carry what they do not know along."""
    return latent | {KEY: made_by(variant, options)}


def provenance(hidden: object | None, *sources: object) -> Provenance:
    """What a node's video says: what the first marked LATENT among `sources` says, and the graph.

    `hidden` holds what `HIDDEN` asks for. Prompt and workflow are left out where the user started
    ComfyUI with --disable-metadata; that the video was generated is said anyway.
    """
    marks = [source[KEY] for source in sources if isinstance(source, dict) and KEY in source]
    return Provenance(marks[0] if marks else {}, {} if args.disable_metadata else _tags(hidden))


def _tags(hidden: object | None) -> dict[str, str]:
    """The tags of Save Video, by which ComfyUI opens a video's workflow."""
    tags = dict(getattr(hidden, "extra_pnginfo", None) or {})
    prompt = getattr(hidden, "prompt", None)
    if prompt is not None:
        tags["prompt"] = prompt
    return {name: json.dumps(value) for name, value in tags.items()}

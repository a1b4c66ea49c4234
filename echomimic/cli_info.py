"""`echomimic info`: what a video says of its own making."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_info(commands: argparse._SubParsersAction) -> None:
    """`info` among the actions of the `echomimic` command."""
    command = commands.add_parser("info", help="how a video was made, by its own account")
    command.set_defaults(run=_info)
    command.add_argument("video", type=Path, help="a video that EchoMimic made")
    command.add_argument(
        "--json", action="store_true", help="all of it, ComfyUI's prompt and workflow included"
    )


def _info(options: argparse.Namespace) -> None:
    from .media.provenance import read_provenance

    said = read_provenance(options.video)
    text = json.dumps(said, indent=2) if options.json else _lines(said)
    sys.stdout.write(text + "\n")


def _lines(said: dict[str, Any]) -> str:
    from .media.provenance import our_nodes

    lines = {"generated": "yes, this video is synthetic"}
    for name in ("generator", "version", "variant", "model", "seed"):
        if name in said:
            lines[name] = said[name]
    settings = said.get("settings")
    lines |= settings if isinstance(settings, dict) else {}
    for kind, values in our_nodes(said.get("prompt")):
        lines[kind] = ", ".join(f"{name} {value}" for name, value in values.items()) or "-"
    if "workflow" in said:
        lines["workflow"] = "inside; drag the file onto ComfyUI, or see --json"
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())

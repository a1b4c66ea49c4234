"""`echomimic info`: what a video says of its own making."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

MARK = ("generator", "version", "variant", "model", "seed")
LONGEST = 240  # characters of a line's text


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
    lines = {"generated": "yes, this video is synthetic"} | _told(said)
    lines = {_shown(name): _shown(value) for name, value in lines.items()}
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def _told(said: dict[str, Any]) -> dict[str, Any]:
    """What there is to show, by name: the mark, then the nodes, then where the rest is."""
    from .media.comfy_prompt import numbered, told_nodes

    lines = {name: said[name] for name in MARK if name in said}
    for name in ("settings", "nodes"):
        lines |= said[name] if isinstance(said.get(name), dict) else {}
    lines |= numbered(told_nodes(said.get("prompt")))
    if "workflow" in said:
        lines["workflow"] = "inside; drag the file onto ComfyUI, or see --json"
    return lines


def _shown(value: object) -> str:
    """Of a value from a file of anybody, what fits a line and does nothing to the terminal."""
    if isinstance(value, dict):
        value = ", ".join(f"{name} {inner}" for name, inner in value.items()) or "-"
    text = "".join(sign if sign.isprintable() else "?" for sign in str(value)[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

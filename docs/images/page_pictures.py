"""What those scripts share that take pictures of ComfyUI's page."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/nodes"))

from comfy_server import Server
from page import browser_or_reason, see

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
QUIET = {
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Graph.CanvasInfo": False,
}


@contextmanager
def comfyui() -> Iterator[tuple[dict, Server]]:
    """The browser and a running ComfyUI; ends the program where there is no browser."""
    browser = browser_or_reason()
    if isinstance(browser, str):
        raise SystemExit(browser)
    with tempfile.TemporaryDirectory() as base, Server(COMFYUI, Path(base), ROOT) as server:
        yield browser, server


def photograph(browser: dict, server: Server, script: str, renderer: str, **setup: object) -> dict:
    """Run a script of this folder in a page without panels; raises if anything went wrong there."""
    seen = see(browser, server.url, str(HERE / script), renderer, settings=QUIET, **setup)
    if seen["ended"] != "execution_success" or seen["pageErrors"]:
        raise RuntimeError(f"{script} did not run: {seen}")
    return seen


def save_small(file: Path, target: Path, colours: int, largest: int) -> None:
    """A screenshot as a PNG with a palette; raises if that has more than `largest` bytes."""
    picture = Image.open(file).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)
    if (size := target.stat().st_size) > largest:
        raise RuntimeError(f"{target.name} has {size} bytes.")

"""Takes the README's pictures of ComfyUI, with the built-in model and a real page.

    COMFYUI_PATH=~/comfy/ComfyUI ECHOMIMIC_PLAYWRIGHT=FOLDER python docs/images/take_screenshots.py

Needs what the tests in a browser need (`tests/nodes/page.py`), and a font with Chinese letters.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/nodes"))

from comfy_server import Server
from page import browser_or_reason, see

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
VIEWPORT = {"width": 1500, "height": 780}
COLOURS, LARGEST = 200, 250_000  # of a picture, and bytes of its file
PICTURES = {  # name → template, renderer, language
    "workflow": ("audio", "canvas", "en"),
    "chinese": ("audio", "vue", "zh"),  # next, so that it comes from the cache
    "ksampler": ("ksampler", "vue", "en"),
}
QUIET = {
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Graph.CanvasInfo": False,
}


def take(browser: dict, server: Server, name: str) -> None:
    """One picture, as a small PNG with a palette."""
    template, renderer, locale = PICTURES[name]
    workflow = json.loads((ROOT / f"workflows/{template}.json").read_text())
    setup = {"workflow": workflow, "viewport": VIEWPORT, "locale": locale, "settings": QUIET}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.png")
        script = str(HERE / "take_screenshots.mjs")
        seen = see(browser, server.url, script, renderer, file=str(file), **setup)
        if seen["ended"] != "execution_success" or seen["pageErrors"]:
            raise RuntimeError(f"{template} did not run: {seen}")
        page = Image.open(file).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    page.save(HERE / f"{name}.png", optimize=True)
    if (size := (HERE / f"{name}.png").stat().st_size) > LARGEST:
        raise RuntimeError(f"{name}.png has {size} bytes.")


def main() -> None:
    browser = browser_or_reason()
    if isinstance(browser, str):
        raise SystemExit(browser)
    with tempfile.TemporaryDirectory() as base, Server(COMFYUI, Path(base), ROOT) as server:
        for name in sys.argv[1:] or PICTURES:
            take(browser, server, name)


if __name__ == "__main__":
    main()

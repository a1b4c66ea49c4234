"""Takes the README's pictures of ComfyUI, with the built-in model and a real page.

    COMFYUI_PATH=~/comfy/ComfyUI ECHOMIMIC_PLAYWRIGHT=FOLDER python docs/images/take_screenshots.py

Needs what the tests in a browser need (`tests/nodes/page.py`), and a font with Chinese letters.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from page_pictures import HERE, ROOT, Server, comfyui, photograph, save_small

VIEWPORT = {"width": 1500, "height": 780}
COLOURS, LARGEST = 200, 250_000  # of a picture, and bytes of its file
PICTURES = {  # name → template, renderer, language
    "workflow": ("audio", "canvas", "en"),
    "chinese": ("audio", "vue", "zh"),  # next, so that it comes from the cache
    "ksampler": ("ksampler", "vue", "en"),
}


def take(browser: dict, server: Server, name: str) -> None:
    """One picture."""
    template, renderer, locale = PICTURES[name]
    workflow = json.loads((ROOT / f"workflows/{template}.json").read_text())
    setup = {"workflow": workflow, "viewport": VIEWPORT, "locale": locale}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.png")
        script = "take_screenshots.mjs"
        photograph(browser, server, script, renderer, file=str(file), **setup)
        save_small(file, HERE / f"{name}.png", COLOURS, LARGEST)


def main() -> None:
    with comfyui() as (browser, server):
        for name in sys.argv[1:] or PICTURES:
            take(browser, server, name)


if __name__ == "__main__":
    main()

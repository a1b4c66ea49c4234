"""Takes the README's pictures of ComfyUI: `python docs/images/take_screenshots.py`.

Needs what the browser tests need: COMFYUI_PATH, ComfyUI's environment, node, Chromium and
playwright-core (ECHOMIMIC_PLAYWRIGHT).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests/nodes"), str(ROOT / "tests"), str(ROOT)]

from comfy_server import Server  # noqa: E402 (found by the path above)

WORKFLOWS = ROOT / "workflows"
SHOTS = {  # picture: workflow, left, top and scale of the view, language, whether it is run
    "workflow": ("audio", -10, 30, 0.74, "en", True),
    "ksampler": ("ksampler", -10, 30, 0.74, "en", True),
    "chinese": ("audio", -10, 30, 0.74, "zh", False),
}
WIDTH = 1200  # pixels of the finished picture
COLOURS = 255


def shoot(server: Server, language: str, folder: Path) -> None:
    workflows = {
        name: {
            "file": json.loads((WORKFLOWS / f"{file}.json").read_text(encoding="utf-8")),
            "view": view,
            "queue": queue,
        }
        for name, (file, *view, spoken, queue) in SHOTS.items()
        if spoken == language
    }
    setup = {
        "modules": os.environ["ECHOMIMIC_PLAYWRIGHT"], "chromium": shutil.which("chromium"),
        "url": server.url, "vue": False, "locale": language,
        "workflows": workflows, "pictures": str(folder),
    }  # fmt: skip
    subprocess.run(["node", str(HERE / "take_screenshots.mjs"), json.dumps(setup)], check=True)


def main() -> None:
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory() as folder:
        base, pictures = Path(folder, "base"), Path(folder)
        with Server(comfyui, base, ROOT) as server:
            for language in ("en", "zh"):
                shoot(server, language, pictures)
        for name in SHOTS:
            image = Image.open(pictures / f"{name}.png").convert("RGB")
            image = image.resize((WIDTH, image.height * WIDTH // image.width))
            image.quantize(COLOURS).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

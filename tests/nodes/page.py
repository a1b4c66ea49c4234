"""A page of ComfyUI in a real browser: runs the scripts of the folder `browser`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from support import ROOT

SCRIPTS = Path(__file__).parent / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
RENDERERS = ("canvas", "vue")  # ComfyUI has two that draw nodes
TIMEOUT = 400  # seconds
NEEDS_DRIVER = (
    "needs playwright-core: npm install --prefix FOLDER playwright-core, then set "
    "ECHOMIMIC_PLAYWRIGHT=FOLDER"
)


def browser_or_reason() -> dict[str, str] | str:
    """Where the browser and its driver are, or why there is none."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not shutil.which("node") or chromium is None:
        return "needs node and Chromium"
    folder = _driver_folder()
    return NEEDS_DRIVER if folder is None else {"modules": str(folder), "chromium": chromium}


def see(browser: dict[str, str], url: str, script: str, renderer: str, **setup) -> dict:
    """Run a script in a page of the server at `url`; what it saw."""
    vue = renderer == "vue"
    setup = browser | {"url": url, "vue": vue} | setup
    command = ["node", str(SCRIPTS / script), json.dumps(setup)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["vue"] == vue, "the page used the other renderer"
    return seen


def _driver_folder() -> Path | None:
    """A folder with node_modules/playwright-core: as named, of the checkout, of the machine."""
    folders = [os.environ.get("ECHOMIMIC_PLAYWRIGHT"), ROOT]
    if shutil.which("npm"):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        folders.append(Path(root.stdout.strip()).parent)
    found = (Path(folder) for folder in folders if folder)
    return next((f for f in found if (f / "node_modules/playwright-core").is_dir()), None)

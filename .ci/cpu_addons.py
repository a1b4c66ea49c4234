"""Lets torchvision and torchaudio wheels built for CUDA be imported beside a CPU build of torch.

ComfyUI imports both but on a CPU uses only their Python parts. Run with the interpreter of an
environment made for tests; it edits that environment.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

SCHEMAS = """

# Declared by .ci/cpu_addons.py, since the compiled operators cannot be loaded without CUDA.
if not _has_ops():
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def folder(package: str) -> Path:
    """Where a package is installed, found without importing it."""
    return Path(importlib.util.find_spec(package).origin).parent


def importable(package: str) -> bool:
    command = [sys.executable, "-c", f"import {package}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    if not importable("torchaudio"):
        for library in (folder("torchaudio") / "lib").glob("*.so"):
            library.rename(library.with_suffix(".so.unused"))
    if not importable("torchvision"):
        with (folder("torchvision") / "extension.py").open("a") as file:
            file.write(SCHEMAS)
    subprocess.run([sys.executable, "-c", "import torchaudio, torchvision"], check=True)


if __name__ == "__main__":
    main()

"""The figures of a run, one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path


class Log:
    """Appends to a file; anything can read it while the run goes on."""

    def __init__(self, path: Path, *, active: bool = True) -> None:
        self._path, self._active = path, active
        if active:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """One line: what it is, after how many steps, and the figures."""
        if not self._active or not figures:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
        entry = {"kind": kind, "step": step, "time": round(time.time()), **rounded}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

"""The figures of a run, one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import replacing


class Log:
    """Appends to a file; anything can read it while the run goes on.

    A run that goes on after `step` does again what it had done beyond: those lines are dropped.
    """

    def __init__(self, path: Path, step: int = 0, *, active: bool = True) -> None:
        self._path, self._active = path, active
        if active:
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_after(step, path)

    def write(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """One line: what it is, after how many steps, and the figures or words."""
        if not self._active or not figures:
            return
        rounded = {name: _rounded(value) for name, value in figures.items()}
        entry = {"kind": kind, "step": step, "time": round(time.time()), **rounded}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _forget_after(step: int, path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    with replacing(path) as temporary:
        kept = [line for line in lines if _step(line) <= step]
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # half a line, of a process that was killed
        return float("inf")

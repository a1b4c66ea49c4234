"""The bars that the `echomimic` command shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline import OnProgress


UNITS = {
    "voice": "window", "sampling": "window", "puppets": "clip", "latents": "clip",
    "voices": "clip", "vae": "step", "audio": "step", "stage1": "step", "stage2": "step",
    "check": "clip", "quality": "voice", "demo": "film", "videos": "video", "shards": "shard",
    "evaluate": "pair", "decoder": "step",
}  # what is counted in each stage; else frames  # fmt: skip


class Progress:
    """A bar for each stage: done, speed, time left; while sampling, windows and the step."""

    def __init__(self, steps: int = 1) -> None:
        self._steps = steps
        self._stage = ""
        self._bar = None

    def __enter__(self) -> OnProgress:
        return self._show

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, stage: str, done: int, total: int, note: str = "") -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self.__exit__()
            unit = UNITS.get(stage, "frame")
            # What was done before, or until this first figure, says nothing of the speed.
            self._bar = tqdm(total=total, initial=done, desc=f"{stage:9}", unit=unit)
            self._stage = stage
        if stage == "sampling":
            step = max(0, done - 1) * self._steps // total + 1
            note = f"step {step}/{self._steps}"
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

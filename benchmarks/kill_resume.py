"""Is anything lost when a long render is killed? SIGKILL at random moments, many times (Linux).

    python benchmarks/kill_resume.py

A clip is rendered in segments by a tiny model with random weights, in processes that are killed
at random moments and started again until the video is there; then the next clip begins, until
there were enough kills. The exit code is 1 unless every clip's latents are, bit for bit, those of a
run that nobody killed, and no segment that was finished before a kill was rendered again after it.
How many of the video files are equal too is reported apart.

Processes are forked from one that has imported everything, which saves the seconds of importing;
with `--fresh` each is a new interpreter.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.config import SamplingOptions
from echomimic.pipeline import ClipOptions, EchoMimic
from echomimic.render_folder import MANIFEST
from echomimic.segments import Segments
from echomimic.weights.random_weights import make_random

VARIANT = "audio_acc"
SIZE = 64  # pixels
log = logging.getLogger("kill_resume")


def render(base: Path, name: str, frames: int) -> None:
    """The render called `name` below `base`, from its start or from where it was killed."""
    torch.set_num_threads(1)  # more cannot be had after a fork
    model = EchoMimic.from_folder(base / "models", VARIANT, device="cpu")
    model.animate(
        PORTRAIT,
        VOICE,
        base / f"{name}.mp4",
        ClipOptions(size=(SIZE, SIZE), length=frames, face_box=FACE_BOX),
        SamplingOptions(2, 1.0, context_frames=6, context_overlap=2),
        segments=Segments(base / name, windows=2, keep=True),
    )


class Forked:
    """A process that renders, forked from this one."""

    def __init__(self, *given: Any) -> None:
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=render, args=given)
        self._process.start()

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit status, or None if it still runs after `seconds`."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> int:
        os.kill(self._process.pid, signal.SIGKILL)
        return self.wait()


class Fresh:
    """A process that renders, in an interpreter of its own."""

    def __init__(self, *given: Any) -> None:
        command = [sys.executable, __file__, "--render", *map(str, given)]
        self._process = subprocess.Popen(command)

    def wait(self, seconds: float | None = None) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        self._process.kill()
        return self._process.wait()


def finished(folder: Path) -> list[str]:
    """Digests of the segments that the manifest lists."""
    manifests = list(folder.glob(f"*/{MANIFEST}"))
    return json.loads(manifests[0].read_text())["finished"] if manifests else []


def run_killed(
    start: Callable[[], Forked | Fresh], folder: Path, out: Path, seconds: float, kills: int
) -> collections.Counter:
    """Start until `out` is there, killing at most `kills` times; how often, and where that was."""
    count: collections.Counter = collections.Counter()
    before: list[str] = []
    while True:
        process = start()
        status = process.wait(random.uniform(0, seconds) if count["kills"] < kills else None)
        if status == 0:
            return count
        if status is not None:
            raise RuntimeError(f"The render failed with status {status}.")
        status = process.kill()
        if out.exists():
            return count + collections.Counter(kills=1, after_the_video=1)
        now = finished(folder)
        lost = now[: len(before)] != before
        where = "before_the_first_segment" if not now else f"with_{len(now):02}_segments"
        count += collections.Counter({"kills": 1, "lost": int(lost), where: 1})
        log.info("killed %s", where.replace("_", " "))
        before = now


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a long render again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for every run")
    parser.add_argument("--render", nargs=3, help=argparse.SUPPRESS)  # what such a one does
    options = parser.parse_args()
    if options.render:
        base, name, frames = options.render
        render(Path(base), name, int(frames))
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("echomimic").setLevel(logging.ERROR)
    random.seed(options.seed)
    torch.set_num_threads(1)
    begin = Fresh if options.fresh else Forked
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_random(base / "models", "tiny", [VARIANT], dtype="float32")
        if begin is Forked:
            render(base, "warm", 2)  # imports what is imported late
        started = time.monotonic()
        if begin(base, "expected", options.frames).wait() != 0:
            raise RuntimeError("The render that is not killed failed.")
        seconds = time.monotonic() - started
        latents, file = finished(base / "expected"), (base / "expected.mp4").read_bytes()
        total, same = collections.Counter(), collections.Counter()
        while total["kills"] < options.kills:
            name, left = f"render{same['videos']}", options.kills - total["kills"]
            start = partial(begin, base, name, options.frames)
            out = base / f"{name}.mp4"
            total += run_killed(start, base / name, out, seconds, left)
            same["videos"] += 1
            same["equal_latents"] += finished(base / name) == latents
            same["equal_files"] += out.read_bytes() == file
    summary = {"seconds_without_kills": round(seconds, 1), **same, "lost": 0}
    sys.stdout.write(json.dumps(summary | dict(sorted(total.items())), indent=2) + "\n")
    return int(same["equal_latents"] < same["videos"] or total["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Is anything lost when a long render is killed? SIGKILL at random moments, many times (Linux).

    python benchmarks/kill_resume.py

A clip is rendered in segments by a tiny model with random weights, in processes that are killed
at random moments and started again until the video is there; then the next clip begins, until
there were enough kills. The exit code is 1 unless every video is, bit for bit, that of a run that
nobody killed, and no segment that was finished before a kill was rendered again after it.

Processes are forked from one that has imported everything, which saves the seconds of importing;
`--fresh` starts the command `echomimic animate` in a new interpreter each time.
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

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic import cli
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.render_folder import MANIFEST
from echomimic.weights.random_weights import make_random

ROOT = Path(__file__).resolve().parent.parent
VARIANT = "audio_acc"
log = logging.getLogger("kill_resume")


def arguments(base: Path, name: str, frames: int) -> list[str]:
    """Of `echomimic animate` for the render called `name`."""
    return [
        "animate", "--models", str(base / "models"), "--variant", VARIANT, "--device", "cpu",
        "--portrait", str(PORTRAIT), "--audio", str(VOICE), "--out", str(base / f"{name}.mp4"),
        "--face-box", *map(str, FACE_BOX), "--size", "64", "--length", str(frames), "--steps", "2",
        "--context-frames", "6", "--context-overlap", "2", "--segment-windows", "2",
        "--resume-folder", str(base / name),
    ]  # fmt: skip


def render(given: list[str]) -> None:
    """In a forked process."""
    torch.set_num_threads(1)  # more cannot be had after a fork
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # no bars
    os._exit(cli.main(given))


class Forked:
    """A process that renders, forked from this one."""

    def __init__(self, given: list[str]) -> None:
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=render, args=(given,))
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

    def __init__(self, given: list[str]) -> None:
        command = [sys.executable, "-m", "echomimic.cli", *given]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

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
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    random.seed(options.seed)
    torch.set_num_threads(1)
    begin = Fresh if options.fresh else Forked
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_random(base / "models", "tiny", [VARIANT], dtype="float32")
        if begin is Forked:
            cli.main(arguments(base, "warm", 2))  # imports what is imported late
        started = time.monotonic()
        if begin(arguments(base, "expected", options.frames)).wait() != 0:
            raise RuntimeError("The render that is not killed failed.")
        seconds = time.monotonic() - started
        expected = (base / "expected.mp4").read_bytes()
        total, videos, equal = collections.Counter(), 0, 0
        while total["kills"] < options.kills:
            name, left = f"render{videos}", options.kills - total["kills"]
            start = partial(begin, arguments(base, name, options.frames))
            out = base / f"{name}.mp4"
            total += run_killed(start, base / name, out, seconds, left)
            videos, equal = videos + 1, equal + (out.read_bytes() == expected)
    summary = {"seconds_without_kills": round(seconds, 1), "videos": videos, "equal": equal}
    sys.stdout.write(
        json.dumps(summary | {"lost": 0} | dict(sorted(total.items())), indent=2) + "\n"
    )
    return int(equal < videos or total["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Is anything lost when ComfyUI is killed in a long render? SIGKILL at random moments, many times.

    COMFYUI_PATH=... python benchmarks/kill_server.py      # with ComfyUI's environment

A real server renders a clip of the built-in model with EchoMimic Long Render; it is killed at a
random moment, started again, and given the same graph, until the video is there; then the next clip
begins, until there were enough kills. The exit code is 1 unless every clip's latents are, bit for
bit, those of a run that nobody killed, and no segment that was finished before a kill was rendered
again after it. How many of the videos have equal frames too is reported apart (the files differ:
each holds its own graph).
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/nodes"), str(ROOT / "tests"), str(ROOT)]

from comfy_server import MINI_DECODER, MINI_SAMPLER, Server, mini_graph  # noqa: E402 (found by the path above)

LENGTH, STEPS = 75, 4  # frames; steps of the sampler
LONG = "long"


def long_graph(node_info: dict) -> dict:
    """The graph of the tests with EchoMimic Long Render in the place of sampler and decoder."""
    graph = mini_graph(node_info, length=LENGTH, steps=STEPS)
    inputs = graph.pop(MINI_SAMPLER)["inputs"]
    kind, decoder = "EchoMimicLongRender", graph.pop(MINI_DECODER)["inputs"]
    known = node_info[kind]["input"]["required"]
    defaults = {n: s[1]["default"] for n, s in known.items() if len(s) > 1 and "default" in s[1]}
    own = {"segment_windows": 1, "keep_latents": True, "audio": ["4", 1], "crf": 18}
    inputs = defaults | {n: decoder[n] for n in defaults.keys() & decoder.keys()} | inputs | own
    graph[LONG] = {"class_type": kind, "inputs": inputs}
    return graph


def digest(video: Path) -> str:
    """Of the decoded frames."""
    with av.open(str(video)) as file:
        frames = (frame.to_ndarray().tobytes() for frame in file.decode(video=0))
        return hashlib.sha256(b"".join(frames)).hexdigest()


class Trials:
    """One server, killed again and again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.folder = server.base / "output/echomimic_renders"
        self.count: collections.Counter = collections.Counter()

    def finished(self) -> list[str]:
        """Digests of the segments that the manifest lists."""
        manifests = list(self.folder.glob("*/manifest.json"))
        return json.loads(manifests[0].read_text())["finished"] if manifests else []

    def run(self, name: str) -> Path:
        """A whole clip, with nobody killing; its video."""
        run = self.server.run(self._graph(name))
        if run.error() is not None:
            raise RuntimeError(f"The render failed: {run.error()}")
        return Path(self.server.file(run, LONG))

    def run_killed(self, name: str, seconds: float, kills: int) -> Path:
        """A whole clip, however often the server is killed: at most `kills` times."""
        for _ in range(kills):
            before, killed, video = self.finished(), threading.Event(), None
            killer = threading.Timer(random.uniform(0, seconds), self._kill, [killed])
            killer.start()
            with suppress(Exception):  # the connection breaks in one way or another
                video = self.run(name)
            killer.cancel()
            killer.join()
            if killed.is_set():
                self._note(before)
                self.server.__enter__()
            if video is not None:
                return video
        return self.run(name)

    def _kill(self, killed: threading.Event) -> None:
        self.server.kill()
        killed.set()

    def _note(self, before: list[str]) -> None:
        now = self.finished()
        self.count["kills"] += 1
        self.count["lost"] += now[: len(before)] != before
        self.count[f"killed_with_{len(now):02}_segments"] += 1
        sys.stderr.write(f"killed with {len(now)} segments\n")

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _graph(self, name: str) -> dict:
        graph = long_graph(self.server.get("/object_info"))
        graph[LONG]["inputs"]["filename_prefix"] = name  # else ComfyUI has the result already
        return graph


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill ComfyUI in long renders.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory() as folder, Server(comfyui, Path(folder), ROOT) as server:
        trials = Trials(server)
        trials.run("warm")
        trials.clear()
        started = time.monotonic()
        frames = digest(trials.run("expected"))
        seconds, latents = time.monotonic() - started, trials.finished()
        same: collections.Counter = collections.Counter()
        while trials.count["kills"] < options.kills:
            trials.clear()
            name = f"render{same['videos']}"
            video = trials.run_killed(name, seconds, options.kills - trials.count["kills"])
            same["videos"] += 1
            same["equal_latents"] += trials.finished() == latents
            same["equal_frames"] += digest(video) == frames
    summary = {"seconds_without_kills": round(seconds, 1), **same, "lost": 0}
    sys.stdout.write(json.dumps(summary | dict(sorted(trials.count.items())), indent=2) + "\n")
    return int(same["equal_latents"] < same["videos"] or trials.count["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Is anything lost when ComfyUI is killed? SIGKILL of a real server at random moments (Linux).

    COMFYUI_PATH=~/comfy/ComfyUI python benchmarks/kill_server.py

The built-in model renders a clip by EchoMimic Long Render. The server is killed at random moments,
started again, and given the same graph, until the video is there; then the next clip begins, until
there were enough kills. The exit code is 1 unless every video is the same file, bit for bit, as
that of a server that nobody killed, the latents too, and no segment that was finished before a
kill was touched after it.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/nodes"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comfy_server import Server, long_graph

from echomimic.render_folder import MANIFEST

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
CHOICES = {
    "windows": "open", "context_frames": 6, "context_overlap": 2, "segment_windows": 2,
    "keep_latents": True, "filename_prefix": "long", "save_output": True, "crf": 18,
}  # fmt: skip
log = logging.getLogger("kill_server")


class Render:
    """What one render has on disk."""

    def __init__(self, base: Path) -> None:
        self._folder, self._output = base / "output/echomimic_renders", base / "output"

    def digests(self) -> list[str]:
        """Of the finished segments."""
        manifests = list(self._folder.glob(f"*/{MANIFEST}"))
        return json.loads(manifests[0].read_text())["finished"] if manifests else []

    def segments(self) -> list[tuple[str, int]]:
        """Names of the finished segments, and when they were written."""
        files = sorted(self._folder.glob("*/segment-*.safetensors"))
        return [(path.name, path.stat().st_mtime_ns) for path in files[: len(self.digests())]]

    def videos(self) -> list[bytes]:
        return [path.read_bytes() for path in self._output.glob("*.mp4")]

    def clear(self) -> None:
        for path in self._output.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(server: Server, graph: dict) -> float:
    """Seconds that the graph takes on a fresh server."""
    with server:
        started = time.monotonic()
        error = server.run(graph).error()
        if error is not None:
            raise RuntimeError(f"The render failed: {error}")
        return time.monotonic() - started


def run_killed(server: Server, graph: dict, seconds: float) -> bool:
    """Whether the graph came to its end before the server was killed after `seconds`."""
    with server:
        killer = threading.Timer(seconds, server.kill)
        killer.start()
        try:
            error = server.run(graph).error()
        except (OSError, aiohttp.ClientError):
            killer.join()
            return False
        killer.cancel()
        killer.join()
    if error is not None:
        raise RuntimeError(f"The render failed: {error}")
    return True


def run_until_done(
    server: Server, graph: dict, seconds: float, kills: int
) -> collections.Counter[str]:
    """Queue until it ends, killing at most `kills` times; how often, and where that was."""
    count: collections.Counter[str] = collections.Counter()
    render, before = Render(server.base), []
    while count["kills"] < kills:
        done = run_killed(server, graph, random.uniform(0, seconds))
        now = render.segments()
        count["lost"] += now[: len(before)] != before
        if done:
            return count
        count += collections.Counter({"kills": 1, f"with_{len(now):02}_segments": 1})
        log.info("kill %d with %d segments", count["kills"], len(now))
        before = now
    run(server, graph)
    count["lost"] += render.segments()[: len(before)] != before
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a ComfyUI that renders, again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        server, render = Server(COMFYUI, Path(folder), ROOT), Render(Path(folder))
        with server:
            info = server.get("/object_info")
            clip = {"length": options.frames, "steps": options.steps}
            graph = long_graph(info, **clip, **CHOICES)
        seconds = run(server, graph)
        latents, (file,) = render.digests(), render.videos()
        total: collections.Counter[str] = collections.Counter()
        same = {"videos": 0, "equal_latents": 0, "equal_files": 0}
        while total["kills"] < options.kills:
            render.clear()
            total.update(run_until_done(server, graph, seconds, options.kills - total["kills"]))
            same["videos"] += 1
            same["equal_latents"] += render.digests() == latents
            same["equal_files"] += all(made == file for made in render.videos())
    summary = {"seconds_without_kills": round(seconds, 1), "segments": len(latents)} | same
    sys.stdout.write(json.dumps(summary | {"lost": 0} | dict(sorted(total.items())), indent=2))
    sys.stdout.write("\n")
    whole = same["equal_latents"] == same["equal_files"] == same["videos"]
    return int(not whole or total["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())

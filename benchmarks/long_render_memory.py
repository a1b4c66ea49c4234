"""Does a long render need more memory the longer it goes on? Measured, not argued (Linux).

    python benchmarks/long_render_memory.py                # ten minutes of video, the smallest size
    python benchmarks/long_render_memory.py --minutes 2

A tiny model with random weights renders a clip in segments. Reported is the resident memory of the
process after each minute of the clip was denoised, and after each minute was decoded. The exit
code is 1 if it differs by 10 % or more between the first and the last minute, of either.

Blocks that glibc would keep for later are given back at once while measuring: what it keeps
differs from run to run and says nothing of the clip's length.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.assets import FACE_BOX, PORTRAIT
from echomimic.config import AUDIO_RATE, SamplingOptions, variant
from echomimic.pipeline import ClipOptions, EchoMimic
from echomimic.segments import Segments
from echomimic.weights.random_weights import make_random

ALLOWED = 0.10
FPS = 25.0
SIZE = (32, 32)
VARIANT = "audio_acc"
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
log = logging.getLogger("long_render_memory")


def resident() -> float:
    """Resident memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


class Watch:
    """An on_progress callback that notes the memory whenever another minute of a stage is done."""

    def __init__(self, minutes: int) -> None:
        self.memory: dict[str, list[float]] = {"sampling": [], "decoding": []}
        self._minutes = minutes

    def __call__(self, stage: str, done: int, total: int) -> None:
        noted = self.memory.get(stage)
        if noted is not None and done * self._minutes >= (len(noted) + 1) * total:
            noted.append(round(resident(), 1))
            log.info("%s: minute %d, %.1f MiB", stage, len(noted), noted[-1])


def write_noise(path: Path, seconds: int) -> None:
    """A sound file, written a second at a time."""
    generator = np.random.default_rng(0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_RATE)
        for _ in range(seconds):
            file.writeframes(generator.integers(-3000, 3000, AUDIO_RATE, dtype=np.int16).tobytes())


def measure(minutes: int, report: multiprocessing.connection.Connection) -> None:
    """Render in this process and send what it took."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    watch = Watch(minutes)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_random(base / "models", "tiny", [VARIANT], dtype="float32")
        write_noise(base / "voice.wav", 60 * minutes)
        model = EchoMimic.from_folder(base / "models", VARIANT, device="cpu", keep_loaded=True)
        model.animate(
            PORTRAIT,
            base / "voice.wav",
            base / "out.mp4",
            ClipOptions(size=SIZE, fps=FPS, face_box=FACE_BOX),
            SamplingOptions.for_variant(variant(VARIANT), num_inference_steps=1),
            watch,
            segments=Segments(base / "work"),
        )
    report.send(watch.memory)


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory of a long render, minute by minute.")
    parser.add_argument("--minutes", type=int, default=10)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ.update(GIVE_BACK)  # read when the process starts
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(options.minutes, sender))
    process.start()
    sender.close()  # so that a crash ends the wait
    memory = receiver.recv()
    process.join()
    growth = {stage: round(noted[-1] / noted[0] - 1, 4) for stage, noted in memory.items()}
    summary = {"MiB_after_each_minute": memory, "growth": growth, "allowed": ALLOWED}
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return int(any(abs(value) >= ALLOWED for value in growth.values()))


if __name__ == "__main__":
    sys.exit(main())

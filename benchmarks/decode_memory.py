"""Does decoding a clip ten times as long take more memory? Measured, not argued.

    python benchmarks/decode_memory.py

Each clip length runs in a process of its own, from latents through `decode_frames`, `to_uint8`
and `write_video` with a soundtrack, on a tiny VAE with random weights. Reported are peaks of
resident memory above what the process held before decoding began: with the model loaded, and
with model and latents loaded (latents, 16 kB per frame here, are the input and grow with the
clip). The exit code is 1 if the peaks above the loaded model differ by 10 % or more.

Blocks that glibc would keep for later are given back at once while measuring: what it keeps
differs by some 50 MiB from run to run, up or down, and says nothing of the clip's length.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.config import LATENT_STRIDE
from echomimic.media.sound import Audio
from echomimic.media.video import to_uint8, write_video
from echomimic.models.vae import VAE_CONFIG, DiffusersVAE, decode_frames, make_vae

TINY = VAE_CONFIG | {"block_out_channels": [32, 32, 64, 64], "sample_size": 64}
ALLOWED = 0.10
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
log = logging.getLogger("decode_memory")


def resident() -> int:
    """Resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def forget_peak() -> None:
    """Start a new high-water mark of resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Most resident memory since `forget_peak`, in bytes, counted by the kernel: a thread that
    looks now and then misses the short peaks within a convolution, and more of a short clip's."""
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def decode(vae: DiffusersVAE, latents: torch.Tensor, path: Path) -> None:
    """Latents → a video file with sound, as the pipeline does it."""
    num_frames, _, height, width = latents.shape
    write_video(
        path,
        (to_uint8(images) for images in decode_frames(vae, latents)),
        fps=24,
        num_frames=num_frames,
        size=(width * LATENT_STRIDE, height * LATENT_STRIDE),
        soundtrack=Audio(torch.zeros(1, 16000), 16000),
        on_progress=lambda done, total: done % 240 or log.info("%d of %d frames", done, total),
    )


def measure(num_frames: int, size: int, report: multiprocessing.connection.Connection) -> None:
    """Decode one clip in this process and send what it took."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    vae = DiffusersVAE(make_vae(TINY))
    with tempfile.TemporaryDirectory() as folder:
        small = torch.randn(2, 4, 8, 8)
        decode(vae, small, Path(folder) / "warm.mp4")  # libraries load and allocators settle
        with_model = resident()
        side = size // LATENT_STRIDE
        latents = torch.randn(num_frames, 4, side, side)
        with_latents = resident()
        started = time.monotonic()
        forget_peak()
        decode(vae, latents, Path(folder) / "clip.mp4")
        highest = peak()
    report.send(
        {
            "frames": num_frames,
            "seconds": round(time.monotonic() - started, 1),
            "MiB_above_model": round((highest - with_model) / 2**20, 1),
            "MiB_above_model_and_latents": round((highest - with_latents) / 2**20, 1),
        }
    )


def in_a_process(num_frames: int, size: int) -> dict[str, float]:
    os.environ.update(GIVE_BACK)  # read when the process starts
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(num_frames, size, sender))
    process.start()
    sender.close()  # so that a crash ends the wait
    result = receiver.recv()
    process.join()
    log.info("%s", result)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Peak memory of decoding by clip length.")
    parser.add_argument("--frames", type=int, nargs=2, default=(240, 2400))
    parser.add_argument("--size", type=int, default=256, help="pixels per side")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = [in_a_process(num_frames, options.size) for num_frames in options.frames]
    short, long = (result["MiB_above_model"] for result in results)
    growth = long / short - 1
    summary = {"results": results, "growth": round(growth, 4), "allowed": ALLOWED}
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return int(abs(growth) >= ALLOWED)


if __name__ == "__main__":
    sys.exit(main())

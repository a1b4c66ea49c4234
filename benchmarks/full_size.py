"""How fast is the full-size model here, and how much memory does it take?

    python benchmarks/full_size.py [--size 512] [--frames 24] [--steps 4] [--dtype float16]

All networks have random weights and their published shapes, which is all that speed and memory
depend on. Reported: seconds per window and step (guidance on, so twelve frames twice), seconds
for a second of video at 30 steps, seconds per decoded frame, and the peak of the accelerator's
memory. On a CPU the peak is not reported, and one window takes a minute or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.audio.tokens import AudioTrack
from echomimic.conditions import Conditions, no_face, reference_features
from echomimic.config import AudioEncoderConfig, SamplingOptions, UNetConfig, variant
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.models.unet import UNet
from echomimic.models.vae import DiffusersVAE, decode_frames, make_vae
from echomimic.pipeline import default_device

FPS = 25
FULL_STEPS = 30


def networks(device: torch.device, dtype: torch.dtype) -> tuple[UNet, UNet, DiffusersVAE]:
    """Reference UNet, denoising UNet and VAE."""
    torch.manual_seed(0)
    config = UNetConfig()
    with torch.device(device):
        reference, denoising, vae = UNet(config.as_reference()), UNet(config), make_vae()
    for network in (reference, denoising, vae):
        network.to(dtype).eval().requires_grad_(False)
    return reference, denoising, DiffusersVAE(vae)


def conditions(reference: UNet, vae: DiffusersVAE, size: int, frames: int) -> Conditions:
    """A random portrait and a random voice."""
    encoder = AudioEncoderConfig()
    states = torch.randn(4 * frames, encoder.num_layers + 1, encoder.width)
    features = reference_features(reference, vae.encode(torch.rand(1, 3, size, size) * 2 - 1))
    channels = reference.config.channels[0]
    return Conditions(features, AudioTrack(states, FPS, frames), no_face(channels, (size, size)))


def measure(device: torch.device, dtype: torch.dtype, args: argparse.Namespace) -> dict[str, float]:
    reference, denoising, vae = networks(device, dtype)
    given = conditions(reference, vae, args.size, args.frames)
    denoiser = Denoiser(denoising, given, device=device, dtype=dtype)
    row = variant("audio")
    options = SamplingOptions.for_variant(row, num_inference_steps=args.steps)
    options = replace(options, window_batch=args.window_batch)
    sample_clip(denoiser, row, replace(options, num_inference_steps=1))  # what is slow only once
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
    calls, start = [0], time.perf_counter()
    latents = sample_clip(denoiser, row, options, on_window=lambda done, _: calls.append(done))
    sampling = time.perf_counter() - start
    start = time.perf_counter()
    for _ in decode_frames(vae, latents):
        pass
    decoding = time.perf_counter() - start
    per_second = sampling / args.steps * FULL_STEPS / args.frames * FPS
    figures = {
        "window_seconds": sampling / max(calls),
        "decode_seconds_per_frame": decoding / args.frames,
        "seconds_per_second_of_video": per_second + decoding / args.frames * FPS,
    }
    if device.type != "cpu":
        figures["peak_gib"] = torch.accelerator.max_memory_allocated() / 2**30
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--dtype", default="float16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--window-batch", type=int, help="windows per call; default: as they fit")
    args = parser.parse_args()
    figures = measure(default_device(), getattr(torch, args.dtype), args)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    setting = {"dtype": args.dtype, "size": args.size, "frames": args.frames}
    sys.stdout.write(json.dumps(setting | rounded) + "\n")


if __name__ == "__main__":
    main()

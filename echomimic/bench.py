"""Speed, memory and FLOPs of a model on this machine."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .audio.tokens import AudioTrack
from .bench_landmarks import landmark_figures
from .conditions import Conditions, reference_features
from .config import (
    LATENT_STRIDE,
    UNetConfig,
    Variant,
    variant,
)
from .denoiser import Denoiser
from .landmarks.portrait import check_size
from .models.unet import UNet
from .models.vae import VAE, VAE_CONFIG, decode_frames, make_vae
from .pipeline import EchoMimic
from .sampling.context import check_window

TOKENS = 50  # audio tokens per frame of the published model
DECODED = 4  # frames in the decoding measurement
CLIP_FRAMES = 240  # length for which the time of a step is given


def bench(
    variant_name: str,
    size: tuple[int, int],
    context_frames: int = 12,
    *,
    model: EchoMimic | None = None,
) -> dict[str, Any]:
    """Figures as a flat dictionary, times in seconds, memory in bytes, work in TFLOP.

    FLOPs are those of the official configuration. Without a model nothing is run.
    """
    check_size(*size)
    check_window(context_frames, UNetConfig().motion.max_frames)
    row = variant(variant_name)
    figures: dict[str, Any] = {
        "variant": row.name,
        "width": size[0],
        "height": size[1],
        "context_frames": context_frames,
        "torch": torch.__version__,
        **flops(size, context_frames),
        **vae_flops(size),
    }
    if model is not None:
        figures |= run(model, row, size, context_frames)
        figures |= landmark_figures(model.landmarker)
    return figures


def flops(size: tuple[int, int], context_frames: int) -> dict[str, float]:
    """Work of the official model, on the meta device: of one window with the caches filled, and
    of the reference UNet as far as it is read."""
    unet = UNet(UNetConfig(), device="meta", dtype=torch.float16)
    reference_unet = UNet(UNetConfig().as_reference(), device="meta", dtype=torch.float16)
    width, height = (side // LATENT_STRIDE for side in size)
    empty = {"device": "meta", "dtype": torch.float16}
    latents = torch.empty(context_frames, 4, height, width, **empty)
    with torch.no_grad():
        known = {
            "reference": unet.project_reference(reference_features(reference_unet, latents[:1])),
            "audio": unet.project_audio(torch.empty(context_frames, TOKENS, 384, **empty)),
            "face": torch.empty(1, unet.config.channels[0], height, width, **empty),
            "num_frames": context_frames,
        }
        plain = _count(lambda: unet(latents, 999, **known))
        both = latents.repeat(2, 1, 1, 1)
        guided = _count(lambda: unet(both, 999, conditional=(False, True), **known))
        reading = _count(lambda: reference_features(reference_unet, latents[:1]))
    return {
        "tflop_per_window": plain,
        "tflop_per_guided_window": guided,
        "tflop_per_reference": reading,
    }


@torch.no_grad()
def vae_flops(size: tuple[int, int]) -> dict[str, float]:
    """Work of the official VAE on one picture, either way, on the meta device."""
    with torch.device("meta"):
        vae = make_vae(VAE_CONFIG)
        image = torch.empty(1, 3, size[1], size[0])
        latents = torch.empty(1, 4, size[1] // LATENT_STRIDE, size[0] // LATENT_STRIDE)
    return {
        "tflop_per_encoded_frame": _count(lambda: vae.encode(image)),
        "tflop_per_decoded_frame": _count(lambda: vae.decode(latents)),
    }


def _count(call: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e12


def run(
    model: EchoMimic, row: Variant, size: tuple[int, int], context_frames: int
) -> dict[str, Any]:
    """Time and memory of one guided window, one unguided, and of decoding, with loaded networks."""
    figures: dict[str, Any] = {"device": str(model.device), "dtype": str(model.dtype)[6:]}
    conditions, figures["load_and_encode_seconds"] = _timed(
        lambda: _conditions(model, row, size, context_frames), model.device
    )
    with model.networks.use("denoising_unet") as unet:
        figures["weights_bytes"] = sum(p.nbytes for p in unet.parameters())
        denoiser = Denoiser(unet, conditions, device=model.device, dtype=model.dtype)
        for name, guided in (("window", False), ("guided_window", True)):
            wall, cpu = time_window(denoiser, context_frames, guided=guided)
            figures[f"seconds_per_{name}"], figures[f"cpu_seconds_per_{name}"] = wall, cpu
    step_windows = -(-CLIP_FRAMES // (context_frames - min(3, context_frames - 1)))
    name = "guided_window" if row.guidance_scale > 1 else "window"
    figures[f"seconds_per_step_of_{CLIP_FRAMES}_frames"] = (
        step_windows * figures[f"seconds_per_{name}"]
    )
    figures["peak_bytes_sampling"] = peak_bytes(model.device)
    figures["seconds_per_decoded_frame"] = _decoding(model, conditions.latent_size)
    figures["peak_bytes"] = peak_bytes(model.device)
    return figures


@torch.inference_mode()
def _conditions(
    model: EchoMimic, row: Variant, size: tuple[int, int], num_frames: int
) -> Conditions:
    """Conditions of the right shapes with random content."""
    width, height = (side // LATENT_STRIDE for side in size)
    with model.networks.use("reference_unet") as unet:
        latents = torch.randn(1, 4, height, width).to(model.device, model.dtype)
        features = reference_features(unet, latents)
    with model.networks.use("audio_encoder") as encoder:
        config = encoder.config
    states = torch.randn(num_frames * 4 + 10, config.num_layers + 1, config.width)
    with model.networks.use("landmark_encoder") as encoder:
        image = torch.rand(1, row.landmark_channels, size[1], size[0])
        face = encoder(image.to(model.device, model.dtype))
    return Conditions(features, AudioTrack(states, 24.0, num_frames), face)


@torch.inference_mode()
def time_window(
    denoiser: Denoiser, context_frames: int, *, guided: bool, patience: float = math.inf
) -> tuple[float, float]:
    """Seconds by the clock and by the processor of one window, all caches filled.

    The first call fills them and is not counted, unless it takes more than `patience` seconds.
    """
    conditional = [False, True] if guided else [True]
    window = list(range(context_frames))
    latents = torch.randn(1, context_frames, 4, *denoiser.conditions.latent_size)
    latents = latents.repeat(len(conditional), 1, 1, 1, 1)
    wall = cpu = math.inf
    for _ in range(2):
        start = time.process_time()
        _, wall = _timed(
            lambda: denoiser.predict_v(latents, 999, [window] * len(conditional), conditional),
            denoiser.device,
        )
        cpu = time.process_time() - start
        if wall > patience:
            break
    return wall, cpu


def _decoding(model: EchoMimic, latent_size: tuple[int, int]) -> float:
    with model.networks.use("vae") as vae:
        return time_decoding(vae, latent_size, model.device)


def time_decoding(vae: VAE, latent_size: tuple[int, int], device: torch.device) -> float:
    """Seconds to decode a frame."""
    latents = torch.randn(DECODED, 4, *latent_size)
    _, seconds = _timed(lambda: list(decode_frames(vae, latents)), device)
    return seconds / DECODED


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return result, time.perf_counter() - start


def peak_bytes(device: torch.device) -> int:
    """Most memory in use so far, of the device or, on the CPU, of the process; 0 if unknown."""
    backend = getattr(torch, device.type, None)
    if hasattr(backend, "max_memory_allocated"):  # cuda (ROCm too), xpu
        return backend.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows does not have it
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(figures: dict[str, Any]) -> str:
    """The figures for people, one per line."""
    width = max(map(len, figures))
    return "\n".join(f"{name:{width}}  {_readable(name, value)}" for name, value in figures.items())


def _readable(name: str, value: Any) -> str:
    if "bytes" in name:
        return f"{value / 2**30:.2f} GiB"
    return f"{value:.3f}" if isinstance(value, float) else str(value)

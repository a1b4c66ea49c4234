"""A long clip in segments of whole windows, each kept on disk before the next begins."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import __version__
from .conditions import Conditions, DrawnFace
from .config import LATENT_STRIDE, SamplingOptions, Variant
from .denoiser import (
    Denoiser,
    check_windows,
    choose_window_batch,
    clip_windows,
    sample_clip,
)
from .errors import OptionsError, RenderError
from .fingerprint import digest
from .frame_conditions import frame_memory
from .landmarks.portrait import Portrait
from .models.vae import VAE, decode_chunk, decode_frames
from .render_folder import RenderFolder, Segment
from .sampling import samplers
from .sampling.noise import draws_whole_clip

WINDOWS = 12  # per segment: 111 frames where windows share 3, 105 of them new
LATENT_BYTES = 4 * 4  # of a latent cell: four channels in float32
SPACE = 1.5  # times what the latents take, for the video that is made of them

OnWindow = Callable[[int, int], None]
OnStep = Callable[[Segment, Tensor], None]  # (segment, its clean latents as they are foreseen)


@dataclass(frozen=True)
class Segments:
    """Where and in what parts a long clip is rendered. Raises `OptionsError`."""

    folder: Path  # in which each render has a folder of its own
    windows: int = WINDOWS
    keep: bool = False  # the finished latents, after the video has been written

    def __post_init__(self) -> None:
        _check_number(self.windows)


def plan_segments(num_frames: int, options: SamplingOptions, windows: int) -> list[Segment]:
    """Segments of `windows` windows, each beginning with the last frames of the one before.

    The last one reaches back further where less than a window is left, so that none is shorter.
    Raises `OptionsError` for options with which a clip cannot be cut.
    """
    _check_number(windows)
    window, overlap = options.context_frames, options.context_overlap
    length = window + (windows - 1) * (window - overlap)
    # More than windows share: the last frames of a segment had no second window to smooth them.
    shared = max(overlap, window // 2)
    segments = [Segment(0, 0, min(length, num_frames))]
    while segments[-1].stop < num_frames:
        end = segments[-1].stop
        start = min(end - shared, num_frames - window)
        stop = min(start + length, num_frames)
        segments.append(Segment(len(segments), start, stop, known=end - start))
    if len(segments) > 1:
        _check_cuttable(options)
    return segments


def windows_of(
    segments: Sequence[Segment], variant: Variant, options: SamplingOptions
) -> list[list[int]]:
    """How many windows each segment has in each of its steps."""
    rules = [clip_windows(variant, options, s.stop - s.start) for s in segments]
    return [[len(rule(s)) for s in range(options.num_inference_steps)] for rule in rules]


def space_needed(segments: Sequence[Segment], latent_size: tuple[int, int]) -> int:
    """Bytes of disk that these segments take, and the video that is made of them."""
    height, width = latent_size
    frames = sum(segment.stop - segment.start for segment in segments)
    return int(SPACE * frames * height * width * LATENT_BYTES)


def _check_number(windows: int) -> None:
    if windows < 1:
        raise OptionsError(f"A segment needs 1 window or more, not {windows}.")


def _check_cuttable(options: SamplingOptions) -> None:
    if options.windows == "looped":
        raise OptionsError(
            "Looped windows join the clip's end to its start and cannot be rendered in segments; "
            "choose open windows, or more windows per segment."
        )
    if draws_whole_clip(options):
        raise OptionsError(
            "Parity and legacy_fp16_noise draw the noise of the whole clip at once, which cannot "
            "be rendered in segments; switch them off, or choose more windows per segment."
        )


def render_settings(
    variant: Variant,
    options: SamplingOptions,
    *,
    portrait: Portrait,
    conditions: Conditions,
    weights: Mapping[str, str],
    place: Mapping[str, str],
) -> dict[str, Any]:
    """All that the latents depend on, short enough for a manifest.

    `weights` are digests by network; `place` is what `place_of` says. Of the conditions only
    those count that are not computed from portrait and weights.
    """
    chosen = asdict(options)
    return {
        **{k: v for k, v in chosen.items() if k != "compatibility"},
        "compatibility": digest(chosen["compatibility"]),
        "variant": variant.name,
        "portrait": digest([portrait.image, portrait.face_mask]),
        "voice": digest(conditions.audio),
        "landmarks": digest(_drawn(conditions)),
        **weights,
        **place,
        "torch": torch.__version__,
        "echomimic": __version__,
    }


def place_of(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Where a clip is computed: the same numbers elsewhere end in other last digits."""
    backend = getattr(torch, device.type, None)
    known = hasattr(backend, "get_device_name")
    name = backend.get_device_name(device) if known else device.type
    return {"device": name, "dtype": str(dtype)}


def _drawn(conditions: Conditions) -> tuple[Any, ...] | None:
    """What is drawn of landmarks; their file's name, for one, is not."""
    if not isinstance(conditions.face, DrawnFace):
        return None
    track = conditions.face.track
    return track.points, track.size, track.fps, track.parts, conditions.face.reduction


def render_segments(
    folder: RenderFolder,
    conditions: Conditions,
    variant: Variant,
    options: SamplingOptions,
    make_denoiser: Callable[[Conditions], Denoiser],
    *,
    on_window: OnWindow | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Denoise the segments that `folder` lacks, one after the other.

    `make_denoiser` binds the denoising UNet to a part of the clip; memory does not grow with the
    clip's length. What is finished stays, whatever is raised: `RenderError` for a full disk, and
    what `sample_clip` raises. `on_window` counts those of the whole clip; `on_step` is called
    after each step, when all segments before are finished.
    """
    _check_space(folder, conditions)
    counts = [sum(steps) for steps in windows_of(folder.segments, variant, options)]

    def render(segment: Segment) -> Tensor:  # a function, so that one denoiser exists at a time
        denoiser = make_denoiser(conditions.part(segment.start, segment.stop))
        check_windows(denoiser.unet.config, options, whole=False)
        return sample_clip(
            denoiser,
            variant,
            replace(options, window_batch=_window_batch(folder, denoiser, options)),
            first=segment.start,
            known=folder.known(segment),
            on_window=_after(on_window, sum(counts[: segment.number]), sum(counts)),
            on_step=_of(segment, on_step),
        )

    for segment in folder.segments[folder.num_finished :]:
        folder.add(segment, render(segment))
        gc.collect()  # a denoiser and its caches refer to each other, and would pile up


def decode_segments(vae: VAE, folder: RenderFolder) -> Iterator[Tensor]:
    """Decode what is finished, a few frames at a time: yields (n, 3, H, W), float32 on the CPU."""
    for latents in folder:
        height, width = (LATENT_STRIDE * side for side in latents.shape[-2:])
        chunk = folder.chosen("decode_chunk", partial(decode_chunk, vae, height, width))
        yield from decode_frames(vae, latents, chunk=chunk)


def kept_memory(folder: RenderFolder, device: torch.device) -> int:
    """Bytes that the denoisers of a render keep of single frames, by what was free at its start."""
    return folder.chosen("memory", partial(frame_memory, device))


def _window_batch(folder: RenderFolder, denoiser: Denoiser, options: SamplingOptions) -> int:
    size, config = denoiser.conditions.latent_size, denoiser.unet.config
    place = {"device": denoiser.device, "dtype": denoiser.dtype}
    choose = partial(choose_window_batch, options, config, size, **place)
    return folder.chosen("window_batch", choose)


def _after(on_window: OnWindow | None, before: int, total: int) -> OnWindow | None:
    return None if on_window is None else lambda done, _total: on_window(before + done, total)


def _of(segment: Segment, on_step: OnStep | None) -> samplers.OnStep | None:
    return None if on_step is None else lambda _step, _latents, clean: on_step(segment, clean)


def _check_space(folder: RenderFolder, conditions: Conditions) -> None:
    """Before hours of work, rather than after them."""
    missing = folder.segments[folder.num_finished :]
    needed = space_needed(missing, conditions.latent_size)
    free = shutil.disk_usage(folder.path).free
    if free < needed:
        raise RenderError(
            f"The render needs about {needed / 2**20:.0f} MiB in {folder.path}, where "
            f"{free / 2**20:.0f} MiB are free; free disk space or choose another folder."
        )

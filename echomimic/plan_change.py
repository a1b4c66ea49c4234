"""Which setting to change where a clip does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .config import UNetConfig
from .errors import OptionsError
from .plan_needs import Clip, Plan, needs
from .segments import WINDOWS

SMALLEST_CONTEXT, SMALLEST_SIDE = 8, 256  # below, the picture suffers more than it is worth

Way = tuple[str, dict[str, Any]]  # what to do, and the arguments of `needs` that differ then


def needed_change(config: UNetConfig, plan: Plan) -> str | None:
    """What would make the clip fit, the least harmful of what does; None if it fits."""
    if plan.fits:
        return None
    if plan.fits_memory:
        return _more_disk(config, plan)
    made = [(name, _again(config, plan, **changes)) for name, changes in _smaller(plan)]
    ways = [(name, other) for name, other in made if other is not None and other.fits_memory]
    for name, other in ways:
        if other.fits_disk:
            return name
    if ways:
        name, other = ways[0]
        return f"{name}; {_more_disk(config, other)}"
    return "close other programs, or take a device with more memory"


def _more_disk(config: UNetConfig, plan: Plan) -> str:
    """Where the disk is too small; that of finished segments need not hold all of them at once."""
    parts = [_again(config, plan, clip=clip) for clip in _halves(plan) if plan.segments]
    for part in parts:
        if replace(part, disk_bytes=part.disk_bytes + plan.clip.video_bytes).fits_disk:
            return (
                "free disk space, choose another output folder, or make the clip in parts of "
                f"{part.clip.num_frames} frames"
            )
    return "free disk space, or choose another output folder"


def _smaller(plan: Plan) -> Iterator[Way]:
    """What needs less memory, the least harmful first."""
    options, clip, before = plan.options, plan.clip, ""
    if plan.window_batch > 1:
        options = replace(options, window_batch=1)
        yield "set window_batch to 1", {"options": options}
        before = "set window_batch to 1 and "
    if not plan.segments:
        name = "render it in segments (EchoMimic Long Render, or --resume-folder)"
        yield before + name, {"options": options, "segment_windows": WINDOWS}
    elif plan.segment_windows > WINDOWS:
        changes = {"options": options, "segment_windows": WINDOWS}
        yield f"{before}set segment_windows to {WINDOWS}", changes
    if options.context_frames > SMALLEST_CONTEXT:
        overlap = min(options.context_overlap, SMALLEST_CONTEXT // 4)
        short = replace(options, context_frames=SMALLEST_CONTEXT, context_overlap=overlap)
        name = f"set context_frames to {SMALLEST_CONTEXT} and context_overlap to {overlap}"
        yield before + name, {"options": short}
    for share in (0.75, 0.5):
        width, height = (int(side * share) // 8 * 8 for side in clip.size)
        if min(width, height) >= SMALLEST_SIDE:
            smaller = {"options": options, "clip": replace(clip, size=(width, height))}
            yield f"{before}choose a size of {width}x{height}", smaller
    if options.guidance_scale > 1:
        yield f"{before}set cfg to 1", {"options": replace(options, guidance_scale=1.0)}
    for part in _halves(plan):
        name = f"make the clip in parts of {part.num_frames} frames"
        yield before + name, {"options": options, "clip": part}


def _halves(plan: Plan) -> Iterator[Clip]:
    """Half of the clip, a quarter, and so on, as long as that is a window."""
    frames = -(-plan.clip.num_frames // 2)
    while frames >= plan.options.context_frames:
        yield replace(plan.clip, num_frames=frames)
        frames = -(-frames // 2)


def _again(config: UNetConfig, plan: Plan, **changes: Any) -> Plan | None:
    """The plan with changes; None where they cannot be."""
    given = {name: getattr(plan, name) for name in ("options", "clip", "segment_windows")}
    fixed = {"machine": plan.machine, "weight_bytes": plan.weight_bytes}
    try:
        return needs(config, **given | fixed | changes)
    except OptionsError:
        return None  # looped windows in segments, for one

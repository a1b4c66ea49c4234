"""A plan in words."""

from __future__ import annotations

from .plan_needs import Plan

MINUTE, HOUR = 60, 3600
MUCH = 2**30  # bytes of pictures from which on it is worth a word


def plan_text(plan: Plan) -> str:
    """The plan, a line each: what is made, how, how long it takes, what it needs."""
    clip, steps = plan.clip, len(plan.windows[0])
    low, high = min(map(min, plan.windows)), max(map(max, plan.windows))
    span = f"{low}" if low == high else f"{low}-{high}"
    lines = [
        f"{clip.num_frames} frames of {clip.size[0]}x{clip.size[1]}, "
        f"{clip.seconds:.1f} s at {clip.fps:g} fps",
        *_segments(plan),
        f"{span} windows in each of {steps} steps{' of a segment' if plan.segments else ''}: "
        f"{plan.total_windows} windows in {plan.model_calls} model calls",
        *_time(plan),
        *_memory(plan),
        "It fits." if plan.change is None else f"It does not fit: {plan.change}.",
    ]
    return "\n".join(lines)


def _segments(plan: Plan) -> list[str]:
    if not plan.segments:
        return []
    longest = max(segment.stop - segment.start for segment in plan.segments)
    return [
        f"{len(plan.segments)} segments of up to {longest} frames, kept on disk when finished: "
        f"{plan.more_windows} windows more than whole"
    ]


def _time(plan: Plan) -> list[str]:
    if plan.sampling_seconds is None:
        return ["time: not measured"]
    sampling = f"time: about {duration(plan.sampling_seconds)} of sampling"
    lines = [f"{sampling} ({plan.seconds_per_window:.2g} s a window, measured)"]
    if plan.decoding_seconds is not None:
        lines.append(f"      and {duration(plan.decoding_seconds)} of decoding")
    if plan.segment_seconds is not None:
        lines.append(f"      a crash while sampling costs {duration(plan.segment_seconds)} at most")
    return lines


def _memory(plan: Plan) -> list[str]:
    machine, lines = plan.machine, []
    if machine.device.type != "cpu":
        lines.append(
            f"VRAM: {size(plan.device_bytes)} (weights {size(plan.weight_bytes)}, work "
            f"{size(plan.work_bytes)}) of {size(machine.free_device)} free"
        )
    lines.append(f"RAM:  {size(plan.main_bytes)} of {size(machine.free_main)} free")
    if plan.image_bytes > MUCH and not plan.segments:
        lines.append(
            f"      and {size(plan.image_bytes)} with VAE Decode, but not with EchoMimic Decode "
            "to Video"
        )
    free = "" if machine.free_disk is None else f" of {size(machine.free_disk)} free"
    return [*lines, f"disk: up to {size(plan.disk_bytes)}{free}"]


def duration(seconds: float) -> str:
    """A time that people can grasp."""
    if seconds < 2 * MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * HOUR:
        return f"{round(seconds / MINUTE)} min"
    return f"{seconds / HOUR:.1f} h"


def size(amount: int) -> str:
    """Bytes in the unit that people can grasp."""
    if amount < 2**30:
        return f"{max(1, round(amount / 2**20))} MiB"
    return f"{amount / 2**30:.1f} GiB"

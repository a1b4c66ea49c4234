"""How much memory a device still has, and whether an error means that it had too little."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
FALLBACK = 2 * 1024**3  # bytes, where the system tells nothing


def free_memory(device: torch.device | str) -> int:
    """Bytes that new tensors on `device` can take, memory cached by PyTorch included."""
    device = torch.device(device)
    if device.type == "cpu":
        return _free_ram()
    backend = getattr(torch, device.type, None)
    if hasattr(backend, "mem_get_info"):  # cuda (ROCm too), xpu
        cached = backend.memory_reserved(device) - backend.memory_allocated(device)
        return backend.mem_get_info(device)[0] + cached
    if device.type == "mps":  # shares the computer's RAM
        unused = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return max(0, min(unused, _free_ram()))
    return FALLBACK


def release_cached_memory(device: torch.device | str) -> None:
    """Give memory that PyTorch keeps for later back to the device; nothing happens on a CPU."""
    backend = getattr(torch, torch.device(device).type, None)
    if hasattr(backend, "empty_cache"):
        backend.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device, or the computer, ran out of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    message = str(error).lower()  # the CPU allocator and some backends have no class of their own
    return any(
        phrase in message
        for phrase in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _free_ram() -> int:
    in_container = _free_in_cgroup(CGROUP)
    on_machine = _available_ram(MEMINFO)
    return on_machine if in_container is None else min(on_machine, in_container)


def _available_ram(meminfo: Path) -> int:
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        import psutil  # not required: the only portable way off Linux, and ComfyUI brings it
    except ImportError:
        return _free_pages()
    return psutil.virtual_memory().available


def _free_pages() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK


def _free_in_cgroup(root: Path) -> int | None:
    """Bytes left under a container's limit (cgroup v2, then v1), or None where there is none."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((root / limit).read_text())
            taken = int((root / used).read_text())
            statistics = (root / limit).with_name("memory.stat").read_text().split()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        reclaimable = dict(zip(statistics[::2], statistics[1::2], strict=False)).get(cache, "0")
        return max(0, most - taken + int(reclaimable))
    return None

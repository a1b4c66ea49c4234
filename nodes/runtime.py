"""Devices, memory, progress and cancelling: ComfyUI decides, the library obeys."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..echomimic.models.attention import AttentionFunction

AHEAD = 2  # calls of attention that a device is given before the first of them is done


def load(patcher: ModelPatcher, memory: float = 0, *others: ModelPatcher) -> torch.nn.Module:
    """The network, on its device, with `memory` bytes left for its work, and `others` with it."""
    comfy.model_management.load_models_gpu([patcher, *others], memory_required=memory)
    return patcher.model


@contextmanager
def borrowed(patcher: ModelPatcher, memory: float = 0) -> Iterator[torch.nn.Module]:
    """The network for a short use: it leaves the GPU afterwards, for those that need the room."""
    try:
        yield load(patcher, memory)
    finally:
        if patcher.load_device != patcher.offload_device:
            keep = [
                loaded
                for loaded in comfy.model_management.current_loaded_models
                if loaded.model is not patcher
            ]
            comfy.model_management.free_memory(1e30, patcher.load_device, keep)


class Progress:
    """The node's progress bar as an `on_progress` callback, which also notices a cancel."""

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1)
        self._last = (0, 1)

    def __call__(self, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._last = (done, total)
        self._bar.update_absolute(done, total)

    def preview(self, picture: tuple) -> None:
        """Show a picture, `(format, PIL image, max size)`, without moving the bar."""
        self._bar.update_absolute(*self._last, picture)


def paced(attention: AttentionFunction, device: torch.device) -> AttentionFunction:
    """`attention`, with the host at most two of its calls ahead of the device.

    ComfyUI's layers look for a cancel whenever one is called, but a GPU is given its work far in
    advance, and what it was given it does. A call of many windows would go on for several.
    """
    make_event = getattr(getattr(torch, device.type, None), "Event", None)
    if device.type == "cpu" or make_event is None:  # there what was called is done
        return attention
    given: deque[Any] = deque()

    def run(*tensors: Any) -> Tensor:
        event = make_event()
        event.record()
        given.append(event)
        if len(given) > AHEAD:
            given.popleft().synchronize()
        return attention(*tensors)

    return run

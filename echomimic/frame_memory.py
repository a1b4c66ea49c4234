"""What is the same at every step, kept frame by frame as far as the memory goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Values = Mapping[str, tuple[Tensor, ...]]  # by name, each tensor (f, ...)
Place = tuple[torch.device, int]  # where, and how many bytes there at most


class FrameMemory:
    """Keeps what `compute(frames)` gives for the frames of a clip.

    Every step visits all frames in the same order, so what fits is kept for good and the rest is
    computed again when it is asked for: evicting would throw away exactly what the next step
    wants first. Kept is in the first of `places` that holds the whole clip, else in the last.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[int]], Values],
        num_frames: int,
        places: Sequence[Place],
        *,
        device: torch.device,
    ) -> None:
        self._compute = compute
        self._num_frames = num_frames
        self._places = places
        self._device = device
        self._kept: dict[str, tuple[Tensor, ...]] = {}
        self._known: set[int] = set()

    @property
    def capacity(self) -> int:
        """Frames that are kept; 0 until the first window has shown how large one is."""
        return len(next(iter(self._kept.values()))[0]) if self._kept else 0

    def __call__(self, frames: Sequence[int]) -> dict[str, tuple[Tensor, ...]]:
        """The values of these frames on the compute device."""
        if self._known.issuperset(frames):
            return {name: self._fetch(kept, frames) for name, kept in self._kept.items()}
        values = self._compute(frames)
        self._keep(frames, values)
        return dict(values)

    def _fetch(self, kept: tuple[Tensor, ...], frames: Sequence[int]) -> tuple[Tensor, ...]:
        index = torch.tensor(frames, device=kept[0].device)
        return tuple(x[index].to(self._device) for x in kept)

    def _keep(self, frames: Sequence[int], values: Values) -> None:
        if not self._kept:
            self._kept = self._allocate(values)
        rows = {frame: row for row, frame in enumerate(frames) if frame < self.capacity}
        if not rows:
            return
        for name, new in values.items():
            for kept, x in zip(self._kept[name], new, strict=True):
                kept[list(rows)] = x[list(rows.values())].to(kept.device)
        self._known.update(rows)

    def _allocate(self, values: Values) -> dict[str, tuple[Tensor, ...]]:
        frame_bytes = sum(x[0].nbytes for new in values.values() for x in new)
        enough = [place for place in self._places if place[1] >= frame_bytes * self._num_frames]
        device, budget = (enough or self._places[-1:])[0]
        capacity = min(self._num_frames, budget // frame_bytes)
        return {
            name: tuple(x.new_empty(capacity, *x.shape[1:], device=device) for x in new)
            for name, new in values.items()
        }

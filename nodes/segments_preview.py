"""The whole clip so far, while it is rendered in segments, in memory that does not grow with it."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from ..echomimic.render_folder import RenderFolder, Segment
from .preview import ClipPreview, Draw


class SegmentsPreview:
    """Finished frames as they lie on disk, then the segment that is sampled, as it is so far.

    A message has as many pictures as one of the sampler. Of the finished frames, evenly spaced
    ones are kept as small pictures: at most half of that number, or what the segment leaves.
    """

    def __init__(self, preview: ClipPreview, folder: RenderFolder) -> None:
        self.on_window = preview
        self._preview = preview
        self._finished = FinishedFrames(preview.draw, folder)

    def on_step(self, segment: Segment, clean: Tensor) -> None:
        """A step is done; `clean` (f, c, h, w) is what the segment would be."""
        if self._preview.draw is None:
            return
        most = self._preview.most
        before = self._finished.until(segment, max(most // 2, most - len(clean)))
        self._preview.show(clean, before, segment.start)


class FinishedFrames:
    """Small pictures, by number, of every n-th finished frame; n doubles when they become many."""

    def __init__(self, draw: Draw | None, folder: RenderFolder) -> None:
        self._draw, self._folder = draw, folder
        self._pictures: dict[int, Image.Image] = {}
        self._every = 1
        self._num_drawn = 0  # segments

    def until(self, segment: Segment, most: int) -> dict[int, Image.Image]:
        """Frames before those of `segment`, whose predecessors are finished; `most` or fewer."""
        while -(-segment.start // self._every) > most:
            self._every *= 2
            self._pictures = {n: p for n, p in self._pictures.items() if n % self._every == 0}
        for first, latents in self._folder.pieces(self._num_drawn):
            self._add(latents[: segment.start - first], first)
        self._num_drawn = segment.number
        return self._pictures

    def _add(self, latents: Tensor, first: int) -> None:
        """Latents (f, c, h, w) of finished frames from `first` on."""
        start = -(-first // self._every) * self._every
        numbers = range(start, first + len(latents), self._every)
        if numbers:
            pictures = self._draw(latents[[number - first for number in numbers]])
            self._pictures |= zip(numbers, pictures, strict=True)

"""Which samples a process computes, and in which order."""

from __future__ import annotations

from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset

from .recipe import StageOptions
from .stage import Stage


class Rounds(Dataset):
    """The micro-batches that one process computes, in order, by the numbers of their samples."""

    def __init__(
        self, stage: Stage, options: StageOptions, accelerator: Accelerator, start: int
    ) -> None:
        self._fetch, self._batch_size, self._start = stage.fetch, options.batch_size, start
        self._rank = accelerator.process_index
        self._share = options.batch_size // accelerator.num_processes
        self.size = min(options.micro_batch or self._share, self._share)
        self.per_step = self._share // self.size
        self._steps = options.steps - start

    def __len__(self) -> int:
        return max(0, self._steps) * self.per_step

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step, part = divmod(item, self.per_step)
        return self._fetch(self.indices(self._start + step, part))

    def indices(self, step: int, part: int) -> range:
        """Global sample numbers: step * batch_size + position, whoever computes them."""
        first = step * self._batch_size + self._rank * self._share + part * self.size
        return range(first, first + self.size)

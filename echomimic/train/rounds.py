"""Which samples a process computes, in which order, and how they are loaded."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .recipe import StageOptions
from .stage import Stage

DEATH_NOTICE = 1.0  # seconds until a signal tells of a worker's death, at most


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


def loaded(rounds: Rounds, workers: int) -> Iterator[dict[str, Tensor]]:
    """The micro-batches in order, loaded ahead by that many processes, or by this one.

    Raises `RuntimeError`, as torch does, if one of them dies.
    """
    try:
        yield from DataLoader(
            rounds, batch_size=None, num_workers=workers, worker_init_fn=_ignore_interrupts
        )
    except (ConnectionError, EOFError) as error:
        if not workers:
            raise
        # A batch that waits in a dead worker's memory: torch's own error follows as a signal, and
        # must not come where nothing expects it any more.
        time.sleep(DEATH_NOTICE)
        raise RuntimeError("DataLoader worker exited unexpectedly") from error


def _ignore_interrupts(_worker: int) -> None:
    """A terminal sends Ctrl-C to workers too, but the step that it ends needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""Work that other processes do ahead of the one that trains."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from ..errors import EchoMimicError, causes

DEATH = "DataLoader worker"  # begins what torch says of it
DEATH_NOTICE = 1.0  # seconds until a signal tells of a worker's death, at most

T = TypeVar("T")
Result = TypeVar("Result")


def in_order(items: Dataset, workers: int) -> Iterator[Any]:
    """The items, loaded ahead by that many processes, or by this one.

    What they raise for bad input is raised here as it is. Raises `RuntimeError`, as torch does, if
    one of them dies.
    """
    try:
        for item in DataLoader(
            _Answers(items), batch_size=None, num_workers=workers,
            collate_fn=_as_it_is, worker_init_fn=_ignore_interrupts,
        ):  # fmt: skip
            if isinstance(item, EchoMimicError):
                raise item
            yield item
    except (ConnectionError, EOFError) as error:
        if not workers:
            raise
        # A batch that waits in a dead worker's memory: torch's own error follows as a signal, and
        # must not come where nothing expects it any more.
        time.sleep(DEATH_NOTICE)
        raise RuntimeError(f"{DEATH} exited unexpectedly") from error


def worker_death(error: BaseException) -> RuntimeError | None:
    """What torch says of a worker that died, if that is behind an error."""
    deaths = (e for e in causes(error) if isinstance(e, RuntimeError) and DEATH in str(e))
    return next(deaths, None)


def computed(function: Callable[[T], Result], items: Sequence[T], workers: int) -> Iterator[Result]:
    """What the function says of each item, in their order."""
    return in_order(_Computed(function, items), workers)


class _Answers(Dataset):
    """Items, or the errors in their place: torch would hand on a traceback for a sentence."""

    def __init__(self, items: Dataset) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Any:
        try:
            return self._items[number]
        except EchoMimicError as error:
            return error


class _Computed(Dataset):
    def __init__(self, function: Callable[[T], Result], items: Sequence[T]) -> None:
        self._function, self._items = function, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Result:
        return self._function(self._items[number])


def _as_it_is(item: T) -> T:
    return item


def _ignore_interrupts(_worker: int) -> None:
    """A terminal sends Ctrl-C to workers too, but the step that it ends needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

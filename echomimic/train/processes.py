"""Work on files that several processes of one training run share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

PAUSE = 0.5  # seconds between looks for the files of others

T = TypeVar("T")


def this_process() -> PartialState:
    """Which of the processes this is, and its device.

    The first to ask joins the processes; only accelerate's `Accelerator` looks at the setting for
    CPUs by itself.
    """
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def my_share(items: Sequence[T]) -> Sequence[T]:
    """This process's share of the items, which their order alone decides."""
    state = this_process()
    return items[state.process_index :: state.num_processes]


def by_main_process(work: Callable[[], object], made: Sequence[Path]) -> None:
    """Let the main process make these files; the others wait for them."""
    if this_process().is_main_process:
        work()
    for path in made:
        wait_until(path.is_file)


def wait_until(is_done: Callable[[], bool]) -> None:
    """Look until other processes have done something; nothing to wait for in a single process.

    A barrier would give up after minutes, and this may take hours. Where one of them fails,
    the launcher ends the others.
    """
    while this_process().num_processes > 1 and not is_done():
        time.sleep(PAUSE)

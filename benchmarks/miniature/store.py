"""What was measured, a line of JSON each: a study that was killed goes on where it was."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import torch

from echomimic.fingerprint import digest, file_digest
from echomimic.weights.files import find_models

from .films import VERSION, Film, measure_film

log = logging.getLogger("miniature")

Work = tuple[Path, Film]  # the folder of a model, and what it is to make


@cache
def fingerprint(folder: Path) -> str:
    """Name of the weights of a joint model."""
    files = find_models([folder], "joint")
    paths = [path for path in vars(files).values() if isinstance(path, Path)]
    return digest(sorted(file_digest(path) for path in paths))


def key_of(folder: Path, film: Film) -> str:
    """Name of all that a film's figures depend on."""
    return digest((VERSION, fingerprint(folder), film))


class Store:
    """Lines of a file by their key. A last line that a kill cut off counts as not there."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            self._lines[value["key"]] = value

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def get(self, folder: Path, film: Film) -> dict[str, Any]:
        """Figures and features of a film."""
        return self._lines[key_of(folder, film)]

    def add(self, key: str, film: Film, measured: dict[str, Any]) -> None:
        value = {"key": key, "film": film.described(), **measured}
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._is_torn() + json.dumps(value) + "\n")
        self._lines[key] = value

    def _is_torn(self) -> bool:
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"


def measure_missing(store: Store, work: Iterable[Work], *, jobs: int, device: str) -> int:
    """Measure all films that are not in the store yet; how many that were."""
    missing = {key: one for one in work if (key := key_of(*one)) not in store}
    total = len(missing)
    for done, (key, measured) in enumerate(_measured(missing, jobs, device), 1):
        store.add(key, missing[key][1], measured)
        if done % 10 == 0 or done == total:
            log.info("%d of %d films", done, total)
    return total


def _measured(
    missing: dict[str, Work], jobs: int, device: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    if jobs <= 1 or len(missing) <= 1:
        for key, (folder, film) in missing.items():
            yield key, measure_film(folder, film, device)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare_worker) as pool:
        tasks: dict[Future, str] = {
            pool.submit(measure_film, folder, film, device): key
            for key, (folder, film) in missing.items()
        }
        for task in as_completed(tasks):
            yield tasks[task], task.result()


def end_with_parent() -> None:
    """End this process when the one that started it does: if that is killed, nobody else will."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def prepare_worker() -> None:
    """One thread for each process; the processes are as many as the cores."""
    end_with_parent()
    torch.set_num_threads(1)
    logging.getLogger("echomimic").setLevel(logging.ERROR)


def work_of(folders: Sequence[Path], films: Sequence[Film]) -> list[Work]:
    """Every film by every model."""
    return [(folder, film) for folder in folders for film in films]

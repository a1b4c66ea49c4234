"""Arrays on disk, read as far as they are used."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

KEPT_OPEN = 256  # files; a process may have few more, 1024 on many systems


@lru_cache(maxsize=KEPT_OPEN)
def opened(path: Path) -> np.ndarray:
    """An array of a .npy file that stays on disk. Raises `OSError` and `ValueError`.

    Only so many are kept open as processes may have; `forget` after a file was replaced.
    """
    return np.load(path, mmap_mode="r", allow_pickle=False)


def forget() -> None:
    """Read every file anew from here on."""
    opened.cache_clear()

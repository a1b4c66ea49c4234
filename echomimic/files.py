"""Files appear under their name when they are complete, or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NotReplaced(OSError):
    """A file was written but could not take its name."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`, to write to: renamed to `path` on success, removed on failure.

    It keeps the suffix, from which encoders tell the format. Raises `NotReplaced` where renaming
    fails; errors inside the context pass unchanged.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        try:
            temporary.replace(path)
        except OSError as error:
            raise NotReplaced(error.errno, error.strerror) from error
    finally:
        temporary.unlink(missing_ok=True)

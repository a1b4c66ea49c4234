"""Files and folders appear under their name when they are complete, or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished-"  # before the name of a folder that is being written


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


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, to write into: takes its place on success, removed on failure.

    What a kill left of an earlier attempt is removed. Errors, `OSError` among them, pass unchanged.
    """
    unfinished = path.with_name(UNFINISHED + path.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise

"""Files and folders appear under their name when they are complete, or not at all."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import causes

UNFINISHED = ".unfinished-"  # before the name of a folder that is being written
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_TEXT = f"(os error {errno.ENOSPC})"  # how safetensors says it


class NotReplaced(OSError):
    """A file was written but could not take its name."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that there is no space left."""
    return any(
        getattr(one, "errno", None) in FULL or FULL_TEXT in str(one) for one in causes(error)
    )


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
    unfinished = remove_unfinished(path)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def remove_unfinished(path: Path) -> Path:
    """Remove what a kill left of `replacing_folder`; returns where it would be."""
    unfinished = path.with_name(UNFINISHED + path.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished

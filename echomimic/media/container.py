"""Opening a film or a sound file with PyAV."""

from __future__ import annotations

from typing import Any

import av

# Old files have titles in any encoding. Since version 19 PyAV takes them as they are, and knows
# no such option any more.
_OPTIONS: dict[str, Any] = {}
if int(av.__version__.split(".")[0]) < 19:
    _OPTIONS["metadata_errors"] = "replace"


def open_media(source: Any) -> av.container.InputContainer:
    """A container to read from: a file, or what reads like one. Raises `FFmpegError`."""
    return av.open(source, **_OPTIONS)

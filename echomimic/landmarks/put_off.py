"""MediaPipe without what it imports for plots and recordings, matplotlib and sounddevice.

Both search the system as soon as they are imported, one for fonts and one for a library of its own,
and run programs to do so. In ComfyUI's process nothing does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


def pyplot() -> ModuleType:
    import matplotlib.pyplot

    return matplotlib.pyplot


def sounddevice() -> ModuleType:
    import sounddevice

    return sounddevice


UNUSED = {"matplotlib.pyplot": pyplot, "sounddevice": sounddevice}


@contextmanager
def imports_put_off(modules: Mapping[str, Callable[[], ModuleType]]) -> Iterator[None]:
    """What imports these modules while this lasts has them once it uses something of them.

    `modules` has a function for each that imports it. Those that are imported already stay, and
    what imports one of them afterwards imports it at once.
    """
    put_off = {name: _PutOff(name, get) for name, get in modules.items() if name not in sys.modules}
    sys.modules.update(put_off)
    try:
        yield
    finally:
        for module in put_off.values():
            module.step_aside()


class _PutOff(ModuleType):
    """Stands for a module, and imports it when it is asked for a name."""

    def __init__(self, name: str, get: Callable[[], ModuleType]) -> None:
        super().__init__(name)
        self._get = get

    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for them
            raise AttributeError(name)
        self.step_aside()
        return getattr(self._get(), name)

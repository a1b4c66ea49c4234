"""What trains and measures puppets, on machines without PyAV: no video is read or written there."""

from __future__ import annotations

import importlib.util
import sys
import wave
from pathlib import Path
from types import ModuleType

import numpy as np

MODULES = ("av", "av.error", "av.video", "av.video.reformatter")


class _Absent(ModuleType):
    """Stands for a module of PyAV: its names exist, so that importing works, and do nothing."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


def prepare() -> None:
    """Where PyAV is absent, let its importers load, and training read the WAVs it wrote itself.

    To be called before anything of `echomimic` is imported. Changes nothing where PyAV is there.
    """
    if "av" in sys.modules or importlib.util.find_spec("av") is not None:
        return
    sys.modules |= {name: _Absent(name) for name in MODULES}
    from echomimic.train import clips

    clips.read_speech = read_wav


def read_wav(path: Path) -> object:
    """A 16 kHz mono WAV of 16 bit, as `train.clips.write_speech` makes it: float32 (n,)."""
    import torch

    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return torch.from_numpy(samples.astype(np.float32) / 32768)

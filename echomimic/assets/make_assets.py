"""Makes the demo's files anew: `python -m echomimic.assets.make_assets [FOLDER]`."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from . import FOLDER, PORTRAIT, VOICE
from .draw import portrait
from .speak import RATE, voice


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write (n,) int16 samples as a 16 kHz mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def make_assets(folder: Path = FOLDER) -> None:
    """Write the portrait and the voice into `folder`."""
    Image.fromarray(portrait()).save(folder / PORTRAIT.name, optimize=True)
    write_wav(folder / VOICE.name, voice())


if __name__ == "__main__":
    make_assets(*map(Path, sys.argv[1:2]))

"""What the demo animates: a portrait drawn by `draw` and a sentence spoken by `speak`."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
PORTRAIT = FOLDER / "portrait.png"
VOICE = FOLDER / "voice.wav"
MINI = FOLDER / "mini"  # the model that comes with the package, trained by `echomimic train mini`
FACE_BOX = (144.0, 130.0, 366.0, 414.0)  # x0 y0 x1 y1 of the drawn face, pixels

"""The first command a newcomer runs: a video from what the package brings, without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .assets import FACE_BOX, PORTRAIT, VOICE
from .config import SamplingOptions, variant
from .errors import MediaError
from .pipeline import ClipOptions, EchoMimic, OnProgress
from .weights.random_weights import make_random

DEMO_VARIANT = "audio_acc"  # 6 steps
CLIP = ClipOptions(size=(128, 128), fps=12.0, face_box=FACE_BOX)


def demo_options() -> SamplingOptions:
    """The demo's variant with its own steps and guidance."""
    return SamplingOptions.for_variant(variant(DEMO_VARIANT))


def run_demo(folder: Path, on_progress: OnProgress | None = None) -> Path:
    """Animate the bundled portrait with the bundled voice; returns the video's path.

    The weights are random and tiny, made on the spot, so the picture is noise; everything else
    is what a real run does. Raises `MediaError` if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    video = folder / "demo.mp4"
    with tempfile.TemporaryDirectory() as models:
        make_random(Path(models), "tiny", [DEMO_VARIANT])
        model = EchoMimic.from_folder(models, DEMO_VARIANT)
        model.animate(PORTRAIT, VOICE, video, CLIP, demo_options(), on_progress)
    return video

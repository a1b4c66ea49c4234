"""The first command a newcomer runs: the built-in model makes a puppet talk, in three ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .assets import VOICE
from .config import AUDIO_RATE, SamplingOptions
from .errors import MediaError
from .media.audio import read_speech
from .media.image import write_image
from .media.video import write_video
from .pipeline import EchoMimic, OnProgress
from .puppets.clip import PuppetClip
from .puppets.identity import EXAMPLE_SEED
from .quality import MODES, SIZE, animate

NUM_FRAMES = 75  # 3 seconds of the bundled voice
STEPS = 5  # not the model's own 8, so that slow processors are done within 90 s as well
FPS = 25.0
SCALE = 2  # the model's pictures are small
LABEL = 28  # pixels below each picture
ON_SHEET = 6  # moments
PAPER, INK = (255, 255, 255), (40, 40, 48)
TITLES = ("portrait", "by the voice", "by voice + landmarks", "by landmarks")


def run_demo(
    folder: Path, on_progress: OnProgress | None = None, model: EchoMimic | None = None
) -> Path:
    """Animate a cartoon portrait by voice, by landmarks, and by both; returns the video's path.

    Video and contact sheet lie in `folder`. `model` is the built-in one by default. Raises
    `MediaError` if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    model = model or EchoMimic.mini(keep_loaded=True)
    options = SamplingOptions.for_variant(model.variant, num_inference_steps=STEPS)
    speech = read_speech(VOICE).numpy()[: round(NUM_FRAMES / FPS * AUDIO_RATE)]
    films = [np.repeat(_person(speech, "still").portrait(SIZE)[None], NUM_FRAMES, axis=0)]
    for number, mode in enumerate(MODES):
        acting = _person(speech, "calm" if mode == "audio" else "lively")
        films.append(animate(model, acting, mode, options))
        if on_progress is not None:
            on_progress("demo", number + 1, len(MODES))
    video = folder / "demo.mp4"
    pictures = list(_side_by_side(films))
    height, width = pictures[0].shape[:2]
    write_video(
        video, pictures, fps=FPS, num_frames=NUM_FRAMES, size=(width, height), soundtrack=VOICE,
        provenance=model.provenance(options),
    )  # fmt: skip
    moments = np.linspace(0, NUM_FRAMES - 1, ON_SHEET).astype(int)
    write_image(folder / "demo.png", np.concatenate([pictures[moment] for moment in moments]))
    return video


def _person(speech: np.ndarray, motion: str) -> PuppetClip:
    return PuppetClip(EXAMPLE_SEED, NUM_FRAMES, FPS, motion, spoken=speech)


def _side_by_side(films: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames of all films next to each other, enlarged, each with its title below."""
    side = SIZE * SCALE
    font = ImageFont.load_default(size=15)
    page = Image.new("RGB", (side * len(films), side + LABEL), PAPER)
    draw = ImageDraw.Draw(page)
    for number, title in enumerate(TITLES):
        middle = (side * number + side / 2, side + LABEL / 2)
        draw.text(middle, title, INK, font, anchor="mm")
    for frames in zip(*films, strict=True):
        for number, frame in enumerate(frames):
            large = Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)
            page.paste(large, (side * number, 0))
        yield np.array(page)

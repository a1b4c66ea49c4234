"""Draws the pictures of ComfyUI's list of templates: `python docs/images/make_thumbnails.py`.

Each shows what its workflow takes, on the left, and moments of what the built-in model makes of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from make_images import INK, TEAL, Sheet, read_voice
from PIL import Image

from echomimic.assets import VOICE
from echomimic.config import SamplingOptions
from echomimic.landmarks.draw import draw_track
from echomimic.landmarks.face_box import whole_picture
from echomimic.landmarks.paste import paste_back
from echomimic.media.audio import read_speech
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import TEST_SEEDS
from echomimic.quality import SIZE, animate

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NUM_FRAMES, FPS = 50, 25.0
PAGE = (480, 360)
QUALITY = 88
TAKEN, LARGE = 110, 300  # pixels of the side of what is taken, and of what is made
ROW = 118  # from one thing that is taken to the next
PERSONS = {  # the workflow, whom it shows, what drives them, and what else is special
    "first_run": (0, "audio", "runs as it is"),
    "audio": (7, "audio", "a portrait and a voice"),
    "landmark": (2, "landmarks", "a portrait and a driving face"),
    "audio_landmark": (9, "audio + landmarks", "mouth by voice, head by a face"),
    "paste_back": (11, "audio + landmarks", "a new voice for a video"),
    "ksampler": (12, "audio", "with the stock KSampler"),
    "long_clip": (15, "audio", "as long as you like, resumes"),
}


def thumbnail(model: EchoMimic, name: str) -> Sheet:
    number, mode, said = PERSONS[name]
    motion = "calm" if mode == "audio" else "lively"
    acting = PuppetClip(TEST_SEEDS.start + number, NUM_FRAMES, FPS, motion)
    options = SamplingOptions.for_variant(model.variant)
    sheet, taken = Sheet(PAGE), iter(range(14, PAGE[1], ROW))
    if name == "paste_back":
        frames = _new_voice(model, acting, options)
        _video(sheet, acting.frames(SIZE)[NUM_FRAMES // 2], 14, next(taken))
    else:
        frames = animate(model, acting, mode, options)
        sheet.picture(Image.fromarray(acting.portrait(SIZE)), _square(14, next(taken), TAKEN))
        if mode != "audio":
            drawn = draw_track(acting.track(SIZE), (SIZE, SIZE))[NUM_FRAMES // 2]
            sheet.picture(Image.fromarray(drawn), _square(14, next(taken), TAKEN))
    if mode != "landmarks":
        top = next(taken)
        sheet.waveform(read_voice(), (14, top, 14 + TAKEN, top + TAKEN))
    sheet.arrow(130, 164, 156, 164)
    _show(sheet, name, frames)
    sheet.text(314, 336, said, 17, INK)
    return sheet


def _new_voice(model: EchoMimic, acting: PuppetClip, options: SamplingOptions) -> np.ndarray:
    """The film of `acting` with a face that says something else, uint8 (f, H, W, 3)."""
    spoken = read_speech(VOICE).numpy()
    frames = animate(model, acting, "audio + landmarks", options, heard=spoken)
    crop = whole_picture((SIZE, SIZE), (SIZE, SIZE))
    pasted = paste_back(frames, crop, acting.frames(SIZE), landmarks=acting.track(SIZE))
    return np.stack(list(pasted))


def _video(sheet: Sheet, frame: np.ndarray, left: int, top: int) -> None:
    """A frame, marked as one of a video."""
    sheet.picture(Image.fromarray(frame), _square(left, top, TAKEN))
    x, y = left + TAKEN - 26, top + 8
    sheet.triangle([(x, y), (x, y + 20), (x + 18, y + 10)], INK)


def _show(sheet: Sheet, name: str, frames: np.ndarray) -> None:
    """What is made: the loudest moment, or several where the length is what counts."""
    left, top = PAGE[0] - LARGE - 16, 14
    if name == "long_clip":
        side = LARGE // 3
        for moment in range(9):
            picture = Image.fromarray(frames[moment * 5])
            place = (left + moment % 3 * side, top + moment // 3 * side)
            sheet.picture(picture, _square(*place, side - 6))
        return
    picture = Image.fromarray(frames[NUM_FRAMES // 2])
    if name == "ksampler":
        sheet.card((left, top, left + LARGE, top + LARGE), TEAL)
        left, top = left + 6, top + 6
        sheet.picture(picture, _square(left, top, LARGE - 12))
        return
    sheet.picture(picture, _square(left, top, LARGE))


def _square(left: int, top: int, side: int) -> tuple[int, int, int, int]:
    return left, top, left + side, top + side


def main() -> None:
    """All of them, or those that are named on the command line."""
    model = EchoMimic.mini(keep_loaded=True)
    for name in sys.argv[1:] or PERSONS:
        thumbnail(model, name).save(WORKFLOWS / f"{name}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()

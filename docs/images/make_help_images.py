"""Makes the pictures of the help pages, js/docs/images: python docs/images/make_help_images.py"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from echomimic.landmarks.draw import draw_track
from echomimic.landmarks.mesh import PARTS
from echomimic.landmarks.portrait import prepare_portrait
from echomimic.motion.generate import blink_and_gaze
from echomimic.motion.retime import ENDS, fit_track
from echomimic.motion.smooth import smooth_track
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import EXAMPLE_SEED
from echomimic.report.measures import eye_opening
from echomimic.report.motion_report import motion_report
from echomimic.report.plot import draw_report
from echomimic.sampling.context import window_rule

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "js/docs/images"
SIZE, SHOWN = 160, 5
ALL_PARTS = frozenset(PARTS)
BACK, WINDOW, TEXT = (32, 34, 38), (82, 132, 196), (220, 220, 220)
FADED = (110, 114, 122)
CURVE, ROW, LABEL = 5, 84, 96  # pixels: of a frame across, of a row down, and for its name
JITTER = 0.003  # of the picture's side


def strip(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Frames beside each other."""
    return np.concatenate(list(frames), axis=1)


def save(name: str, picture: np.ndarray, colours: int = 128) -> None:
    """As a small PNG with a palette."""
    image = Image.fromarray(picture).quantize(colours, dither=Image.Dither.NONE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    image.save(FOLDER / f"{name}.png", optimize=True)


def puppet_pictures() -> None:
    """The puppet, its landmarks, and both on top of each other."""
    clip = PuppetClip(EXAMPLE_SEED, 100, 25.0, "lively")
    shown = np.linspace(8, 90, SHOWN).astype(int)
    frames, track = clip.frames(SIZE)[shown], replace(clip.track(SIZE), parts=ALL_PARTS)
    drawn = draw_track(track, (SIZE, SIZE), list(shown))
    save("puppet", strip(frames))
    save("landmarks", np.concatenate([strip(frames), strip(drawn)]))
    save("landmarks_over", strip(np.where(drawn > 40, drawn, (frames * 0.6).astype(np.uint8))))


def portrait_pictures() -> None:
    """A picture with face and crop, and what is cropped of it."""
    size = 3 * SIZE
    person = PuppetClip(EXAMPLE_SEED, 1).portrait(2 * SIZE)
    picture = np.full((2 * SIZE, size, 3), person[4, 4], np.uint8)
    picture[:, SIZE // 2 : SIZE // 2 + 2 * SIZE] = person
    box = (size / 2 - 70, 95, size / 2 + 70, 250)
    prepared = prepare_portrait(picture, (2 * SIZE, 2 * SIZE), face_box=box)
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    canvas.rectangle(box, outline=(230, 80, 60), width=4)
    canvas.rectangle(prepared.crop.box, outline=(60, 110, 230), width=4)
    crop = ((prepared.image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    gap = np.full((2 * SIZE, 12, 3), 255, np.uint8)
    save("portrait", strip([np.asarray(image), gap, crop]))


def blink_picture() -> None:
    """A face that blinks and glances without a driving clip."""
    face = PuppetClip(EXAMPLE_SEED, 1, 25.0, "still").track(SIZE)
    track = replace(blink_and_gaze(face, 120, 25.0, seed=1), parts=ALL_PARTS)
    opening = eye_opening(track)
    shown = sorted({0, int(opening.argmin()), *np.linspace(20, 110, SHOWN - 2).astype(int)})
    save("blink", strip(draw_track(track, (SIZE, SIZE), shown)), 16)


def windows_picture() -> None:
    """Windows of 12 frames that share 3, on a clip of 40 frames, step after step."""
    cell, rows = 14, 4
    image = Image.new("RGB", (40 * cell + 90, 2 * rows * 5 * 8 + 60), BACK)
    canvas = ImageDraw.Draw(image)
    for block, kind in enumerate(("open", "looped")):
        rule = window_rule(kind, 40, 12, 3, 2)
        top = 10 + block * (rows * 40 + 20)
        for step in range(rows):
            level = top + step * 40
            canvas.text((8, level + 8), f"{kind} {step}", fill=TEXT)
            for number, window in enumerate(rule(step)):
                for frame in window:
                    place = (80 + frame * cell, level + 7 * (number % 4))
                    canvas.rectangle((*place, place[0] + cell - 2, place[1] + 5), fill=WINDOW)
    save("windows", np.asarray(image), 8)


def curves(rows: dict[str, np.ndarray], known: int) -> np.ndarray:
    """How far the eyes are open, frame after frame; fainter from frame `known` on."""
    longest = max(map(len, rows.values()))
    image = Image.new("RGB", (LABEL + longest * CURVE + 16, len(rows) * ROW + 16), BACK)
    canvas = ImageDraw.Draw(image)
    low, high = (limit(map(limit, rows.values())) for limit in (min, max))
    for number, (name, opening) in enumerate(rows.items()):
        top = 16 + number * ROW
        canvas.text((10, top + ROW / 3), name, fill=TEXT, font_size=15)
        levels = top + (ROW - 16) * (high - opening) / (high - low)
        points = [(LABEL + CURVE * frame, level) for frame, level in enumerate(levels)]
        canvas.line(points[known - 1 :], FADED, 2)
        canvas.line(points[:known], WINDOW, 2)
    return np.asarray(image)


def smooth_picture() -> None:
    """Eyes of a face as a detector sees them, which trembles, and the same smoothed."""
    track = PuppetClip(EXAMPLE_SEED, 120, 25.0, "lively").track(SIZE)
    noise = np.random.default_rng(0).normal(0, JITTER, track.points.shape)
    seen = replace(track, points=track.points + noise, mesh=None, transforms=None)
    tracks = {"extracted": seen, "strength 0.5": smooth_track(seen)}
    rows = {name: eye_opening(track) for name, track in tracks.items()}
    save("smooth", curves(rows, track.num_frames), 16)


def retime_picture() -> None:
    """What a face does in 120 frames whose landmarks are over after 50."""
    track = PuppetClip(EXAMPLE_SEED, 50, 25.0, "lively").track(SIZE)
    rows = {end: eye_opening(fit_track(track, 120, end=end)) for end in ENDS}
    save("retime", curves(rows, track.num_frames), 16)


def report_picture() -> None:
    """The report of a puppet."""
    clip = PuppetClip(EXAMPLE_SEED, 150, 25.0, "lively")
    report = motion_report(clip.track(SIZE), clip.heard, clip.frames(SIZE))
    save("report", draw_report(report, (880, 660)), 32)


def copies() -> None:
    """Pictures that the documents have too, smaller."""
    for name, width in (("part_selection", 480), ("motion_sync", 720), ("demo", 720)):
        picture = Image.open(HERE / f"{name}.png").convert("RGB")
        height = round(picture.height * width / picture.width)
        save(name, np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)))


if __name__ == "__main__":
    puppet_pictures()
    portrait_pictures()
    blink_picture()
    windows_picture()
    smooth_picture()
    retime_picture()
    report_picture()
    copies()

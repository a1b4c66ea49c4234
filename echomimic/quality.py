"""How well a model animates puppets it never saw: one table, with controls beside each figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from .config import AUDIO_RATE, SamplingOptions
from .landmarks.draw import opencv
from .landmarks.mesh import DRAWN_BY_DEFAULT, PARTS
from .media.audio import read_speech
from .media.image import write_image
from .media.video import to_uint8
from .pipeline import EchoMimic
from .puppets.clip import PuppetClip
from .puppets.identity import TEST_SEEDS
from .puppets.meter import measure, mouth_correlation
from .puppets.pose_meter import read_poses
from .puppets.voice import speak
from .train.clips import feature_box

SIZE = 128
NUM_FRAMES = 75  # 3 seconds
FPS = 25.0
ALL_PARTS = frozenset(PARTS) - {"contour"}
MODES = ("audio", "audio + landmarks", "landmarks")
SSIM_WINDOW = 7  # pixels
SHOWN = 8  # frames of each clip on the sheet
POSED = 5  # of so many frames one in which the head's pose is read, which takes a fifth of a second

OnProgress = Callable[[str, int, int], None]


@dataclass
class Figures:
    """Measurements of all clips, by name; `table` sums them up."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def mean(self, name: str) -> float:
        return float(np.mean(self.values[name]))

    def median(self, name: str) -> float:
        return float(np.median(self.values[name]))


def voices(files: Sequence[Path], count: int = 3) -> dict[str, np.ndarray]:
    """Recordings, filled up with voices of our own, each 3 seconds from where it is loud."""
    found = {path.stem: read_speech(path).numpy() for path in files[:count]}
    for number in range(count - len(found)):
        seed = TEST_SEEDS.start + 900_000 + number
        found[f"babble {number + 1}"] = speak(seed, NUM_FRAMES / FPS + 0.5)
    return found


def quality(
    model: EchoMimic,
    seeds: Sequence[int],
    speeches: dict[str, np.ndarray],
    options: SamplingOptions | None = None,
    *,
    sheet: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Figures:
    """Animate the puppets of `seeds` with every voice, in every mode, and measure the result.

    Driven by the voice alone, truth is a calm performance; driven by landmarks, a lively one, with
    which the voice's film is compared as well, to see what landmarks add.
    """
    figures, rows = Figures(), []
    options = options or SamplingOptions.for_variant(model.variant)
    total, done = len(seeds) * len(speeches), 0
    mouths = {
        name: _clip(seeds[0], speech, "calm").performance.mouth_open
        for name, speech in speeches.items()
    }
    for seed in seeds:
        _measure_round_trip(figures, model, _clip(seed, next(iter(speeches.values())), "lively"))
        for name, speech in speeches.items():
            for mode in MODES:
                truth = _clip(seed, speech, "calm" if mode == "audio" else "lively")
                began = time.monotonic()
                made = animate(model, truth, mode, options)
                if not figures.values.get("seconds"):
                    figures.add("seconds", time.monotonic() - began)
                _measure(figures, mode, truth, made)
                if mode == "audio":
                    moving = _clip(seed, speech, "lively").frames(SIZE)
                    figures.add("SSIM when moving, audio", ssim(made, moving))
                    read = measure(made, truth.identity)
                    for other, mouth in mouths.items():
                        if other != name:
                            figures.add("wrong voice", abs(mouth_correlation(read, mouth)))
                if name == next(iter(speeches)):
                    rows += [_strip(truth.frames(SIZE)), _strip(made)]
            done += 1
            if on_progress is not None:
                on_progress("quality", done, total)
    if sheet is not None:
        write_image(sheet, np.concatenate(rows))
    return figures


def animate(
    model: EchoMimic,
    truth: PuppetClip,
    mode: str,
    options: SamplingOptions,
    *,
    parts: frozenset[str] | None = None,
    heard: np.ndarray | None = None,
) -> np.ndarray:
    """The film that a model makes of a puppet's portrait, uint8 (f, H, W, 3).

    `parts` of the landmarks are drawn (None: those of the mode), and `heard`, if given, is heard
    instead of the clip's own voice.
    """
    portrait = model.prepare_portrait(truth.portrait(SIZE), (SIZE, SIZE), (0, 0, SIZE, SIZE))
    voice = track = None
    if mode != "landmarks":
        speech = truth.heard if heard is None else heard
        voice = model.encode_voice(torch.from_numpy(speech), truth.fps, truth.num_frames)
    if mode != "audio":
        usual = ALL_PARTS if mode == "landmarks" else DRAWN_BY_DEFAULT
        parts = usual if parts is None else parts
        track = replace(truth.track(SIZE), parts=parts)
    latents = model.sample(model.encode_conditions(portrait, voice, track), options)
    return np.concatenate(list(model.frames(latents)))


def _clip(seed: int, speech: np.ndarray, motion: str) -> PuppetClip:
    step = AUDIO_RATE // 10
    total = np.concatenate([[0.0], np.cumsum(np.abs(speech), dtype=np.float64)])
    loud = (total[AUDIO_RATE:] - total[:-AUDIO_RATE])[::step]  # of the second from there on
    latest = max(0.0, len(speech) / AUDIO_RATE - NUM_FRAMES / FPS)
    start = min(float(np.argmax(loud[: int(10 * latest) + 1])) / 10, latest)
    return PuppetClip(seed, NUM_FRAMES, FPS, motion, spoken=speech, start=start)


def _measure(figures: Figures, mode: str, truth: PuppetClip, made: np.ndarray) -> None:
    right, person = truth.frames(SIZE), truth.identity
    read, real = measure(made, person), measure(right, person)
    still = np.repeat(truth.portrait(SIZE)[None], len(right), axis=0)
    figures.add(f"mouth r, {mode}", mouth_correlation(read, truth.performance.mouth_open))
    figures.add(f"mouth amplitude, {mode}", float(read.mouth.std() / real.mouth.std()))
    figures.add(f"skin error, {mode}", _distance(read.skin, person.skin))
    figures.add(f"hair error, {mode}", _distance(read.hair, person.hair))
    figures.add(f"SSIM, {mode}", ssim(made, right))
    figures.add(f"SSIM of the still portrait, {mode}", ssim(still, right))
    figures.add(f"jitter, {mode}", jitter(made) / jitter(right))
    if mode == "landmarks":
        turned = read_poses(made[::POSED], person)[:, :3] - truth.performance.rotation[::POSED]
        figures.add("head, degrees off, landmarks", float(np.degrees(np.abs(turned)).mean()))


@torch.no_grad()
def _measure_round_trip(figures: Figures, model: EchoMimic, truth: PuppetClip) -> None:
    """What the VAE alone loses, on frames spread over the clip."""
    chosen = np.linspace(0, NUM_FRAMES - 1, SHOWN).round().astype(int)
    right = truth.frames(SIZE)[chosen]
    with model.networks.use("vae") as vae:
        images = torch.from_numpy(right).movedim(-1, 1) / 127.5 - 1
        made = to_uint8(vae.decode(vae.encode(images.to(vae.device, vae.dtype))))
    error = np.square((made.astype(np.float64) - right) / 255)
    features = np.zeros(error.shape[:3], bool)
    for number, points in enumerate(truth.track(SIZE).points[chosen]):
        for part in ("left_eye", "right_eye", "mouth"):
            features[number][feature_box(points, part, (SIZE, SIZE))] = True
    figures.add("squared error of the VAE", float(error.mean()))
    figures.add("squared error of the VAE, eyes and mouth", float(error[features].mean()))


def ssim(frames: np.ndarray, others: np.ndarray) -> float:
    """Mean structural similarity of grey frames, a uniform window, data range 255."""
    cv2 = opencv()
    window = (SSIM_WINDOW, SSIM_WINDOW)
    scores = [
        _ssim(a, b, lambda x: cv2.blur(x, window))
        for a, b in zip(*_grey(frames, others), strict=True)
    ]
    return float(np.mean(scores))


def _grey(*films: np.ndarray) -> list[np.ndarray]:
    return [film @ np.array([0.299, 0.587, 0.114]) for film in films]


def _ssim(a: np.ndarray, b: np.ndarray, smooth: Callable[[np.ndarray], np.ndarray]) -> float:
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    score /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(score.mean())


def jitter(frames: np.ndarray) -> float:
    """Mean absolute second difference over time, of values in 0..255."""
    return float(np.abs(np.diff(frames.astype(np.float32), n=2, axis=0)).mean())


def _distance(colour: np.ndarray, other: Sequence[int]) -> float:
    return float(np.linalg.norm(colour - np.array(other)))


def _strip(frames: np.ndarray) -> np.ndarray:
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    return np.concatenate(list(frames[chosen]), axis=1)

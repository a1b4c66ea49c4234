"""How well a model animates puppets it never saw: one table, with controls beside each figure."""

from __future__ import annotations

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
from .pipeline import EchoMimic
from .puppets.clip import PuppetClip
from .puppets.identity import TEST_SEEDS
from .puppets.meter import measure, mouth_correlation
from .puppets.voice import speak

SIZE = 128
NUM_FRAMES = 75  # 3 seconds
FPS = 25.0
ALL_PARTS = frozenset(PARTS) - {"contour"}
MODES = ("audio", "audio + landmarks", "landmarks")
SSIM_WINDOW = 7  # pixels
SHOWN = 8  # frames of each clip on the sheet

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

    Driven by the voice alone, truth is a calm performance; driven by landmarks, a lively one.
    """
    figures, rows = Figures(), []
    options = options or SamplingOptions.for_variant(model.variant)
    total, done = len(seeds) * len(speeches), 0
    mouths = {
        name: _clip(seeds[0], speech, "calm").performance.mouth_open
        for name, speech in speeches.items()
    }
    for seed in seeds:
        for name, speech in speeches.items():
            for mode in MODES:
                truth = _clip(seed, speech, "calm" if mode == "audio" else "lively")
                made = animate(model, truth, mode, options)
                _measure(figures, mode, truth, made)
                if mode == "audio":
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


def animate(model: EchoMimic, truth: PuppetClip, mode: str, options: SamplingOptions) -> np.ndarray:
    """The film that a model makes of a puppet's portrait, uint8 (f, H, W, 3)."""
    portrait = model.prepare_portrait(truth.portrait(SIZE), (SIZE, SIZE), (0, 0, SIZE, SIZE))
    voice = track = None
    if mode != "landmarks":
        voice = model.encode_voice(torch.from_numpy(truth.heard), truth.fps, truth.num_frames)
    if mode != "audio":
        parts = ALL_PARTS if mode == "landmarks" else DRAWN_BY_DEFAULT
        track = replace(truth.track(SIZE), parts=parts)
    latents = model.sample(model.encode_conditions(portrait, voice, track), options)
    return np.concatenate(list(model.frames(latents)))


def _clip(seed: int, speech: np.ndarray, motion: str) -> PuppetClip:
    loud = np.convolve(np.abs(speech), np.ones(AUDIO_RATE), mode="valid")[:: AUDIO_RATE // 10]
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
    figures.add(f"jitter, {mode}", _jitter(made) / _jitter(right))


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


def table(figures: Figures) -> str:
    """The figures as a Markdown table."""
    rows = [
        ("mouth correlation, audio only", "mouth r, audio", "mean and lowest"),
        ("the same against the wrong voice", "wrong voice", "mean absolute"),
        ("mouth correlation, audio + landmarks", "mouth r, audio + landmarks", "mean and lowest"),
        ("mouth correlation, all landmarks", "mouth r, landmarks", "mean and lowest"),
        *((f"mouth amplitude, {m}", f"mouth amplitude, {m}", "mean and lowest") for m in MODES),
        *((f"skin colour error, {m}", f"skin error, {m}", "median") for m in MODES),
        *((f"hair colour error, {m}", f"hair error, {m}", "median") for m in MODES),
        *((f"SSIM, {m}", f"SSIM, {m}", "mean and lowest") for m in MODES),
        *((f"SSIM of the still portrait, {m}", f"SSIM of the still portrait, {m}", "mean")
          for m in MODES),
        *((f"jitter relative to truth, {m}", f"jitter, {m}", "mean") for m in MODES),
    ]  # fmt: skip
    lines = ["| measure | value | |", "|---|---|---|"]
    for title, name, how in rows:
        value = figures.median(name) if how == "median" else figures.mean(name)
        low = f" ({min(figures.values[name]):.3f})" if how == "mean and lowest" else ""
        lines.append(f"| {title} | {value:.3f}{low} | {how} |")
    return "\n".join(lines)


def _jitter(frames: np.ndarray) -> float:
    """Mean absolute second difference over time, of values in 0..255."""
    return float(np.abs(np.diff(frames.astype(np.float32), n=2, axis=0)).mean())


def _distance(colour: np.ndarray, other: Sequence[int]) -> float:
    return float(np.linalg.norm(colour - np.array(other)))


def _strip(frames: np.ndarray) -> np.ndarray:
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    return np.concatenate(list(frames[chosen]), axis=1)

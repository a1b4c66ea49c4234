"""One film of a puppet: what it depends on, how a model makes it, and what is measured of it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echomimic.config import SamplingOptions
from echomimic.evaluation.images import psnr, ssim
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import TEST_SEEDS
from echomimic.puppets.meter import Reading, measure, mouth_correlation
from echomimic.puppets.perform import Motion
from echomimic.puppets.voice import speak
from echomimic.quality import SIZE, animate, jitter
from echomimic.train.augmentation import mix
from echomimic.train.clips import feature_box

from .features import described, round_trip

VERSION = 1  # of what is measured: raise it when a figure would come out differently
FPS = 25.0
FIRST_VOICE = TEST_SEEDS.start + 900_000
STILL, ROUND_TRIP, TRUTH = "still portrait", "VAE round trip", "real film"  # controls
FEATURES = ("left_eye", "right_eye", "mouth")


@dataclass(frozen=True)
class Film:
    """All that a film depends on besides the weights. People and voices are those of test seeds."""

    person: int  # counts from the first test seed
    voice: int  # likewise
    frames: int
    driven: str  # a mode of `echomimic.quality`, or a control
    acted: Motion = "lively"  # what truth is: the film that it is compared with
    parts: tuple[str, ...] | None = None  # of the landmarks; None: those of the mode
    snr: float | None = None  # dB of white noise under the voice; None: none
    features: bool = False  # for distances between sets of films
    options: SamplingOptions = field(default_factory=SamplingOptions)

    def truth(self) -> PuppetClip:
        speech = speak(FIRST_VOICE + self.voice, self.frames / FPS + 0.5)
        return PuppetClip(
            TEST_SEEDS.start + self.person, self.frames, FPS, self.acted, spoken=speech
        )

    def heard(self, truth: PuppetClip) -> np.ndarray | None:
        """The voice with noise in it; None: as it is."""
        if self.snr is None:
            return None
        draw = torch.Generator().manual_seed(self.voice)
        speech = torch.from_numpy(truth.heard)
        noise = torch.randn(len(speech), generator=draw)
        return mix(speech, noise, self.snr).clamp(-1, 1).numpy()

    def described(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@lru_cache(maxsize=1)
def model_of(folder: Path, device: str) -> EchoMimic:
    """A joint model, its networks loaded and used once, so that no film's time has that in it."""
    model = EchoMimic.from_folder(folder, "joint", device=device, keep_loaded=True)
    make_film(model, Film(0, 0, 2, "audio + landmarks", options=SamplingOptions(1, 1.0)))
    return model


def make_film(model: EchoMimic, film: Film) -> tuple[PuppetClip, np.ndarray, float]:
    """Truth, what was made, uint8 (f, H, W, 3), and the processor's seconds that it took.

    On a GPU they are seconds of the clock.
    """
    truth = film.truth()
    clock = time.process_time if model.device.type == "cpu" else time.monotonic
    began = clock()
    if film.driven == STILL:
        made = np.repeat(truth.portrait(SIZE)[None], film.frames, axis=0)
    elif film.driven == TRUTH:
        made = truth.frames(SIZE)
    elif film.driven == ROUND_TRIP:
        made = round_trip(model, truth.frames(SIZE))
    else:
        parts = None if film.parts is None else frozenset(film.parts)
        made = animate(
            model, truth, film.driven, film.options, parts=parts, heard=film.heard(truth)
        )
    return truth, made, clock() - began


def measure_film(folder: Path, film: Film, device: str) -> dict[str, Any]:
    """{"figures": {name: number}, "features": {space: rows}}, ready for JSON."""
    model = model_of(folder, device)
    truth, made, seconds = make_film(model, film)
    found = figures(truth, made) | {"seconds": seconds / truth.num_frames * FPS}
    features = described(model, made, measure(made, truth.identity)) if film.features else {}
    return {
        "figures": {name: rounded(value) for name, value in found.items()},
        "features": {space: rounded(rows) for space, rows in features.items()},
    }


def figures(truth: PuppetClip, made: np.ndarray) -> dict[str, float]:
    """What a film is worth beside the true one.

    mouth r: correlation of the mouth's opening, read from the picture, with the true one; mouth
    amplitude: its deviation over that of the true film, read likewise. SSIM, PSNR (dB):
    `evaluation.images`; PSNR of eyes and mouth: of the squared error in their boxes. sharpness:
    mean |Laplacian| over that of the true film. jitter: `quality.jitter` over that of the true
    film. eyes' place: distance of the middle between the whites of the eyes from where it is read
    in the true film, in distances between the eyes.
    """
    right, person = truth.frames(SIZE), truth.identity
    read, real = measure(made, person), measure(right, person)
    return {
        "mouth r": mouth_correlation(read, truth.performance.mouth_open),
        "mouth amplitude": float(read.mouth.std() / max(real.mouth.std(), 1e-9)),
        "SSIM": float(ssim(made, right).mean()),
        "PSNR": float(psnr(made, right).mean()),
        "PSNR of eyes and mouth": _feature_psnr(truth, made, right),
        "sharpness": sharpness(made) / sharpness(right),
        "jitter": jitter(made) / max(jitter(right), 1e-9),
        "eyes' place": _eyes_away(read, real) / (2 * person.eye_distance),
    }


def sharpness(frames: np.ndarray) -> float:
    """Mean absolute Laplacian of grey frames (f, H, W, 3), in levels of 0..255."""
    grey = frames.mean(axis=-1)
    across = grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] + grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
    return float(np.abs(across - 4 * grey[:, 1:-1, 1:-1]).mean())


def _feature_psnr(truth: PuppetClip, made: np.ndarray, right: np.ndarray) -> float:
    error = np.square((made.astype(np.float64) - right) / 255)
    inside = np.zeros(error.shape[:3], bool)
    for number, points in enumerate(truth.track(SIZE).points):
        for part in FEATURES:
            inside[number][feature_box(points, part, (SIZE, SIZE))] = True
    return float(min(100.0, -10 * np.log10(error[inside].mean() + 1e-12)))


def _eyes_away(read: Reading, real: Reading) -> float:
    """In picture widths; frames in which either film's eyes are shut do not count."""
    away = np.linalg.norm(read.centre - real.centre, axis=1)
    return float(np.nanmean(away)) if np.isfinite(away).any() else float("nan")


def rounded(values: Any) -> Any:
    """Numbers, or rows of them, to six digits; None for what is no number."""
    if isinstance(values, np.ndarray):
        return [rounded(row) for row in values]
    value = float(values)
    return float(f"{value:.6g}") if np.isfinite(value) else None

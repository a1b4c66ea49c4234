"""Do the borders between segments show? Measured on the built-in model.

    python benchmarks/segment_seams.py

Cartoon people talk in segments of a few windows, and for comparison without segments. The seam
index is the mean change of motion (second difference over time) at the frames beside borders,
divided by that of all other frames: 1 where a border is like any other frame. The unsegmented clip
is measured at the same frames, since a voice may be loud just there: with few people that alone
can move the index by a tenth. The exit code is 1 if the index of the segmented clips is above 1.1.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from echomimic.conditions import Conditions
from echomimic.config import SamplingOptions
from echomimic.landmarks.portrait import Portrait
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import TEST_SEEDS
from echomimic.quality import ALL_PARTS, FPS, SIZE
from echomimic.segments import Segments

ALLOWED = 1.1
MODES = ("audio", "landmarks")
log = logging.getLogger("segment_seams")


def change_of_motion(frames: np.ndarray) -> np.ndarray:
    """Mean |x(t-1) - 2 x(t) + x(t+1)| of uint8 frames (f, H, W, 3): (f - 2,), from t = 1 on."""
    return np.abs(np.diff(frames.astype(np.float32), n=2, axis=0)).mean(axis=(1, 2, 3))


def at_and_elsewhere(frames: np.ndarray, borders: list[int]) -> tuple[float, float]:
    """Mean change of motion beside the borders (first frames of segments), and elsewhere."""
    change = change_of_motion(frames)
    beside = np.zeros(len(change), bool)
    for border in borders:
        beside[[border - 2, border - 1]] = True  # t = border - 1 and border
    return float(change[beside].mean()), float(change[~beside].mean())


def conditions_of(model: EchoMimic, clip: PuppetClip, mode: str) -> tuple[Portrait, Conditions]:
    """A puppet's portrait and what drives it."""
    portrait = model.prepare_portrait(clip.portrait(SIZE), (SIZE, SIZE), (0, 0, SIZE, SIZE))
    voice = track = None
    if mode == "audio":
        voice = model.encode_voice(torch.from_numpy(clip.heard), clip.fps, clip.num_frames)
    else:
        track = replace(clip.track(SIZE), parts=ALL_PARTS)
    return portrait, model.encode_conditions(portrait, voice, track)


def film(model: EchoMimic, latents: object) -> np.ndarray:
    return np.concatenate(list(model.frames(latents)))


def in_segments(
    model: EchoMimic,
    portrait: Portrait,
    conditions: Conditions,
    options: SamplingOptions,
    windows: int,
) -> tuple[np.ndarray, list[int]]:
    """The film, and the first frames that each segment but the first adds."""
    with tempfile.TemporaryDirectory() as root:
        segments = Segments(Path(root), windows)
        folder = model.render_folder(segments, portrait, conditions, options)
        model.sample_segments(folder, conditions, options)
        borders = [segment.start + segment.known for segment in folder.segments[1:]]
        return film(model, folder), borders


def index(pairs: list[tuple[float, float]]) -> float:
    """Of people's change of motion at borders, and elsewhere."""
    at, elsewhere = np.mean(pairs, axis=0)
    return float(at / elsewhere)


def index_interval(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Where the index lies in 95 % of 1,000 draws of people."""
    chosen = np.random.default_rng(0).integers(0, len(pairs), (1000, len(pairs)))
    low, high = np.percentile([index([pairs[i] for i in row]) for row in chosen], (2.5, 97.5))
    return float(low), float(high)


def described(pairs: list[tuple[float, float]]) -> dict[str, object]:
    low, high = index_interval(pairs)
    return {"index": round(index(pairs), 3), "interval": [round(low, 2), round(high, 2)]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Seams at the borders of segments.")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--windows", type=int, default=2, help="per segment")
    parser.add_argument("--overlap", type=int, help="of windows; default: the model's own")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = EchoMimic.mini(device="cpu", keep_loaded=True)
    sampling = SamplingOptions.for_variant(model.variant, context_overlap=options.overlap)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in TEST_SEEDS[: options.people]:
        for mode in options.modes:
            motion = "calm" if mode == "audio" else "lively"
            clip = PuppetClip(seed, options.frames, FPS, motion)
            portrait, conditions = conditions_of(model, clip, mode)
            cut, borders = in_segments(model, portrait, conditions, sampling, options.windows)
            whole = film(model, model.sample(conditions, sampling))
            for name, frames in ((f"segments, {mode}", cut), (f"whole, {mode}", whole)):
                found.setdefault(name, []).append(at_and_elsewhere(frames, borders))
            said = {name: round(index(pairs), 3) for name, pairs in found.items() if mode in name}
            log.info("person %d, %s: %d borders; so far %s", seed, mode, len(borders), said)
    result = {name: described(pairs) for name, pairs in found.items()}
    sys.stdout.write(json.dumps(result | {"allowed": ALLOWED}, indent=2) + "\n")
    segments = [index(pairs) for name, pairs in found.items() if name.startswith("segments")]
    return int(max(segments) > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())

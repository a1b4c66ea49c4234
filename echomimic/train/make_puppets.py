"""A dataset of puppets, in the layout of `clips`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DatasetError, OptionsError
from ..files import remove_unfinished, replacing_folder
from ..landmarks.track_file import save_track
from ..media.image import write_image
from ..puppets.clip import PuppetClip
from ..puppets.identity import TEST_SEEDS
from .clips import FRAMES, LANDMARKS, META, PORTRAIT, SPEECH, write_speech

STREAM = 20  # of the random numbers of a seed


@dataclass(frozen=True)
class PuppetOptions:
    """What films are made of each puppet."""

    num_frames: int = 20
    size: int = 128
    fps: float = 25.0
    lively: float = 0.5  # share of the clips that move much; the others are calm
    latest_start: float = 1.6  # seconds into the voice

    def __post_init__(self) -> None:
        if self.num_frames < 2:
            raise OptionsError(
                f"A clip to train on has 2 frames or more, not {self.num_frames}; choose more."
            )
        if self.size < 8 or self.size % 8 or not self.fps > 0:
            raise OptionsError(
                f"Puppets need a size that is a multiple of 8, not {self.size}, and an fps above "
                f"0, not {self.fps}."
            )


def make_puppets(
    folder: Path,
    count: int,
    options: PuppetOptions = PuppetOptions(),  # noqa: B008 (frozen)
    *,
    first_seed: int = 0,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write clips of the puppets `first_seed` … `first_seed + count - 1`; those there are kept.

    Raises `OptionsError` for seeds that cannot be, `DatasetError` for those that are reserved for
    testing, if the disk is full, or if a process dies.
    """
    seeds = range(first_seed, first_seed + count)
    if seeds and seeds[-1] >= TEST_SEEDS.start:
        raise DatasetError(
            f"Puppets from {TEST_SEEDS.start} on are reserved for testing; choose seeds below."
        )
    for name, value, least in (("first_seed", first_seed, 0), ("count", count, 1)):
        if value < least:
            raise OptionsError(f"{name} of puppets must be {least} or more, not {value}.")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not meta_file(folder, seed).is_file()]
    done = count - len(missing)
    try:
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            tasks = ((folder, seed, options) for seed in missing)
            for _ in pool.map(_write, *zip(*tasks, strict=True), chunksize=8) if missing else ():
                done += 1
                if on_progress is not None:
                    on_progress(done, count)
    except BrokenProcessPool as error:
        for seed in missing:
            remove_unfinished(clip_folder(folder, seed))
        raise DatasetError(
            f"A process that draws puppets into {folder} died, as where memory is short; the same "
            "command goes on with those that are missing, perhaps with fewer --workers."
        ) from error


def clip_folder(folder: Path, seed: int) -> Path:
    return folder / f"puppet-{seed:06d}"


def meta_file(folder: Path, seed: int) -> Path:
    """What is there as soon as the clip of a seed is whole."""
    return clip_folder(folder, seed) / META


def draw_clip(seed: int, options: PuppetOptions) -> PuppetClip:
    """The film of a seed."""
    random = np.random.Generator(np.random.Philox([seed, STREAM]))
    motion = "lively" if random.random() < options.lively else "calm"
    start = float(random.uniform(0, options.latest_start))
    return PuppetClip(seed, options.num_frames, options.fps, motion, start=start)


def _write(folder: Path, seed: int, options: PuppetOptions) -> None:
    clip, final = draw_clip(seed, options), clip_folder(folder, seed)
    meta = {
        "fps": options.fps, "start": clip.start, "identity": f"puppet-{seed}",
        "motion": clip.motion, "split": "train", "source": "echomimic puppets",
    }  # fmt: skip
    try:
        with replacing_folder(final) as unfinished:
            np.save(unfinished / FRAMES, clip.frames(options.size))
            write_image(unfinished / PORTRAIT, clip.portrait(options.size))
            write_speech(unfinished / SPEECH, clip.speech)
            save_track(clip.track(options.size), unfinished / LANDMARKS)
            (unfinished / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"{final} cannot be written ({error}); check the folder and the free space."
        ) from error

"""What the frozen networks say of the clips, encoded once for all models that train on them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from echomimic.config import variant as model_variant
from echomimic.errors import WeightsError
from echomimic.train.augmentation import AudioAugmentation
from echomimic.train.cache import AudioCache, LatentCache
from echomimic.train.clips import Dataset
from echomimic.train.recipe import Recipe, strict
from echomimic.train.stages import DiffusionSettings
from echomimic.weights.files import look_up
from echomimic.weights.load import load_audio_encoder, load_vae

CHUNK = 50  # clips that one task encodes; which clips babble into which depends on it
RUNS = "runs"


@dataclass(frozen=True)
class Job:
    """One model to train."""

    recipe: Recipe
    data: Path
    start: Path
    out: Path
    name: str  # <variant>-seed<k>
    keep: bool = False  # checkpoints and logs, too

    @property
    def run(self) -> Path:
        return self.out / RUNS / self.name


def frozen(start: Path, recipe: Recipe, component: str) -> Path:
    found = look_up([start], model_variant(recipe.variant), component)
    if found is None:
        raise WeightsError(
            f"{start} holds no {component.replace('_', ' ')}; give a folder of a trained model "
            "as --start, such as echomimic/assets/mini."
        )
    return found


def fill_latents(job: Job, first: int, device: str) -> None:
    """Encode the frames of some clips, which all runs share."""
    vae = load_vae(frozen(job.start, job.recipe, "vae"), dtype="float32").model.to(device)
    # The caches' names hold the weights as `make_stage` reads them, which is what it looks for.
    settings = _settings(job.recipe)
    LatentCache(job.data, vae, bf16=settings.bf16_cache).fill(_clips(job.data, first))


def fill_voices(job: Job, first: int) -> None:
    """Encode the voices of some clips with the augmentation and the seed of a recipe."""
    path = frozen(job.start, job.recipe, "audio_encoder")
    encoder, settings = load_audio_encoder(path, dtype="float32"), _settings(job.recipe)
    cache = AudioCache(
        job.data, encoder, settings.augmentation,
        variants=settings.voice_variants, seed=job.recipe.seed,
    )  # fmt: skip
    cache.fill(_clips(job.data, first))


def _clips(data: Path, first: int) -> list:
    dataset = Dataset(data)
    return (dataset.clips("train") + dataset.clips("validate"))[first : first + CHUNK]


def _settings(recipe: Recipe) -> DiffusionSettings:
    return strict(DiffusionSettings, recipe.stages["stage1"].settings, recipe.name)


def caches(pool: ProcessPoolExecutor, jobs: list[Job], device: str) -> Iterator[Future]:
    """Tasks that encode what the frozen networks say of the clips, each only once."""
    starts = range(0, len(Dataset(jobs[0].data).all), CHUNK)
    for first in starts:
        yield pool.submit(fill_latents, jobs[0], first, device)
    voices: dict[tuple[int, AudioAugmentation], Job] = {}
    for job in jobs:
        voices.setdefault((job.recipe.seed, _settings(job.recipe).augmentation), job)
    for job in voices.values():
        for first in starts:
            yield pool.submit(fill_voices, job, first)

"""What frozen networks say of each clip, computed once and kept beside the clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..audio.whisper import AudioEncoder, encode_speech
from ..config import LATENT_SCALE, STATES_PER_SECOND
from ..errors import DatasetError
from ..files import replacing
from ..models.precision import is_quick_in_bfloat16
from .arrays import forget, opened
from .augmentation import AudioAugmentation, augment
from .clips import Clip, is_held_out
from .draws import generator
from .processes import my_share, wait_until
from .workers import computed

FOLDER = ".cache"  # inside the folder of clips
ENCODED = 20 * 128 * 128  # pixels at once, or one picture: larger ones take no more memory each
VERSION = 2  # of how voices are changed; a new one makes new caches
TAIL = 6  # states heard after the start of the last frame, and more

OnProgress = Callable[[int, int], None]
T = TypeVar("T")
Result = TypeVar("Result")


class LatentCache:
    """Mean and deviation of the VAE's latents of every frame, scaled, as float16.

    The latents of a clip's portrait, if there is one, follow those of its frames.
    """

    def __init__(self, folder: Path, vae: AutoencoderKL, *, bf16: bool = False) -> None:
        self._vae, self._bf16 = vae, bf16 and is_quick_in_bfloat16(vae.device)
        self.folder = folder / FOLDER / f"latents-{encoder_digest(vae)}"

    def fill(
        self, clips: Sequence[Clip], on_progress: OnProgress | None = None, *, workers: int = 0
    ) -> None:
        """Encode the clips that are not there yet; `workers` processes read their pictures.

        Of several processes that train, each encodes its share, and waits for the others'.
        """
        mine = my_share(clips)
        missing = [clip for clip in mine if not self._is_there(clip)]
        pictures = computed(Clip.pictures, missing, workers)
        for clip, shown in _counted(missing, pictures, len(mine), on_progress):
            _write(self._path(clip), self._encode(shown))
        for clip in clips:
            wait_until(lambda clip=clip: self._is_written(clip))
        forget()

    def _is_written(self, clip: Clip) -> bool:
        forget()  # another process may have replaced what was there
        return self._is_there(clip)

    def _path(self, clip: Clip) -> Path:
        return self.folder / f"{clip.name}.npy"

    def _is_there(self, clip: Clip) -> bool:
        path = self._path(clip)
        return path.is_file() and opened(path).shape[1] == clip.num_pictures

    def get(self, clip: Clip, frames: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mean and deviation of these frames, (n, c, h, w) each, float32."""
        stored = opened(self._path(clip))[:, list(frames)]
        stored = torch.from_numpy(stored.astype(np.float32))
        return stored[0], stored[1]

    @torch.no_grad()
    def _encode(self, pictures: np.ndarray) -> np.ndarray:
        parts, device = [], self._vae.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            size = max(1, ENCODED // pictures[0, ..., 0].size)
            for chunk in torch.from_numpy(pictures).movedim(-1, 1).split(size):
                posterior = self._vae.encode(chunk.to(device) / 127.5 - 1).latent_dist
                parts.append(torch.stack([posterior.mean, posterior.std]).float() * LATENT_SCALE)
        return torch.cat(parts, dim=1).cpu().numpy().astype(np.float16)  # (2, f, c, h, w)


class AudioCache:
    """The audio encoder's states over each clip, of several augmented variants of its voice.

    Variant 0 is the voice as it is, and stands for all samples that are not augmented; the others
    always are. Waveforms are augmented before the encoder, which is too slow to ask in every step
    (training facts 5.5).
    """

    def __init__(
        self,
        folder: Path,
        encoder: AudioEncoder,
        augmentation: AudioAugmentation,
        *,
        variants: int = 4,
        seed: int = 0,
    ) -> None:
        self._encoder, self._augmentation, self._seed = encoder, augmentation, seed
        self._variants = variants if augmentation.enabled else 1
        name = fingerprint(encoder.state_dict(), (VERSION, asdict(augmentation), variants, seed))
        self.folder = folder / FOLDER / f"voices-{name}"

    def fill(
        self, clips: Sequence[Clip], on_progress: OnProgress | None = None, *, workers: int = 0
    ) -> None:
        """Encode the voices that are not there yet, in `workers` processes.

        Of several processes that train, each encodes its share, and waits for the others'.
        """
        mine = my_share(neighbours(clips))
        missing = [pair for pair in mine if not self._path(pair[0]).is_file()]
        states = computed(self._encode, missing, workers)
        for (clip, _), variants in _counted(missing, states, len(mine), on_progress):
            _write(self._path(clip), variants)
        for clip in clips:
            wait_until(self._path(clip).is_file)

    def _path(self, clip: Clip) -> Path:
        return self.folder / f"{clip.name}.npy"

    def get(self, clip: Clip, draw: torch.Generator | None = None) -> Tensor:
        """States (n, layer, d) from the clip's first frame on, augmented as often as the setting
        says; without `draw` of the voice as it is."""
        stored = opened(self._path(clip))
        number = 0 if draw is None else self._draw(draw, len(stored))
        return torch.from_numpy(stored[number].astype(np.float32))

    def _draw(self, draw: torch.Generator, count: int) -> int:
        """The number of a variant. Random numbers are drawn in any case, always as many."""
        changed = float(torch.rand((), generator=draw)) < self._augmentation.probability
        number = 1 + int(torch.randint(max(1, count - 1), (), generator=draw))
        return number if changed and count > 1 else 0

    def _encode(self, pair: tuple[Clip, Clip]) -> np.ndarray:
        clip, other = pair
        speech, babble = clip.speech(), other.speech()
        first = round(clip.start * STATES_PER_SECOND)
        count = round(clip.num_frames / clip.fps * STATES_PER_SECOND) + TAIL
        variants, always = [], replace(self._augmentation, probability=1.0)
        for number in range(self._variants):
            draw = generator(self._seed, f"voice of {clip.name}", number)
            heard = augment(speech, draw, always, babble) if number else speech
            variants.append(encode_speech(self._encoder, heard)[first : first + count])
        return torch.stack(variants).numpy().astype(np.float16)  # (k, n, layer, d)


def neighbours(clips: Sequence[Clip]) -> list[tuple[Clip, Clip]]:
    """Each clip, and the one whose voice is its babble: the next that is on the same side, so that
    nobody who is held out is heard in training."""
    sides: dict[bool, list[Clip]] = {}
    for clip in clips:
        sides.setdefault(is_held_out(clip), []).append(clip)
    following = {
        clip.folder: other
        for side in sides.values()
        for clip, other in zip(side, [*side[1:], *side[:1]], strict=True)
    }
    return [(clip, following[clip.folder]) for clip in clips]


def _counted(
    items: Sequence[T], results: Iterable[Result], total: int, on_progress: OnProgress | None
) -> Iterator[tuple[T, Result]]:
    """Items and their results, while progress is told; those that are not listed were there."""
    for done, pair in enumerate(zip(items, results, strict=True), total - len(items) + 1):
        yield pair
        if on_progress is not None:
            on_progress(done, total)


def encoder_digest(vae: AutoencoderKL) -> str:
    """A short name that changes with what a VAE makes of pictures, not with how it decodes."""
    parts = ("encoder.", "quant_conv.")
    return fingerprint({n: weight for n, weight in vae.state_dict().items() if n.startswith(parts)})


def fingerprint(weights: Mapping[str, Tensor], settings: object = None) -> str:
    """A short name that changes with any weight or setting."""
    digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=8)
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, array: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.save(temporary, array)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written ({error}); free some space beside the clips."
        ) from error

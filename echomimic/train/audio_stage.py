"""Before stage 1, for a model from scratch: the audio encoder, on what mouths do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.mel import log_mel
from ..audio.whisper import AudioEncoder
from ..config import STATES_PER_SECOND
from ..puppets.mouth import mouth_curves
from .augmentation import AudioAugmentation, augment
from .clips import Clip
from .draws import generator
from .export import export_audio_encoder
from .trainable import freeze_all_but_trainable

VALIDATED = 64  # held-out voices


@dataclass(frozen=True)
class AudioSettings:
    """What is done to the voices."""

    augmentation: AudioAugmentation = field(default_factory=AudioAugmentation)


class AudioTraining(nn.Module):
    """Mouth opening and width from the encoder's states: what its features must tell."""

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.audio_encoder = encoder
        config = encoder.config
        self.head = nn.Linear(config.width * (config.num_layers + 1), 2)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """mel (b, num_mels, 2n), truth (b, n, 2), heard (b, n) of 0 and 1 → losses (b,)."""
        error = (self.tell(batch["mel"]) - batch["truth"]).square()
        heard = batch["heard"][..., None]
        error = (error * heard).sum(dim=1) / heard.sum(dim=1)  # (b, 2)
        return {"loss": error.mean(dim=1), "opening": error[:, 0], "width": error[:, 1]}

    def tell(self, mel: Tensor) -> Tensor:
        """Opening and width at 50 Hz, (b, n, 2)."""
        return self.head(self.audio_encoder(mel).flatten(2).float())


class AudioStage:
    """The stage that the engine runs; a sample is the voice of a clip, up to an encoder window."""

    name = "audio"

    def __init__(
        self,
        encoder: AudioEncoder,
        clips: Sequence[Clip],
        held_out: Sequence[Clip],
        settings: AudioSettings,
        seed: int,
    ) -> None:
        self.module = AudioTraining(encoder)
        self._trainable = freeze_all_but_trainable(self.name, self.module)
        self.notes: dict[str, Any] = {}
        self.stands_on: dict[str, str] = {}
        self._clips, self._held_out = clips, held_out
        self._settings, self._seed = settings, seed
        self._num_states = encoder.config.max_states
        self._num_mels = encoder.config.num_mels

    def trainable(self) -> dict[str, nn.Parameter]:
        return self._trainable

    def fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A voice, heard after augmentation, with what the mouth did when it spoke."""
        return _stack([self._sample(index) for index in indices])

    def _sample(self, index: int) -> dict[str, Tensor]:
        draw = generator(self._seed, self.name, index)
        clip, other = (self._clips[i] for i in self._choose(draw))
        speech = clip.speech()
        heard = augment(speech, draw, self._settings.augmentation, babble=other.speech())
        return self._pair(heard, speech)

    def _choose(self, draw: torch.Generator) -> list[int]:
        return torch.randint(len(self._clips), (2,), generator=draw).tolist()

    def _pair(self, heard: Tensor, speech: Tensor) -> dict[str, Tensor]:
        """The first window of a voice, filled up in the mel as in `encode_speech`."""
        mel = log_mel(heard, num_mels=self._num_mels)[:, : 2 * self._num_states]
        states = mel.shape[1] // 2
        opening, width = mouth_curves(speech.numpy(), self._num_states, STATES_PER_SECOND)
        truth = torch.from_numpy(np.stack([opening, width], axis=1)).float()
        return {
            "mel": F.pad(mel, (0, 2 * self._num_states - mel.shape[1])),
            "truth": truth,
            "heard": (torch.arange(self._num_states) < states).float(),
        }

    def describe(self, index: int) -> str:
        first = self._choose(generator(self._seed, self.name, index))[0]
        return f"the voice of clip {self._clips[first].name}"

    @torch.no_grad()
    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Correlation of what the encoder tells with the truth, on voices it never heard."""
        voices = [clip.speech() for clip in self._held_out[:VALIDATED]]
        if not voices:
            return {}
        batch = _stack([self._pair(speech, speech) for speech in voices])
        heard = batch["heard"].bool()
        told = self.module.tell(batch["mel"]).cpu()[heard]  # (n, 2)
        truth = batch["truth"][heard]
        return {
            f"{name}_r": float(torch.corrcoef(torch.stack([told[:, i], truth[:, i]]))[0, 1])
            for i, name in enumerate(("opening", "width"))
        }

    def export(self, folder: Path) -> list[Path]:
        return [export_audio_encoder(self.module.audio_encoder, folder)]


def _stack(samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

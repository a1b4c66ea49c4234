"""Before stage 1, for a model from scratch: the audio encoder, on what mouths do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..audio.mel import log_mel
from ..audio.whisper import AudioEncoder
from ..config import AUDIO_RATE, STATES_PER_SECOND
from ..puppets.mouth import mouth_curves
from ..puppets.voice import speak
from .augmentation import AudioAugmentation, augment
from .draws import generator
from .export import export_audio_encoder
from .trainable import freeze_all_but_trainable

HELD_OUT = 64  # voices to validate with
FIRST_HELD_OUT = 900_000  # their seeds, which training does not draw


@dataclass(frozen=True)
class AudioSettings:
    """Where the voices come from, and what is done to them."""

    first_seed: int = 0
    voices: int = 20_000  # different speakers and sentences
    augmentation: AudioAugmentation = field(default_factory=AudioAugmentation)


class AudioTraining(nn.Module):
    """Mouth opening and width from the encoder's states: what its features must tell."""

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.audio_encoder = encoder
        config = encoder.config
        self.head = nn.Linear(config.width * (config.num_layers + 1), 2)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """mel (b, num_mels, 2n), truth (b, n, 2) → losses (b,)."""
        told = self.head(self.audio_encoder(batch["mel"]).flatten(2).float())  # (b, n, 2)
        error = (told - batch["truth"]).square().mean(dim=1)  # (b, 2)
        return {"loss": error.mean(dim=1), "opening": error[:, 0], "width": error[:, 1]}


class AudioStage:
    """The stage that the engine runs; a sample is a voice of one encoder window."""

    name = "audio"

    def __init__(self, encoder: AudioEncoder, settings: AudioSettings, seed: int) -> None:
        self.module = AudioTraining(encoder)
        self._trainable = freeze_all_but_trainable(self.name, self.module)
        self._settings, self._seed = settings, seed
        self._num_states = encoder.config.max_states
        self._num_mels = encoder.config.num_mels

    def trainable(self) -> dict[str, nn.Parameter]:
        return self._trainable

    def fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A voice, heard after augmentation, with what the mouth did when it spoke."""
        samples = [self._sample(index) for index in indices]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, index: int) -> dict[str, Tensor]:
        draw = generator(self._seed, self.name, index)
        voice = self._settings.first_seed + int(
            torch.randint(self._settings.voices, (2,), generator=draw)[0]
        )
        speech = self._speech(voice)
        other = torch.from_numpy(self._speech(voice + 1))
        heard = augment(torch.from_numpy(speech), draw, self._settings.augmentation, babble=other)
        return self._pair(heard, speech)

    def _speech(self, seed: int) -> np.ndarray:
        samples = self._num_states * AUDIO_RATE // STATES_PER_SECOND
        return speak(seed, samples / AUDIO_RATE)[:samples]

    def _pair(self, heard: Tensor, speech: np.ndarray) -> dict[str, Tensor]:
        opening, width = mouth_curves(speech, self._num_states, STATES_PER_SECOND)
        truth = torch.from_numpy(np.stack([opening, width], axis=1)).float()
        return {"mel": log_mel(heard, num_mels=self._num_mels), "truth": truth}

    def describe(self, index: int) -> str:
        return f"the voice of sample {index}"

    @torch.no_grad()
    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Correlation of what the encoder tells with the truth, on voices it never heard."""
        pairs = []
        for seed in range(FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT):
            speech = self._speech(seed)
            pairs.append(self._pair(torch.from_numpy(speech), speech))
        mel = torch.stack([pair["mel"] for pair in pairs])
        truth = torch.stack([pair["truth"] for pair in pairs])
        told = self.module.head(self.module.audio_encoder(mel).flatten(2).float())
        return {
            f"{name}_r": float(torch.corrcoef(torch.stack([told[..., i].flatten(),
                                                           truth[..., i].flatten()]))[0, 1])
            for i, name in enumerate(("opening", "width"))
        }  # fmt: skip

    def export(self, folder: Path) -> list[Path]:
        return [export_audio_encoder(self.module.audio_encoder, folder)]

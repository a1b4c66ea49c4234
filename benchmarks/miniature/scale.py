"""How much the study measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from echomimic.config import SamplingOptions, variant


@dataclass(frozen=True)
class Scale:
    """Counts of people and voices, all reserved for tests, and the frames of a film."""

    frames: int = 36
    people: int = 5  # driving modes
    voices: int = 2
    faces: int = 7  # motion synchronisation, of `synchronisation.FACES`
    acted_frames: int = 100  # likewise: enough for the driver to come near its rest
    ablation_people: int = 3
    ablation_steps: int | None = 6  # denoising steps of the ablations; None: the model's own
    sampling_people: int = 3
    most_values: int = 99  # of each factor of sampling
    steps: int | None = None  # denoising steps everywhere, for tests; None: the model's own

    def options(self, **changes: Any) -> SamplingOptions:
        """The model's own sampling options, but for the changes."""
        given = {"num_inference_steps": self.steps} | changes
        return SamplingOptions.for_variant(variant("joint"), **given)


SCALES = {
    "full": Scale(),
    "quick": Scale(
        frames=24, people=2, voices=1, faces=3, acted_frames=50, ablation_people=1,
        sampling_people=1, most_values=3,
    ),
    "smallest": Scale(
        frames=4, people=2, voices=1, faces=2, acted_frames=12, ablation_people=1,
        ablation_steps=1, sampling_people=1, most_values=1, steps=1,
    ),
}  # fmt: skip

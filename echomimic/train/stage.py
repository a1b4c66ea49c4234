"""What the engine needs of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Stage(Protocol):
    """One stage of training. It knows networks and data; the engine knows optimisation."""

    name: str
    module: nn.Module  # module(batch) → per-sample losses (b,); "loss" is what is minimised

    notes: Mapping[str, Any]  # what its model files and the log say of it
    stands_on: Mapping[str, str]  # digests of what must be the same when it goes on

    def trainable(self) -> dict[str, nn.Parameter]:
        """What is optimised, by its name in `module`; all else asks for no gradient."""

    def fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples of these global numbers, stacked; depends on nothing else."""

    def describe(self, index: int) -> str:
        """Where a sample comes from, for error messages."""

    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Figures of held-out data; may write pictures and videos."""

    def export(self, folder: Path) -> list[Path]:
        """Write the networks as model files."""

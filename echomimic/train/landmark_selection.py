"""Random landmark selection: parts of the face left undrawn, so that any may be missing (3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import OptionsError

GROUPS: dict[str, frozenset[str]] = {  # the paper's five parts
    "brows": frozenset({"left_brow", "right_brow"}),
    "eyes": frozenset({"left_eye", "right_eye"}),
    "pupils": frozenset({"pupils"}),
    "nose": frozenset({"nose"}),
    "mouth": frozenset({"mouth"}),
}
ALL = frozenset().union(*GROUPS.values())


@dataclass(frozen=True)
class LandmarkSelection:
    """Which parts are drawn, for all frames of a sample.

    With `keep_all` all are; else one to four of the five groups are left out, all choices of a
    number being as likely. Of samples that hear a voice too, `without_mouth` lack the mouth alone:
    the way such models are used.
    """

    enabled: bool = True
    keep_all: float = 0.3
    without_mouth: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.keep_all <= 1 or not 0 <= self.without_mouth <= 1:
            raise OptionsError(f"Shares of landmark selection must be between 0 and 1: {self}.")

    def draw(self, draw: torch.Generator, *, voiced: bool = False) -> frozenset[str]:
        """Parts of `landmarks.mesh.PARTS`; never none at all, which is what dropout is for."""
        choice, number = torch.rand(2, generator=draw).tolist()
        order = torch.randperm(len(GROUPS), generator=draw).tolist()
        if not self.enabled:
            return ALL
        if voiced and choice < self.without_mouth:
            return ALL - GROUPS["mouth"]
        rest = (choice - self.without_mouth) / (1 - self.without_mouth) if voiced else choice
        if rest < self.keep_all:
            return ALL
        names = list(GROUPS)
        dropped = [GROUPS[names[i]] for i in order[: 1 + int(number * (len(GROUPS) - 1))]]
        return ALL.difference(*dropped)

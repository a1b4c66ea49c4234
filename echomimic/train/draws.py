"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, stage: str, index: int) -> torch.Generator:
    """The source of everything random in one training sample.

    It depends on the three values alone, so a run that is resumed, or spread over more processes
    or workers, draws the same samples.
    """
    digest = hashlib.blake2b(f"{seed}/{stage}/{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)

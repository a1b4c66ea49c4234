"""Where half precision is worth it."""

from __future__ import annotations

import torch


def is_quick_in_bfloat16(device: torch.device | str) -> bool:
    """Whether `device` computes in bfloat16 by instructions of its own.

    GPUs do. A CPU without them is many times slower than in float32 (a training step of the
    built-in VAE on an AVX2 machine: 18 times).
    """
    if torch.device(device).type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()

"""In which half precisions a device computes quickly."""

from __future__ import annotations

import torch


def computes_quickly(device: torch.device | str, dtype: torch.dtype) -> bool:
    """Whether `dtype` is no slower than float32 by its nature on `device`.

    GPUs have half precision in hardware. A CPU without instructions for it is many times slower
    than in float32 (a training step of the built-in VAE in bfloat16 on an AVX2 machine: 18 times).
    """
    if torch.device(device).type != "cpu" or dtype not in (torch.float16, torch.bfloat16):
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.float16:
        return torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()

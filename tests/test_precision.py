"""Where half precision is worth it."""

from __future__ import annotations

import pytest
import torch

from echomimic.models.precision import computes_quickly

HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
def test_devices_other_than_cpus_are_quick_in_half_precision(dtype):
    assert computes_quickly("cuda", dtype)
    assert computes_quickly(torch.device("mps"), dtype)


def test_float32_is_what_a_cpu_is_quick_in():
    assert computes_quickly("cpu", torch.float32)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_cpu_without_the_library_for_half_precision_is_slow_in_it(dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_quickly("cpu", dtype)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="needs x86"
)
def test_an_x86_processor_is_quick_in_bfloat16_if_it_has_avx512():
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert computes_quickly("cpu", torch.bfloat16) == has_avx512

"""Where half precision is worth it."""

import pytest
import torch

from echomimic.models.precision import is_quick_in_bfloat16

PROCESSOR = torch.backends.cpu.get_cpu_capability()


def test_devices_other_than_cpus_are_quick_in_bfloat16():
    assert is_quick_in_bfloat16("cuda")
    assert is_quick_in_bfloat16(torch.device("mps"))


def test_a_cpu_without_the_library_for_it_is_slow_in_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not is_quick_in_bfloat16("cpu")


@pytest.mark.skipif(PROCESSOR not in ("AVX2", "AVX512"), reason="needs an x86 processor")
def test_an_x86_processor_is_quick_in_bfloat16_if_it_has_avx512():
    assert is_quick_in_bfloat16("cpu") == (PROCESSOR == "AVX512")

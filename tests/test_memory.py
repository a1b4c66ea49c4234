"""Free memory is found wherever the system tells it, and lack of it is recognised."""

import pytest
import torch

from echomimic.models.memory import (
    _available_ram,
    _free_in_cgroup,
    free_memory,
    is_out_of_memory,
    release_cached_memory,
)


def write_cgroup(root, limit, used, stat):
    for name, text in (("memory.max", limit), ("memory.current", used), ("memory.stat", stat)):
        (root / name).write_text(text + "\n")


def test_the_cpu_has_some_memory_but_not_more_than_the_machine():
    free = free_memory("cpu")

    assert 0 < free < 2**50
    assert free_memory(torch.device("cpu")) == pytest.approx(free, rel=0.5)


def test_available_memory_is_read_from_meminfo(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    4096 kB\n")

    assert _available_ram(meminfo) == 4096 * 1024


def test_without_meminfo_the_system_is_asked_otherwise(tmp_path):
    assert _available_ram(tmp_path / "absent") > 0


def test_the_limit_of_a_container_counts_and_its_file_cache_is_free(tmp_path):
    write_cgroup(tmp_path, "1000", "700", "anon 300\ninactive_file 250\nactive_file 150")

    assert _free_in_cgroup(tmp_path) == 1000 - 700 + 250


def test_a_container_beyond_its_limit_has_nothing_left(tmp_path):
    write_cgroup(tmp_path, "1000", "1200", "inactive_file 0")

    assert _free_in_cgroup(tmp_path) == 0


def test_the_older_layout_of_container_limits_is_read(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("700\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 100\n")

    assert _free_in_cgroup(tmp_path) == 400


def test_no_limit_is_no_limit(tmp_path):
    assert _free_in_cgroup(tmp_path) is None
    write_cgroup(tmp_path, "max", "700", "inactive_file 250")
    assert _free_in_cgroup(tmp_path) is None


def test_the_smaller_of_machine_and_container_is_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("echomimic.models.memory.CGROUP", tmp_path)
    write_cgroup(tmp_path, "1000", "700", "inactive_file 0")

    assert free_memory("cpu") == 300


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_the_cpu_allocator_running_out_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert is_out_of_memory(caught.value)


def test_a_cpu_has_nothing_cached_to_release():
    release_cached_memory("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_cached_on_a_gpu_counts_as_free():
    release_cached_memory("cuda")
    before = free_memory("cuda")
    tensor = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    assert free_memory("cuda") <= before - 2**28 + 2**24

    del tensor

    assert free_memory("cuda") == pytest.approx(before, abs=2**26)

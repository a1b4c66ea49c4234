"""Reading checkpoint files: every damage is a sentence, and nothing in a file ever runs."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from echomimic.errors import WeightsError
from echomimic.weights.read import read_state


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_and_safetensors_files_hold_the_same_tensors(tmp_path):
    state = {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors", {"made": "here"})

    pickled, _ = read_state(tmp_path / "a.pth")
    safe, metadata = read_state(tmp_path / "a.safetensors")

    torch.testing.assert_close(pickled, state, rtol=0, atol=0)
    torch.testing.assert_close(safe, state, rtol=0, atol=0)
    assert metadata == {"made": "here"}


def test_files_of_old_torch_are_read(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)

    assert read_state(tmp_path / "a.pth")[0]["a"].tolist() == [0, 1, 2]


def test_wrapped_tensors_are_unwrapped(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "a.ckpt")

    assert list(read_state(tmp_path / "a.ckpt")[0]) == ["a"]


@pytest.mark.parametrize("kind", ["zip", "old torch", "bare pickle"])
def test_executable_pickles_are_refused_in_one_sentence_and_never_run(tmp_path, kind, recwarn):
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"a": torch.ones(2), "b": Bomb(mark)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")

    with pytest.raises(WeightsError, match=r"evil\.pth holds executable pickle content"):
        read_state(path)

    assert not mark.exists()
    assert not recwarn.list
    torch.load(path, weights_only=False) if kind != "bare pickle" else pickle.loads(
        path.read_bytes()
    )
    assert mark.exists()  # the bomb is a real one


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_a_sentence_that_names_it(tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    state = {f"layer.{i}": torch.randn(40, 40) for i in range(20)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])

    with pytest.raises(WeightsError, match=r"cut\.\w+ .*download it again"):
        read_state(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_a_file_of_something_else_is_a_sentence(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_text("<html>Too many requests</html>" * 50)

    with pytest.raises(WeightsError, match=r"page\.\w+ .*download it again"):
        read_state(path)


@pytest.mark.parametrize("old", [True, False])
def test_no_damaged_byte_escapes_as_another_error(tmp_path, old):
    path = tmp_path / "worn.pth"
    state = {f"layer.{i}.weight": torch.randn(2) for i in range(3)}
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    content = path.read_bytes()
    for place in torch.randint(len(content), (150,), generator=torch.manual_seed(0)).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_state(path)
        except WeightsError as error:
            assert "worn.pth" in str(error)  # the message names the file


@pytest.mark.parametrize("content", [torch.ones(2), [1, 2], {}, {"epoch": 3}])
def test_pickles_without_named_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")

    with pytest.raises(WeightsError, match=r"odd\.pth is not a checkpoint"):
        read_state(tmp_path / "odd.pth")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.pth", "w") as archive:
        archive.writestr("readme.txt", "no tensors here")

    with pytest.raises(WeightsError, match=r"odd\.pth is damaged"):
        read_state(tmp_path / "odd.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth does not exist"):
        read_state(tmp_path / "none.pth")

"""Every node with every kind of input: a result, or one sentence that says what to change."""

import pytest
import torch
from fuzzing import cases, ends_well
from hypothesis import given
from node_values import World, module, node_ids

EXAMPLES = 40  # per node
SLOW = {
    "EchoMimicSampler": 10, "EchoMimicPuppet": 8, "EchoMimicModelLoader": 4,
    "EchoMimicExampleInputs": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(pack, tmp_path_factory):
    return World(pack, tmp_path_factory.mktemp("world"))


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    """ComfyUI's folders for files, in one that holds nothing else."""
    import folder_paths

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


def test_all_nodes_are_tried(pack):
    assert set(node_ids()) == set(pack)


@pytest.mark.parametrize("name", node_ids())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_input_makes_a_node_crash(pack, world, folders, name):
    values, unknown = world.of_node(name)
    if unknown:
        pytest.skip(f"node_values.py knows no values of type {', '.join(unknown)}")

    @cases(SLOW.get(name, EXAMPLES))
    @given(values)
    @torch.inference_mode()
    def run(chosen):
        ends_well(
            lambda: pack[name].execute(**chosen), error=module("echomimic.errors").EchoMimicError
        )

    run()
    assert {path.name for path in folders.iterdir()} == {"input", "output", "temp"}

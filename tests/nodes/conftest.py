"""ComfyUI for the tests of the nodes: found, or every test here is skipped with the reason."""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import ROOT

COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
NEEDED = ("aiohttp", "torchsde", "comfy_kitchen", "diffusers", "av")


def missing_reason() -> str | None:
    if not (COMFYUI / "comfy").is_dir():
        return f"there is no ComfyUI in {COMFYUI} (set COMFYUI_PATH)"
    missing = [name for name in NEEDED if find_spec(name) is None]
    return f"this environment lacks {', '.join(missing)} for ComfyUI" if missing else None


def pytest_collection_modifyitems(items):
    reason = missing_reason()
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.comfyui)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A models folder of ComfyUI with a tiny random set of the audio variants."""
    from echomimic.weights.random_weights import make_random

    folder = tmp_path_factory.mktemp("models")
    make_random(folder / "echo_mimic", "tiny", ["audio", "audio_acc"])
    return folder


@pytest.fixture(scope="session")
def pack(models):
    """The pack as ComfyUI's own loader makes it: node classes by id, in this process."""
    sys.path.insert(0, str(COMFYUI))  # before ours, else `import nodes` finds our folder
    from comfy.cli_args import args

    args.cpu = True  # before anything asks for a device
    import folder_paths

    import nodes

    folder_paths.models_dir = str(models)
    assert asyncio.run(nodes.load_custom_node(str(ROOT), module_parent="custom_nodes"))
    return {name: node for name, node in nodes.NODE_CLASS_MAPPINGS.items() if "EchoMimic" in name}

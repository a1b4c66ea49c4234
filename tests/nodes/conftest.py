"""ComfyUI for the tests of the nodes: found, or every test here is skipped with the reason."""

import asyncio
import os
import sys
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from comfy_server import Server
from page import browser_or_reason
from PIL import Image
from support import ROOT

COMFYUI = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
FPS, SECONDS, SIZE = 24, 0.8, 64
FRAMES = 20  # ceil(0.8 * 24)
WHISPER = "audio_processor/whisper_tiny.pt"
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
    """A models folder of ComfyUI with tiny random sets."""
    from echomimic.weights.random_weights import make_random

    folder = tmp_path_factory.mktemp("models")
    make_random(folder / "echo_mimic", "tiny", ["audio", "audio_acc", "landmark_acc"])
    return folder


@pytest.fixture(scope="session")
def pack(models):
    """The pack as ComfyUI's own loader makes it: node classes by id, in this process."""
    sys.path.insert(0, str(COMFYUI))  # before ours, else `import nodes` finds our folder
    from comfy.cli_args import args

    args.cpu = args.use_pytorch_cross_attention = True  # before anything asks for a device
    import folder_paths

    import nodes

    folder_paths.models_dir = str(models)
    assert asyncio.run(nodes.load_custom_node(str(ROOT), module_parent="custom_nodes"))
    return {name: node for name, node in nodes.NODE_CLASS_MAPPINGS.items() if "EchoMimic" in name}


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """A running ComfyUI with the models, a picture and a voice."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "input").mkdir()
    (base / "models").mkdir()
    (base / "models/echo_mimic").symlink_to(models / "echo_mimic")
    Image.effect_noise((96, 128), 60).convert("RGB").save(base / "input/portrait.png")
    _write_voice(base / "input/voice.wav")
    with Server(COMFYUI, base, ROOT) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> dict[str, str]:
    """Where the browser and its driver are; skips where they are not."""
    found = browser_or_reason()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def _write_voice(path) -> None:
    rate = 22_050
    time = np.arange(round(SECONDS * rate)) / rate
    samples = 8000 * np.sin(2 * np.pi * 140 * time) * np.sin(2 * np.pi * 3 * time)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())

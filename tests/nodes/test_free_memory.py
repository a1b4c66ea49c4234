"""A real server that switches between models and is told to free its memory keeps its size."""

import json
import time
from pathlib import Path
from urllib.request import Request, urlopen

from conftest import WHISPER
from test_server import _completed, _node

MODELS = ("denoising_unet.pth", "denoising_unet_acc.pth")
TURNS, SETTLED = 10, 4
ALLOWED = 40 * 2**20  # bytes; a set of these tiny networks kept each time would be over 100 MB


def graph(model: str, node_info: dict) -> dict:
    """Two frames of a puppet, from the weights to pictures, by the stock KSampler."""
    nodes = {
        "puppet": _node("EchoMimicPuppet", length=2, size=64),
        "loader": _node("EchoMimicModelLoader", model=model, dtype="fp32"),
        "whisper": _node("EchoMimicAudioEncoderLoader", audio_encoder=WHISPER),
        "voice": _node(
            "EchoMimicAudioEncode", audio_encoder=["whisper", 0], audio=["puppet", 2], length=2
        ),
        "portrait": _node(
            "EchoMimicPortrait", image=["puppet", 0], face_box=["puppet", 1], width=64, height=64
        ),
        "clip": _node(
            "EchoMimicConditioning",
            model=["loader", 0],
            reference_unet=["loader", 1],
            landmark_encoder=["loader", 2],
            vae=["loader", 3],
            portrait=["portrait", 0],
            audio_track=["voice", 0],
        ),
        "sampler": _node(
            "KSampler",
            model=["loader", 0],
            positive=["clip", 0],
            negative=["clip", 1],
            latent_image=["clip", 2],
            steps=1,
            sampler_name="euler",
            scheduler="simple",
        ),
        "decode": _node("VAEDecode", samples=["sampler", 0], vae=["loader", 3]),
        "show": _node("PreviewImage", images=["decode", 0]),
    }
    return _completed(nodes, node_info)


def resident(process: int) -> int:
    """Bytes of main memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096


def free(server) -> None:
    body = json.dumps({"unload_models": True, "free_memory": True}).encode()
    headers = {"Content-Type": "application/json"}
    urlopen(Request(f"{server.url}/free", data=body, headers=headers))
    time.sleep(1.5)  # the server looks at it once a second


def test_switching_and_freeing_ten_times_does_not_grow_the_server(server):
    info, held = server.get("/object_info"), []
    for turn in range(TURNS):
        run = server.run(graph(MODELS[turn % 2], info))
        assert run.error() is None
        assert "sampler" in run.executed()  # nothing was left in the cache
        free(server)
        held.append(resident(server._process.pid))

    assert max(held[SETTLED:]) - held[SETTLED - 1] < ALLOWED, [size >> 20 for size in held]

"""Our sampler and KSampler in one graph on real servers: previews, and weights of half size."""

from io import BytesIO

import numpy as np
import pytest
from comfy_server import MINI_SAMPLER, Server, both_samplers_graph
from conftest import COMFYUI
from PIL import Image
from safetensors.torch import load_file
from support import ROOT

FRAMES, STEPS = 3, 2
KEPT = {MINI_SAMPLER: "ours kept", "stock": "stock kept"}
# Root mean square of the difference to float32, in standard deviations of the latents.
WITHIN = {"fp16": 1e-3, "bf16": 1e-2}


def latents(server, run) -> dict:
    """What each of the samplers made, (f, 4, h, w), and that both were asked."""
    assert run.error() is None
    assert KEPT.keys() <= run.executed()
    return {
        name: load_file(server.file(run, kept))["latent_tensor"].float()
        for name, kept in KEPT.items()
    }


@pytest.fixture(scope="module")
def graph(server):
    return both_samplers_graph(server.get("/object_info"), length=FRAMES, steps=STEPS)


@pytest.fixture(scope="module")
def run(server, graph):
    return server.run(graph)


@pytest.fixture(scope="module")
def exact(server, run):
    assert "manual cast: None" in server.log.read_text()
    return latents(server, run)


def test_ksampler_keeps_its_preview(run):
    """A picture of the first frame at every step, drawn by ComfyUI itself."""
    drawn = [Image.open(BytesIO(data)) for node, data in run.pictures if node == "stock"]

    assert len(drawn) >= STEPS
    first, last = (np.asarray(image.convert("L"), float) for image in (drawn[0], drawn[-1]))
    assert first.shape == last.shape == (512, 512)
    assert last.std() > 5  # something is to be seen
    assert np.abs(first - last).mean() > 1  # and it becomes another


@pytest.mark.parametrize("kind", WITHIN)
def test_a_server_with_weights_of_half_size_makes_the_same_clip(exact, graph, tmp_path, kind):
    with Server(COMFYUI, tmp_path, ROOT, f"--{kind}-unet") as half:
        made = latents(half, half.run(graph))
        stored = {"fp16": "float16", "bf16": "bfloat16"}[kind]
        assert f"dtype torch.{stored}, manual cast: torch.float32" in half.log.read_text()

    for name, latent in made.items():
        assert latent.isfinite().all()
        error = (latent - exact[name]).square().mean().sqrt() / exact[name].std()
        assert error < WITHIN[kind], name

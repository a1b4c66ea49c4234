"""What a GPU computes is what the CPU computes. Skipped where there is none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("cv2")

from accelerate import PartialState
from accelerate.state import AcceleratorState
from test_mini import FRAMES, PERSON, VOICED, portrait, voice
from test_train_stages import OPTIONS, RECIPE

from echomimic.config import SamplingOptions
from echomimic.models.memory import free_memory
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.train.loop import train_stage
from echomimic.train.make_puppets import make_puppets
from echomimic.train.stages import make_stage

DEVICE = torch.accelerator.current_accelerator(check_available=True)
pytestmark = pytest.mark.skipif(DEVICE is None, reason="there is no GPU or other accelerator")
STEPS = 6
TRUTH = PuppetClip(PERSON, FRAMES, motion="calm", spoken=VOICED)


@pytest.fixture(autouse=True)
def exact():
    """Full float32, where the device would round inputs of products to fewer bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def made(device, dtype=torch.float32):
    """Latents and frames of a clip by the voice alone."""
    model = EchoMimic.mini(device=device, dtype=dtype)
    conditions = model.encode_conditions(portrait(model, TRUTH), voice(model, TRUTH))
    options = SamplingOptions.for_variant(model.variant, num_inference_steps=STEPS)
    latents = model.sample(conditions, options)
    return latents, np.concatenate(list(model.frames(latents)))


@pytest.fixture(scope="module")
def on_cpu():
    return made("cpu")


def test_a_clip_is_the_same_as_on_the_cpu(on_cpu):
    latents, frames = made(DEVICE)
    assert (latents - on_cpu[0]).norm() / on_cpu[0].norm() < 1e-3
    assert np.abs(frames.astype(int) - on_cpu[1]).max() <= 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_makes_nearly_the_same_clip(on_cpu, dtype):
    _, frames = made(DEVICE, dtype)
    assert np.abs(frames.astype(int) - on_cpu[1]).mean() < 2


def test_the_networks_leave_the_device_after_their_work(on_cpu):
    torch.accelerator.empty_cache()
    before = free_memory(DEVICE)
    made(DEVICE)
    torch.accelerator.empty_cache()
    assert free_memory(DEVICE) >= before - 2**26


def losses(data, folder, name, models):
    AcceleratorState._reset_state(reset_partial_state=True)
    stage = make_stage(name, RECIPE, data, models)
    options = replace(RECIPE.stages[name], learning_rate=1e-5)
    train_stage(stage, options, folder / name)
    lines = map(json.loads, (folder / name / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "training"]


def test_every_stage_learns_the_same_as_on_the_cpu(tmp_path, monkeypatch):
    make_puppets(tmp_path / "data", 16, OPTIONS, workers=1)
    for name in RECIPE.stages:
        found = losses(tmp_path / "data", tmp_path / "device", name, tmp_path / "cpu/models")
        assert PartialState().device.type == DEVICE.type
        with monkeypatch.context() as patch:  # its networks are what the next stage begins with
            patch.setenv("ACCELERATE_USE_CPU", "1")
            expected = losses(tmp_path / "data", tmp_path / "cpu", name, tmp_path / "cpu/models")
        assert found == pytest.approx(expected, rel=1e-3)
    assert list((tmp_path / "device/models").glob("*.safetensors"))

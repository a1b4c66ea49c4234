"""Schedule, windows, averaging and noise against what the official code gave."""

import json
import re

import pytest
import torch
from support import GOLDEN, golden_json, golden_tensors

from echomimic.config import VARIANTS, Compatibility, SamplingOptions
from echomimic.sampling.context import looped_windows, window_rule
from echomimic.sampling.guidance import guided
from echomimic.sampling.noise import initial_noise
from echomimic.sampling.samplers import sample, windowed
from echomimic.sampling.schedule import make_schedule

KINDS = {"plain": "audio", "acc": "audio_acc", "pose": "landmark", "pose_acc": "landmark_acc"}


def _keys(name, pattern):
    """The match of every tensor name; none where the file is absent, so that one test skips."""
    if not (GOLDEN / name).is_file():
        return [None]
    tensors, _ = golden_tensors(name)
    return [match for key in tensors if (match := re.fullmatch(pattern, key))]


def _id(match):
    return match.string if match else "absent"


@pytest.mark.parametrize("key", _keys("tiny/f_scheduler.safetensors", r"timesteps\.(\d+)"), ids=_id)
def test_timesteps(key):
    tensors, _ = golden_tensors("tiny/f_scheduler.safetensors")

    timesteps = make_schedule("ddim", int(key[1])).timesteps

    assert timesteps == tensors[key.string].tolist()


def test_noise_levels():
    tensors, _ = golden_tensors("tiny/f_scheduler.safetensors")

    schedule = make_schedule("ddim", len(tensors["alphas_cumprod"]))  # every level once

    alphas = torch.tensor(schedule.alphas).flip(0)
    torch.testing.assert_close(alphas, tensors["alphas_cumprod"], rtol=0, atol=1e-5)
    assert schedule.next_alphas[-1] == tensors["final_alpha_cumprod"]


@pytest.mark.parametrize(
    "key", _keys("tiny/f_scheduler.safetensors", r"toy\.(\w+)\.(\d+)\.x"), ids=_id
)
def test_toy_trajectories(key):
    """The toy model is v = 0.3 x + 0.1 t / 1000 + 0.2 bias."""
    tensors, _ = golden_tensors("tiny/f_scheduler.safetensors")
    noise, bias = (tensors[name][0].transpose(0, 1) for name in ("toy.x0", "toy.bias"))
    velocities, latents_of_steps = [], []

    def toy(latents, step, t):
        velocities.append(0.3 * latents + 0.1 * t / 1000 + 0.2 * bias)
        return velocities[-1]

    sample(
        toy,
        noise,
        make_schedule("ddim", int(key[2]), official_previous_timestep=True),
        lambda step, latents, clean: latents_of_steps.append(latents),
    )

    for name, ours in (("x", latents_of_steps), ("v", velocities)):
        expected = tensors[f"toy.{key[1]}.{key[2]}.{name}"][:, 0].transpose(1, 2)
        torch.testing.assert_close(torch.stack(ours), expected, rtol=0, atol=1e-5)


def test_windows_of_step_0():
    cases = golden_json("tiny/g_windows.json")["uniform"]

    assert cases
    for name, expected in cases.items():
        num_frames, length, overlap = map(int, re.findall(r"\d+", name))
        assert looped_windows(num_frames, length, overlap) == expected, name


@pytest.mark.parametrize(
    "key",
    _keys("tiny/g_window_average.safetensors", r"(\w+)\.frames(\d+)\.cfg([\d.]+)"),
    ids=_id,
)
def test_window_average(key):
    """The stub returns 1 + position in the window, half of it for unconditional rows."""
    tensors, metadata = golden_tensors("tiny/g_window_average.safetensors")
    context_frames, overlap = map(
        int, re.search(r"context (\d+), overlap (\d+)", metadata["info"]).groups()
    )
    expected = tensors[key.string]  # (step, f)
    row, num_frames, scale = VARIANTS[KINDS[key[1]]], int(key[2]), float(key[3])
    latents = torch.zeros(num_frames, 1, 1, 1)

    def stub(latents, t, windows, conditional):
        place = torch.arange(1.0, latents.shape[1] + 1).view(1, -1, 1, 1, 1)
        rows = torch.tensor([1.0 if row else 0.5 for row in conditional]).view(-1, 1, 1, 1, 1)
        return (rows * place).expand_as(latents)

    predict = windowed(
        guided(stub, scale),
        window_rule(
            "looped", num_frames, context_frames, overlap, row.window_shift, rotate_single=True
        ),
        divide=scale > 1 or row.divides_overlaps_always,
        batch=3,
    )

    tolerance = 1e-4 if "acc" in key[1] else 1e-5
    for step, average in enumerate(expected):
        ours = predict(latents, step, t=0).flatten()
        torch.testing.assert_close(ours, average, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "name", sorted(path.name for path in GOLDEN.glob("tiny/h_pipe_*.safetensors")) or ["absent"]
)
def test_noise_of_whole_pipelines(name):
    tensors, metadata = golden_tensors(f"tiny/{name}")
    run = json.loads(metadata["info"])["run"]
    options = SamplingOptions(seed=run["seed"], compatibility=Compatibility.parity())
    _, channels, num_frames, height, width = tensors["raw_noise"].shape
    clamp = VARIANTS[KINDS[run["kind"]]].noise_clamp

    for key, limit in (("raw_noise", None), ("init_latents", clamp)):
        noise = initial_noise(options, num_frames, (channels, height, width), limit)
        expected = tensors[key][0].transpose(0, 1)
        torch.testing.assert_close(noise, expected, rtol=0, atol=1e-6)

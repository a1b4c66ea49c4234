"""The plan says what sampling then does, and what to change where it cannot be done."""

from dataclasses import replace

import pytest
import torch

from echomimic.cli import main
from echomimic.config import SamplingOptions, UNetConfig, variant
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.models.unet import UNet
from echomimic.pipeline import EchoMimic
from echomimic.plan import Clip, Machine, make_plan, measure_window, random_conditions
from echomimic.plan_text import duration, plan_text

GIB = 2**30
FULL = UNetConfig()
CPU = Machine(torch.device("cpu"), torch.float32, 64 * GIB, 64 * GIB, 100 * GIB)
GPU = Machine(torch.device("cuda"), torch.float16, 8 * GIB, 64 * GIB, 100 * GIB)
SMALL = UNetConfig(channels=(32, 32), attention=(True, False), layers_per_level=1, audio_dim=16)


def planned(clip=None, machine=CPU, row="audio", **options):
    chosen = SamplingOptions.for_variant(variant(row), **({"window_batch": 1} | options))
    clip = clip or Clip(240, 24.0, (512, 512))
    return make_plan(FULL, variant(row), chosen, clip, machine, weight_bytes=2 * GIB)


@pytest.mark.parametrize(
    ("num_frames", "options"),
    [
        (5, {}),
        (40, {}),
        (40, {"windows": "looped"}),
        (41, {"window_batch": 3, "context_overlap": 5}),
    ],
)
def test_it_counts_the_windows_and_model_calls_that_sampling_makes(num_frames, options):
    torch.manual_seed(0)
    unet, row = UNet(SMALL).eval(), variant("audio")
    clip = Clip(num_frames, 24.0, (32, 32))
    chosen = SamplingOptions.for_variant(row, num_inference_steps=3, **options)
    plan = make_plan(SMALL, row, chosen, clip, CPU, weight_bytes=0)
    denoiser = Denoiser(unet, random_conditions(SMALL, clip), device="cpu", dtype=torch.float32)
    calls, counted = [], []
    unet.register_forward_hook(lambda *_: calls.append(1))
    sample_clip(denoiser, row, chosen, on_window=lambda done, total: counted.append((done, total)))
    assert len(calls) == plan.model_calls
    assert counted[-1] == (plan.total_windows, plan.total_windows)


def test_what_fits_says_so():
    plan = planned()
    assert plan.fits
    assert plan_text(plan).endswith("It fits.")


def test_more_windows_at_once_need_more_memory_and_fewer_calls():
    one, four = planned(), planned(window_batch=4)
    assert four.work_bytes == 4 * one.work_bytes
    assert four.total_windows == one.total_windows
    assert four.model_calls < one.model_calls / 3


@pytest.mark.parametrize(
    ("free", "options", "change"),
    [
        (5, {"window_batch": 4}, "set window_batch to 1"),
        (3.5, {"context_frames": 24}, "set context_frames to 8 and context_overlap to 2"),
        (3, {"context_frames": 8}, "choose a size of 384x384"),
        (2.6, {"context_frames": 8}, "choose a size of 256x256"),
        (1, {}, "close other programs, or take a device with more memory"),
    ],
)
def test_what_does_not_fit_is_told_what_to_change(free, options, change):
    machine = replace(GPU, free_device=int(free * GIB))
    plan = planned(machine=machine, **options)
    assert plan.change == change
    assert not plan.fits
    assert change in plan_text(plan)


def test_the_change_it_names_helps():
    machine = replace(GPU, free_device=5 * GIB)
    assert planned(machine=machine, window_batch=1).fits


def test_a_full_disk_is_noticed():
    plan = planned(machine=replace(CPU, free_disk=1000))
    assert "free disk space" in plan.change


def test_main_memory_grows_with_the_length_and_device_memory_does_not():
    short, long = (planned(Clip(frames, 24.0, (512, 512)), GPU) for frames in (240, 24_000))
    assert long.device_bytes == short.device_bytes
    assert long.main_bytes == pytest.approx(100 * short.main_bytes, rel=0.01)


def test_pictures_in_memory_are_mentioned_where_they_are_many():
    assert "VAE Decode" not in plan_text(planned(Clip(100, 24.0, (512, 512))))
    assert "70.3 GiB with VAE Decode" in plan_text(planned(Clip(24_000, 24.0, (512, 512))))


def test_a_measured_window_gives_the_time():
    plan = planned()
    assert "not measured" in plan_text(plan)
    timed = replace(plan, seconds_per_window=2.0, seconds_per_decoded_frame=0.5)
    assert timed.sampling_seconds == 2.0 * plan.total_windows
    assert duration(timed.sampling_seconds) in plan_text(timed)
    assert "2 min of decoding" in plan_text(timed)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.1, "1 s"), (90, "90 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times_are_said_in_the_unit_that_suits_them(seconds, said):
    assert duration(seconds) == said


def test_a_window_is_measured_as_it_will_be_run():
    """With guidance there are twice the rows, and it takes about twice as long."""
    torch.manual_seed(0)
    unet, clip = UNet(SMALL).eval(), Clip(100_000, 24.0, (64, 64))
    shapes = []
    unet.register_forward_hook(lambda _, given, v: shapes.append(v.shape))
    for cfg in (1.0, 2.0):
        options = SamplingOptions(guidance_scale=cfg, context_frames=8)
        assert measure_window(unet, options, clip, CPU) > 0
    assert [tuple(shape) for shape in shapes] == 2 * [(8, 4, 8, 8)] + 2 * [(16, 4, 8, 8)]


def test_command_plans_for_the_built_in_model(capsys, tmp_path):
    arguments = ["--models=mini", "--variant=joint", "--length=88", "--steps=10"]
    assert main(["plan", *arguments, f"--out={tmp_path}"]) == 0
    said = capsys.readouterr().out
    size = "x".join(map(str, EchoMimic.mini().native.size))
    assert f"88 frames of {size}" in said
    assert "s a window, measured" in said
    assert "It fits." in said


def test_command_needs_a_length_and_a_folder(capsys, tmp_path):
    arguments = ["plan", "--models=mini", "--variant=joint"]
    assert main([*arguments, "--length=0"]) == 1
    assert main([*arguments, "--length=9", f"--out={tmp_path / 'none'}"]) == 1
    assert "create it" in capsys.readouterr().err

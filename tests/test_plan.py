"""The plan says what sampling then does, and what to change where it cannot be done."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from echomimic import segments
from echomimic.cli import main
from echomimic.config import MotionConfig, SamplingOptions, UNetConfig, variant
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.errors import OptionsError, RenderError
from echomimic.models.unet import UNet
from echomimic.pipeline import EchoMimic
from echomimic.plan import Clip, Machine, make_plan, measure_window, random_conditions
from echomimic.plan_text import duration, plan_text
from echomimic.render_folder import RenderFolder

GIB = 2**30
FULL = UNetConfig()
CPU = Machine(torch.device("cpu"), torch.float32, 64 * GIB, 64 * GIB, 100 * GIB)
GPU = Machine(torch.device("cuda"), torch.float16, 8 * GIB, 64 * GIB, 100 * GIB)
SMALL = UNetConfig(channels=(32, 32), attention=(True, False), layers_per_level=1, audio_dim=16)
SEEING = replace(SMALL, motion=MotionConfig(motion_frames=2))  # sees the frames before each window
LONG = Clip(24_000, 24.0, (512, 512))


def planned(clip=None, machine=CPU, row="audio", segment_windows=None, **options):
    chosen = SamplingOptions.for_variant(variant(row), **({"window_batch": 1} | options))
    clip = clip or Clip(240, 24.0, (512, 512))
    facts = {"weight_bytes": 2 * GIB, "segment_windows": segment_windows}
    return make_plan(FULL, variant(row), chosen, clip, machine, **facts)


def tiny(num_frames, config=SMALL, **options):
    """A plan of a tiny model, and what it takes to render that clip: a UNet, its conditions."""
    torch.manual_seed(0)
    unet, row = UNet(config).eval(), variant("audio")
    clip = Clip(num_frames, 24.0, (32, 32))
    windows = options.pop("segment_windows", None)
    chosen = SamplingOptions.for_variant(row, **{"num_inference_steps": 2} | options)
    facts = {"weight_bytes": 0, "segment_windows": windows}
    plan = make_plan(config, row, chosen, clip, CPU, **facts)
    return plan, unet, random_conditions(config, clip)


def counted(unet):
    """Grows by one with each call."""
    calls = []
    unet.register_forward_hook(lambda *_: calls.append(1))
    return calls


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
    plan, unet, conditions = tiny(num_frames, **options)
    denoiser = Denoiser(unet, conditions, device="cpu", dtype=torch.float32)
    calls, windows = counted(unet), []
    sample_clip(
        denoiser, variant("audio"), plan.options, on_window=lambda *event: windows.append(event)
    )
    assert len(calls) == plan.model_calls
    assert windows[-1] == (plan.total_windows, plan.total_windows)


@pytest.mark.parametrize("num_frames", [5, 24, 41])
def test_it_counts_the_calls_of_models_whose_windows_lie_side_by_side(num_frames):
    plan, unet, conditions = tiny(num_frames, SEEING, window_batch=3, context_overlap=5)
    denoiser = Denoiser(unet, conditions, device="cpu", dtype=torch.float32)
    calls, windows = counted(unet), []
    sample_clip(
        denoiser, variant("audio"), plan.options, reference_unet=UNet(SEEING.as_reference()).eval(),
        on_window=lambda *event: windows.append(event),
    )  # fmt: skip
    assert len(calls) == plan.model_calls == plan.total_windows
    assert windows[-1] == (plan.total_windows, plan.total_windows)


def test_what_such_models_cannot_do_is_refused_before_it_is_planned():
    with pytest.raises(OptionsError, match="cannot be rendered in segments"):
        tiny(24, SEEING, segment_windows=2)
    with pytest.raises(OptionsError, match="cannot be looped"):
        tiny(24, SEEING, windows="looped")
    with pytest.raises(OptionsError, match="knows only 30 positions"):
        tiny(40, SEEING, context_frames=31)


def test_such_models_bring_the_reference_unet_to_the_device():
    seeing, plain = tiny(24, SEEING)[0], tiny(24)[0]
    reader = UNet(SEEING.as_reference())
    assert seeing.weight_bytes == sum(p.nbytes for p in reader.parameters())
    assert plain.weight_bytes == 0


@pytest.mark.parametrize(
    ("num_frames", "options"),
    [(30, {"segment_windows": 1}), (33, {"segment_windows": 2, "window_batch": 2}),
     (9, {"segment_windows": 12})],
)  # fmt: skip
def test_it_counts_the_windows_calls_and_disk_of_a_render_in_segments(
    num_frames, options, tmp_path, monkeypatch
):
    plan, unet, conditions = tiny(num_frames, **options)
    folder = RenderFolder.open(tmp_path, {}, plan.segments)
    make_denoiser = partial(Denoiser, unet, device="cpu", dtype=torch.float32)

    def render(free):
        usage = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=free))
        monkeypatch.setattr(segments, "shutil", usage)
        segments.render_segments(
            folder, conditions, variant("audio"), plan.options, make_denoiser,
            on_window=lambda *event: windows.append(event),
        )  # fmt: skip

    calls, windows = counted(unet), []
    with pytest.raises(RenderError, match="The render needs about"):
        render(plan.disk_bytes - 1)
    assert not calls
    render(plan.disk_bytes)
    assert len(calls) == plan.model_calls
    assert windows[-1] == (plan.total_windows, plan.total_windows)
    assert folder.num_finished == len(plan.segments)
    stored = sum(path.stat().st_size for path in folder.path.glob("segment-*"))
    headers = 1000 * len(plan.segments)
    assert stored <= plan.disk_bytes + headers


def test_segments_cost_windows_and_disk_and_save_memory():
    whole, cut = planned(LONG), planned(LONG, segment_windows=12)
    assert cut.more_windows == cut.total_windows - whole.total_windows > 0
    assert (whole.more_windows, whole.segments) == (0, ())
    assert cut.disk_bytes > 5 * whole.disk_bytes
    shorter = planned(Clip(240, 24.0, (512, 512)), segment_windows=12)
    latents = cut.main_bytes - shorter.main_bytes
    assert latents < (whole.main_bytes - shorter.main_bytes) / 10  # what grows is the voice
    assert planned(LONG, segment_windows=0) == whole


def test_the_text_says_what_segments_cost_and_what_a_crash():
    plan = replace(planned(LONG, segment_windows=12), seconds_per_window=2.0)
    text = plan_text(plan)
    assert f"{len(plan.segments)} segments of up to 111 frames" in text
    assert f"{plan.more_windows} windows more than whole" in text
    assert f"a crash while sampling costs {duration(plan.segment_seconds)} at most" in text
    assert plan.segment_seconds < plan.sampling_seconds / 100
    assert "VAE Decode" not in text  # Long Render decodes by itself
    assert "segment" not in plan_text(planned(LONG))


def test_clips_that_cannot_be_cut_are_refused():
    with pytest.raises(OptionsError, match="Looped windows"):
        planned(LONG, segment_windows=12, windows="looped")
    with pytest.raises(OptionsError, match="1 window or more, not -1"):
        planned(LONG, segment_windows=-1)


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
        (
            3,
            {"context_frames": 8, "window_batch": 4},
            "set window_batch to 1 and choose a size of 384x384",
        ),
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
    machine, small = replace(GPU, free_device=3 * GIB), Clip(240, 24.0, (384, 384))
    assert planned(small, machine, context_frames=8, window_batch=1).fits
    assert not planned(small, machine, context_frames=8, window_batch=4).fits


class TestLongClips:
    """Too little RAM: in segments. Too small a disk: elsewhere, or in parts."""

    def test_a_clip_too_long_for_the_ram_is_rendered_in_segments(self):
        machine = replace(GPU, free_main=2 * GIB)
        plan = planned(LONG, machine)
        expected = "render it in segments (EchoMimic Long Render, or --resume-folder)"
        assert plan.change == expected
        assert planned(LONG, machine, segment_windows=12).fits

    def test_both_are_said_where_both_are_missing(self):
        plan = planned(LONG, replace(GPU, free_main=2 * GIB, free_disk=1000))
        ram, disk = plan.change.split("; ")
        assert ram.startswith("render it in segments")
        assert disk == "free disk space, or choose another output folder"

    def test_what_cannot_be_cut_is_made_smaller_or_in_parts(self):
        machine = replace(GPU, free_main=4 * GIB)
        assert planned(LONG, machine, windows="looped").change == "choose a size of 384x384"
        machine = replace(GPU, free_main=GIB // 2)
        plan = planned(LONG, machine, windows="looped")
        assert plan.change == "make the clip in parts of 1500 frames"
        part = replace(LONG, num_frames=1500)
        assert planned(part, machine, windows="looped").fits

    def test_segments_that_are_too_long_are_made_shorter(self):
        machine = replace(GPU, free_main=2 * GIB)
        plan = planned(LONG, machine, segment_windows=10_000)
        assert plan.change == "set segment_windows to 12"

    def test_a_disk_too_small_for_the_video_is_noticed(self):
        plan = planned(machine=replace(CPU, free_disk=1000))
        assert plan.change == "free disk space, or choose another output folder"

    def test_a_disk_too_small_for_segments_can_be_used_for_parts(self):
        machine = replace(CPU, free_disk=2 * GIB)
        assert planned(LONG, machine).fits
        plan = planned(LONG, machine, segment_windows=12)
        assert plan.change == (
            "free disk space, choose another output folder, or make the clip in parts of 12000 "
            "frames"
        )
        videos, part = LONG.video_bytes, replace(LONG, num_frames=12_000)
        left = replace(machine, free_disk=machine.free_disk - videos)
        assert planned(part, left, segment_windows=12).fits


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

"""EchoMimic through ComfyUI's own samplers gives what EchoMimic Sampler gives."""

import pytest
import torch
from stock import FRAMES, OVERLAP, SEED, SIZE, WINDOW, make_clip, module

AGREEMENT = 1e-4  # of latents with variance about 1; the promise is 1e-3


@pytest.fixture(scope="module")
def clips(pack):
    return {
        "audio": make_clip(pack),
        "landmark": make_clip(pack, "denoising_unet_pose_acc.pth"),
    }


@pytest.fixture(scope="module")
def clip(clips):
    return clips["audio"]


@pytest.fixture
def calls(monkeypatch):
    """What each call of the network was given by keyword."""
    network, seen = module("nodes.network").ComfyUNet, []
    predict = network._predict

    def watched(self, x, *args, **conditions):
        seen.append({"rows": len(x), **conditions})
        return predict(self, x, *args, **conditions)

    monkeypatch.setattr(network, "_predict", watched)
    return seen


def agree(one, other, within=AGREEMENT):
    torch.testing.assert_close(one, other, rtol=0, atol=within)


@pytest.mark.parametrize("windows", [None, "open", "looped"])
@pytest.mark.parametrize("cfg", [1.0, 2.5])
@pytest.mark.parametrize("driven_by", ["audio", "landmark"])
def test_ksampler_and_our_sampler_agree(clips, driven_by, cfg, windows):
    clip = clips[driven_by]
    if windows is None:
        ours, model = clip.ours(cfg=cfg, context_frames=FRAMES), clip.model()
    else:
        ours, model = clip.ours(cfg=cfg, windows=windows), clip.windowed(windows)

    agree(clip.stock(model, cfg=cfg), ours)


@pytest.mark.parametrize("steps", [1, 5])
def test_they_agree_whatever_the_number_of_steps(clip, steps):
    agree(clip.stock(steps=steps), clip.ours(steps=steps, context_frames=FRAMES))


def test_windows_that_stand_still_give_another_clip(clip, monkeypatch):
    handler = module("nodes.context_windows").IndexListContextHandler
    monkeypatch.setattr(handler, "set_step", lambda *_: None)

    still = clip.stock(clip.windowed("open"))

    assert (still - clip.ours()).abs().max() > 100 * AGREEMENT


def test_windows_are_those_of_the_official_rule(clip):
    windows = module("echomimic.sampling.context")
    node = clip.pack["EchoMimicContextWindows"]
    for kind in ("open", "looped"):
        model = node.execute(clip.model(), kind, context_frames=12, context_overlap=3)[0]
        handler = model.model_options["context_handler"]
        rule = windows.window_rule(kind, 40, 12, 3, shift=2)
        for step in range(3):
            handler._step = step
            assert handler.context_schedule.func(40, handler, {}) == rule(step)
    assert "context_handler" not in clip.model().model_options


def manual(model, **choices):
    """Core's Context Windows (Manual), with the inputs that this version has."""
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode as Node

    settings = {
        "context_length": WINDOW, "context_overlap": OVERLAP, "context_schedule": "standard_static",
        "context_stride": 1, "closed_loop": False, "fuse_method": "flat", "dim": 0,
        "freenoise": False,
    } | choices  # fmt: skip
    known = {item.id for item in Node.define_schema().inputs}
    return Node.execute(model, **{k: v for k, v in settings.items() if k in known})[0]


def test_context_windows_of_core_give_the_same_where_the_windows_are_the_same(clip):
    model = manual(clip.model(), causal_window_fix=False)
    agree(clip.stock(model, steps=1), clip.ours(steps=1))


def test_every_row_knows_its_frame_however_windows_are_laid(clip, calls):
    clip.stock(manual(clip.model()), steps=1)

    lengths = [call["num_frames"] for call in calls]
    assert lengths in ([WINDOW, WINDOW], [WINDOW, WINDOW + 1])  # since 0.21 the frame before, too
    tokens = clip.conditioning()[0][0][1]["echomimic"].conditions.audio.tokens
    last = range(FRAMES - lengths[-1], FRAMES)
    torch.testing.assert_close(calls[-1]["audio_tokens"], tokens(last))


def test_one_call_holds_both_halves_and_the_reference_once(clip, calls):
    clip.stock(clip.windowed("open"))

    assert {call["rows"] for call in calls} == {2 * WINDOW}
    first = calls[0]["reference_features"]
    for call in calls:
        assert sorted(call["conditional"]) == [False, True]
        assert len(call["audio_tokens"]) == WINDOW
        for name, features in call["reference_features"].items():
            assert len(features) == 1
            assert features.data_ptr() == first[name].data_ptr()


def test_halves_that_do_not_fit_together_go_one_by_one(clip, calls, monkeypatch):
    together = clip.stock(steps=1)
    model = module("nodes.model").EchoMimicModel
    monkeypatch.setattr(model, "memory_required", lambda *_, **__: 1e20)

    agree(clip.stock(steps=1), together)

    assert [call["rows"] for call in calls] == [2 * FRAMES, FRAMES, FRAMES]


def test_without_guidance_only_the_positive_runs(clip, calls):
    clip.stock(cfg=1.0)
    assert [call["conditional"] for call in calls] == [[True], [True]]


@torch.inference_mode()
def test_the_nodes_for_advanced_sampling_run(clip):
    from comfy_extras import nodes_custom_sampler as custom

    positive, negative, latent = clip.conditioning()
    model = clip.windowed("open")
    noise = clip.pack["EchoMimicNoise"].execute(model, SEED)[0]
    guider = custom.CFGGuider.execute(model, positive, negative, 2.5)[0]
    sigmas = custom.BasicScheduler.execute(model, "simple", 2, 1.0)[0]
    sampler = custom.KSamplerSelect.execute("euler")[0]

    made = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]

    agree(made["samples"] * 0.18215, clip.ours())


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "uni_pc", "euler_ancestral", "dpmpp_2m_sde"])
def test_other_samplers_run(clip, sampler):
    made = clip.stock(sampler=sampler, steps=3)
    assert made.isfinite().all()
    assert 0.1 < made.std() < 10


def test_the_model_is_told_the_timesteps_of_ddim(clip, monkeypatch):
    told, model = [], clip.model().model.diffusion_model
    before = model.register_forward_pre_hook(lambda _, args: told.append(float(args[1][0])))
    try:
        clip.stock(steps=4, cfg=1.0)
    finally:
        before.remove()
    assert told == [999, 749, 499, 249]


def test_both_samplers_use_the_very_same_network(clip):
    import comfy.model_management as management

    network, calls = clip.model().model, []
    watch = network.diffusion_model.register_forward_hook(lambda *_: calls.append(1))
    try:
        clip.ours(steps=1)
        after_ours = len(calls)
        clip.stock(steps=1)
    finally:
        watch.remove()

    assert (after_ours, len(calls)) == (2, 3)  # two windows; the whole clip
    loaded = [entry.model.model for entry in management.current_loaded_models]
    assert sum(model is network for model in loaded) == 1


def test_the_latent_is_empty_and_has_every_frame(clip):
    positive, negative, latent = clip.conditioning()
    assert latent["samples"].shape == (FRAMES, 4, SIZE // 8, SIZE // 8)
    assert not latent["samples"].any()
    assert positive[0][1].keys() == negative[0][1].keys()


def test_noise_is_that_of_the_frame(clip, clips):
    def drawn(clip, frames, **more):
        noise = clip.pack["EchoMimicNoise"].execute(clip.model(), SEED)[0]
        return noise.generate_noise({"samples": torch.zeros(frames, 4, 16, 16), **more})

    long = drawn(clips["landmark"], 30)
    torch.testing.assert_close(drawn(clips["landmark"], 3), long[:3])
    torch.testing.assert_close(drawn(clips["landmark"], 2, batch_index=[5, 9]), long[[5, 9]])
    torch.testing.assert_close(drawn(clip, 30), long.clamp(-1.5, 1.5))


def test_mistakes_are_explained(clip, clips):
    positive, negative, latent = clip.conditioning()
    foreign = [[torch.zeros(1, 77, 768), {}]]
    small = {"samples": latent["samples"][..., :8]}
    short = {"samples": latent["samples"][:4]}
    area = [[None, positive[0][1] | {"area": (4, 4, 0, 0), "strength": 1.0}]]
    other = clips["landmark"].conditioning()
    for conditions, sentence in (
        ((positive, foreign, latent), "connect positive and negative of that node"),
        ((positive, negative, short), "has 4 frames but the conditions are for 7"),
        ((positive, negative, small), "given 64x128 pixels but its conditions are for 128x128"),
        ((area, negative, latent), "use no areas"),
        (other, "for the variant 'landmark_acc' but the model is 'audio'"),
    ):
        with pytest.raises(module("echomimic.errors").OptionsError, match=sentence):
            clip.stock(conditions=conditions)


def test_clips_longer_than_the_motion_modules_can_count_need_windows(pack, clip):
    options = module("echomimic.errors").OptionsError
    long = make_clip(pack, frames=40)
    with pytest.raises(options, match="frames at once .* put EchoMimic Context Windows"):
        long.stock(steps=1)
    with pytest.raises(options, match="must be smaller than context_frames"):
        pack["EchoMimicContextWindows"].execute(clip.model(), "open", 12, 12)


def test_units_are_straight_lines_from_clip_to_noise(clip):
    sampling = clip.model().model.model_sampling
    shares = sampling.sigmas
    alphas = module("echomimic.sampling.schedule").alphas_cumprod()
    assert shares[-1] == 1
    assert (shares.diff() > 0).all()
    torch.testing.assert_close(sampling.timestep(shares), torch.arange(1000))
    generator = torch.Generator().manual_seed(1)
    x0, noise = torch.randn(2, 1000, 4, 2, 2, generator=generator)
    a = alphas.view(-1, 1, 1, 1)
    carried = sampling.noise_scaling(shares, noise, x0)
    seen, v = a.sqrt() * x0 + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x0
    torch.testing.assert_close(sampling.calculate_input(shares, carried), seen)
    torch.testing.assert_close(sampling.calculate_denoised(shares, v, carried), x0)

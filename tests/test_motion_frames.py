"""Models that see the two frames before a window, in training and in sampling alike."""

import json
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("cv2")

from test_denoiser import AUDIO, conditions, options
from test_unet import CONFIG, make

from echomimic.config import MotionConfig, SamplingOptions
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.errors import OptionsError, WeightsError
from echomimic.pipeline import EchoMimic
from echomimic.sampling.samplers import sample_in_turn
from echomimic.sampling.schedule import make_schedule
from echomimic.train.clips import Dataset
from echomimic.train.conditioned import ConditionedTraining, Objective
from echomimic.train.dropout import Dropout
from echomimic.train.loop import train_stage
from echomimic.train.make_puppets import PuppetOptions, make_puppets
from echomimic.train.recipe import Recipe, StageOptions
from echomimic.train.samples import SampleSettings, SampleSource
from echomimic.train.stages import make_stage
from echomimic.train.start import fill_motion
from echomimic.weights.files import find_models
from echomimic.weights.networks import read_denoising_unet
from echomimic.weights.random_weights import TINY
from echomimic.weights.settings import METADATA_KEY, stated_motion_frames

SEEING = replace(CONFIG, motion=MotionConfig(num_heads=2, max_frames=8, motion_frames=2))
FRAMES = 3


def shaken(config=SEEING):
    """A UNet whose motion modules do something."""
    return make(config).requires_grad_(False)


def reader():
    torch.manual_seed(9)
    return make(CONFIG.as_reference()).requires_grad_(False)


def features(clips=1, size=(8, 8), seed=5):
    """Features of two frames before each clip, (clips, 2, m, d) by block name."""
    torch.manual_seed(seed)
    known, _ = reader().reference_features(torch.randn(2 * clips, 4, *size))
    return {name: feature.unflatten(0, (clips, 2)) for name, feature in known.items()}


def latents(clips=1, size=(8, 8)):
    torch.manual_seed(2)
    return torch.randn(clips * FRAMES, 4, *size)


def test_no_parameter_is_added():
    assert list(make(SEEING).state_dict()) == list(make(CONFIG).state_dict())


def test_frames_before_a_clip_change_it_and_left_out_they_are_zeros():
    unet, known = shaken(), features()
    zeros = {name: torch.zeros_like(feature) for name, feature in known.items()}
    call = partial(unet, latents(), 500, num_frames=FRAMES)
    assert torch.equal(call(motion=zeros), call())
    assert (call(motion=known) - call()).abs().max() > 1e-3
    swapped = {name: feature.flip(1) for name, feature in known.items()}
    assert (call(motion=known) - call(motion=swapped)).abs().max() > 1e-4  # they have places


def test_they_stand_at_the_first_positions_of_the_motion_module_and_are_cut_off():
    """The motion module of one layer, computed on the longer clip by hand."""
    unet, known, width = shaken(), features(size=(6, 4)), CONFIG.channels[0]
    seen = []
    module = unet.down_blocks[0].motion_modules[0]
    original = module.temporal_transformer.forward
    module.temporal_transformer.forward = lambda x, n, attention: (
        seen.append((x, n, original(x, n, attention))) or seen[-1][2]
    )
    unet(latents(size=(6, 4)), 500, num_frames=FRAMES, motion=known)
    x, length, y = seen[0]
    assert (length, len(x), len(y)) == (FRAMES + 2, FRAMES + 2, FRAMES + 2)
    name = unet.down_blocks[0].attentions[0].transformer_blocks[0].name
    tokens = known[name][0]  # (2, h w, d), rows of the picture after each other
    assert torch.equal(x[:2], tokens.transpose(1, 2).reshape(2, width, 6, 4))


def test_levels_without_a_transformer_see_the_clip_alone():
    unet, lengths = shaken(), []
    for level in unet.down_blocks:
        for module in level.motion_modules:
            module.register_forward_pre_hook(
                lambda _, args: lengths.append(None if args[2] is None else args[2].shape[1])
            )
    unet(latents(), 500, num_frames=FRAMES, motion=features())
    assert lengths == [2, None]


@pytest.mark.parametrize("flags", [(True, False), (False, True)])
def test_clips_of_one_call_see_the_frames_before_their_own(flags):
    unet, known = shaken(), features(clips=2)
    together = unet(latents(2), 500, num_frames=FRAMES, conditional=flags, motion=known)
    for clip in range(2):
        own = {name: feature[clip : clip + 1] for name, feature in known.items()}
        rows = latents(2)[clip * FRAMES : (clip + 1) * FRAMES]
        alone = unet(rows, 500, num_frames=FRAMES, conditional=[flags[clip]], motion=own)
        mine = together[clip * FRAMES : (clip + 1) * FRAMES]
        torch.testing.assert_close(mine, alone, atol=1e-5, rtol=1e-5)


class Nothing(torch.nn.Module):
    """Stands in for a network that is not asked."""

    def forward(self, images):
        return torch.zeros(len(images), 8, 8, 8)


def test_training_and_sampling_predict_the_same():
    clip = conditions(8)
    module = ConditionedTraining(
        reader(), shaken(), Nothing(), vae=Nothing(), objective=Objective(spatial_weight=0.0)
    )
    torch.manual_seed(6)
    noisy, before, portrait = (torch.randn(n, 4, 8, 8) for n in (FRAMES, 2, 1))
    frames = [2, 3, 4]
    features_of_portrait, _ = module.reference_unet.reference_features(portrait)
    clip = replace(clip, reference=features_of_portrait, face=torch.zeros(1, 8, 8, 8))
    batch = {
        "reference": portrait, "t": torch.full((1, FRAMES), 500), "motion": before[None],
        "audio": clip.audio.tokens(frames)[None], "landmarks": torch.zeros(1, FRAMES, 1, 64, 64),
        "with_reference": torch.tensor([True]), "with_landmarks": torch.tensor([True]),
    }  # fmt: skip
    denoiser = Denoiser(module.denoising_unet, clip, device="cpu", dtype=torch.float32)
    for shown, finished in ((True, torch.cat([noisy, before])), (False, before[:1])):
        trained = module._predict(noisy, batch | {"with_motion": torch.tensor([shown])})
        motion = denoiser.encode_motion(module.reference_unet, finished)
        sampled = denoiser.predict_v(noisy[None], 500, [frames], [True], motion=motion)[0]
        torch.testing.assert_close(trained, sampled, atol=1e-5, rtol=1e-5)
        assert trained.shape == noisy.shape  # the loss covers the targets alone


def test_windows_go_one_after_another_and_know_what_is_finished():
    asked, shown = [], []

    def after(finished):
        asked.append(finished.clone())
        return lambda rows, t, windows: torch.full_like(rows, float(windows[0][0]))

    noise, calls = torch.randn(7, 1, 2, 2), []
    schedule = make_schedule("ddim", 3)
    clip = sample_in_turn(
        after, noise, schedule, 3, on_window=calls.append, on_step=lambda *of: shown.append(of)
    )
    assert [len(finished) for finished in asked] == [0, 3, 6]
    for finished in asked:
        assert torch.equal(finished, clip[: len(finished)])
    assert calls == list(range(1, 10))
    assert [step for step, _, _ in shown] == [0, 1, 2] * 3
    assert torch.equal(shown[0][1][3:], noise[3:])
    assert shown[0][2][3:].abs().max() == 0
    assert torch.equal(shown[-1][1], clip)


def test_the_sampler_shows_each_window_the_two_frames_before_it(monkeypatch):
    denoiser = Denoiser(shaken(), conditions(11), device="cpu", dtype=torch.float32)
    seen = []
    original = Denoiser.encode_motion

    def watching(self, unet, finished):
        seen.append(finished.clone())
        return original(self, unet, finished)

    monkeypatch.setattr(Denoiser, "encode_motion", watching)
    small, progress = options(guidance_scale=2.0, context_frames=4), []
    clip = sample_clip(
        denoiser, AUDIO, small, reference_unet=reader(),
        on_window=lambda *counts: progress.append(counts),
    )  # fmt: skip
    assert clip.shape == (11, 4, 8, 8)
    assert [len(finished) for finished in seen] == [0, 4, 8]
    torch.testing.assert_close(seen[2], clip[:8])
    assert progress == [(done, 6) for done in range(7)]
    blind = Denoiser(shaken(CONFIG), conditions(11), device="cpu", dtype=torch.float32)
    assert (sample_clip(blind, AUDIO, small) - clip).abs().max() > 1e-3


def test_what_cannot_be_sampled_is_refused():
    denoiser = Denoiser(shaken(), conditions(11), device="cpu", dtype=torch.float32)
    with pytest.raises(OptionsError, match="windows cannot be looped; choose open"):
        sample_clip(denoiser, AUDIO, options(windows="looped"), reference_unet=reader())
    with pytest.raises(OptionsError, match="with the reference UNet; give it one"):
        sample_clip(denoiser, AUDIO, options())
    with pytest.raises(OptionsError, match="knows only 6 positions"):
        sample_clip(denoiser, AUDIO, options(context_frames=7), reference_unet=reader())
    with pytest.raises(OptionsError, match="motion_frames must be 0 or 2, not 3"):
        MotionConfig(motion_frames=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make_puppets(folder, 2, PuppetOptions(num_frames=7, size=64), workers=1)
    return folder


class Latents:
    """A frame's latents are its number."""

    def get(self, clip, frames):
        mean = torch.tensor(list(frames)).float()[:, None, None, None].expand(-1, 4, 8, 8)
        return mean, torch.zeros_like(mean)


class Voices:
    def get(self, clip, draw):
        return torch.zeros(30, 1, 6)


def source(data, motion_frames, **settings):
    return SampleSource(
        Dataset(data).clips("train"), Latents(), Voices(), SampleSettings(targets=3, **settings),
        stage="stage2", seed=0, reduction="area", motion_frames=motion_frames,
    )  # fmt: skip


def test_a_sample_has_the_two_frames_before_its_own_or_shows_none(data):
    often = source(data, 2, dropout=Dropout(motion_frames=0.3))
    samples = [often.sample(index) for index in range(60)]
    starts = [int(sample["latents"][0, 0, 0, 0]) for sample in samples]
    shown = [bool(sample["with_motion"]) for sample in samples]
    for start, on, sample in zip(starts, shown, samples, strict=True):
        assert not (on and start < 2)
        if on:
            assert sample["motion"][:, 0, 0, 0].tolist() == [start - 2, start - 1]
    far = [on for start, on in zip(starts, shown, strict=True) if start >= 2]
    assert 0.5 < np.mean(far) < 0.9
    assert {0, 1, 2, 3, 4} == set(starts)


def test_samples_of_models_that_see_none_are_what_they_were(data):
    plain, seeing = source(data, 0).sample(7), source(data, 2).sample(7)
    assert set(seeing) - set(plain) == {"motion", "with_motion"}
    assert all(torch.equal(plain[key], seeing[key]) for key in plain)


@pytest.fixture(scope="module")
def trained(data, tiny_models, tmp_path_factory):
    """A run of stage 2 with motion frames, from published weights, and its recipe."""
    motion = {"num_heads": 8, "max_frames": 32, "motion_frames": 2}
    model = {
        "start": str(tiny_models), "unet": TINY.unet.to_dict() | {"motion": motion},
        "landmark_encoder": asdict(TINY.landmark_encoder),
    }  # fmt: skip
    settings = {
        "samples": {"targets": 4}, "objective": {"spatial_weight": 0.0},
        "motion_module": str(tiny_models / "motion_module.pth"),
    }  # fmt: skip
    steps = StageOptions(steps=2, batch_size=2, learning_rate=1e-3, settings=settings)
    recipe = Recipe("seeing", 3, "audio", model, {}, {"stage2": steps})
    run = tmp_path_factory.mktemp("run")
    train_stage(make_stage("stage2", recipe, data, run / "models"), steps, run / "stage2")
    return run, recipe


def test_a_trained_model_says_what_it_sees_and_is_sampled_so(trained, tiny_models):
    files = find_models([trained[0] / "models", tiny_models], "audio")
    network = read_denoising_unet(files)
    assert network.config.motion.motion_frames == 2
    model = EchoMimic(files)
    clip = conditions(5)
    with model.networks.use("reference_unet") as unet:
        portrait, _ = unet.reference_features(torch.randn(1, 4, 8, 8))
    voice = replace(clip.audio, states=torch.randn(20, 1, TINY.unet.audio_dim))
    clip = replace(clip, reference=portrait, audio=voice, face=torch.randn(1, 32, 8, 8))
    small = SamplingOptions(num_inference_steps=2, context_frames=3, context_overlap=0)
    with torch.no_grad():
        assert model.sample(clip, small).shape == (5, 4, 8, 8)


def test_a_mismatch_is_refused(trained, data, tiny_models, tmp_path):
    run, recipe = trained
    made = run / "models/motion_module.safetensors"
    plain = make_unet(0)
    with pytest.raises(WeightsError, match=r"trained with motion_frames 2, but 0 is asked for"):
        fill_motion(plain, made)
    files = find_models([run / "models", tiny_models], "audio")
    mixed = replace(files, denoising_unet=retold(files.denoising_unet, tmp_path, 0))
    with pytest.raises(WeightsError, match=r"trained with motion_frames 2, but 0 is asked for"):
        read_denoising_unet(mixed)
    settings = recipe.stages["stage2"].settings | {"motion_module": str(made)}
    model = recipe.model | {"unet": TINY.unet.to_dict()}
    stages = {"stage2": replace(recipe.stages["stage2"], settings=settings)}
    with pytest.raises(WeightsError, match="or correct the recipe"):
        make_stage("stage2", replace(recipe, model=model, stages=stages), data, tmp_path)


def test_files_that_say_nothing_agree_with_everything():
    note = {"config": {"motion": {"num_heads": 8}}}
    assert stated_motion_frames({}) is None
    assert stated_motion_frames({METADATA_KEY: json.dumps(note)}) == 0
    assert stated_motion_frames({METADATA_KEY: json.dumps({"config": {"motion": None}})}) is None


def make_unet(motion_frames):
    from echomimic.models.unet import UNet

    return UNet(replace(TINY.unet, motion=MotionConfig(motion_frames=motion_frames)))


def retold(path, folder, motion_frames):
    """A copy of a denoising UNet that says something else of its motion frames."""
    from safetensors.torch import save_file

    from echomimic.weights.read import read_state

    state, metadata = read_state(path)
    note = json.loads(metadata[METADATA_KEY])
    note["config"]["motion"]["motion_frames"] = motion_frames
    save_file(state, folder / path.name, {METADATA_KEY: json.dumps(note)})
    return folder / path.name

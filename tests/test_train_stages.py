"""The stages: what trains when, from which data, and that the result is a model like any other."""

import copy
import json
import os
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("accelerate")
pytest.importorskip("cv2")

from pretend_device import PretendDevice, to_device
from safetensors.torch import load_file, save_file

from echomimic import cli
from echomimic.config import SamplingOptions
from echomimic.denoiser import Denoiser
from echomimic.errors import DatasetError, OptionsError, TrainingError, WeightsError
from echomimic.media.image import write_image
from echomimic.pipeline import ClipOptions, EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import TEST_SEEDS
from echomimic.quality import MODES, animate, quality, voices
from echomimic.quality_table import table
from echomimic.train import cache as cache_module
from echomimic.train import make_puppets as puppets
from echomimic.train import stages, stopping
from echomimic.train.augmentation import AudioAugmentation
from echomimic.train.cache import AudioCache, LatentCache, neighbours
from echomimic.train.clips import Clip, Dataset, feature_box, is_held_out
from echomimic.train.conditioned import Objective
from echomimic.train.draws import generator
from echomimic.train.export import AUDIO_ENCODER, VAE
from echomimic.train.loop import train_stage
from echomimic.train.make_puppets import PuppetOptions, clip_folder, make_puppets
from echomimic.train.recipe import Recipe, StageOptions, read_recipe, strict
from echomimic.train.samples import SampleSettings, SampleSource
from echomimic.train.stages import make_stage
from echomimic.train.trainable import TRAINS
from echomimic.weights.files import find_models
from echomimic.weights.networks import read_denoising_unet
from echomimic.weights.read import read_state
from echomimic.weights.settings import file_note, native

MODEL = {
    "unet": {
        "channels": [32, 32], "attention": [False, True], "layers_per_level": 1, "num_heads": 4,
        "norm_groups": 8, "audio_dim": 32, "motion": {"num_heads": 4, "max_frames": 16},
        "feed_forward": 2, "position_code": True,
    },
    "landmark_encoder": {
        "in_channels": 3, "channels": [4, 4, 8, 8], "out_channels": 32, "drawing": "area",
    },
    "audio_encoder": {"width": 32, "num_heads": 4, "num_layers": 1, "max_states": 100},
    "vae": {"block_out_channels": [8, 8, 8, 16], "layers_per_block": 1, "norm_num_groups": 4},
}  # fmt: skip
SAMPLES = {"condition": "joint", "targets": 2, "reference_distance": 1}
STEPS = StageOptions(steps=3, batch_size=2, learning_rate=1e-3, log_every=1)
RECIPE = Recipe(
    name="tiny",
    seed=3,
    variant="joint",
    model=MODEL,
    data={},
    stages={
        "vae": STEPS,
        "decoder": replace(STEPS, settings={"latent_noise": 0.1}),
        "audio": STEPS,
        "stage1": replace(STEPS, settings={"samples": SAMPLES}),
        "stage2": replace(STEPS, settings={"samples": SAMPLES | {"targets": 4},
                                           "objective": {"difference_weight": 1.0}}),
    },
)  # fmt: skip
OPTIONS = PuppetOptions(num_frames=5, size=64)
draw_puppet = puppets._write


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make_puppets(folder, 16, OPTIONS, workers=1)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with all stages of the tiny recipe, and each stage's weights before and after."""
    run, moved = tmp_path_factory.mktemp("run"), {}
    for name, options in RECIPE.stages.items():
        stage = make_stage(name, RECIPE, data, run / "models")
        before = {k: v.detach().clone() for k, v in stage.module.named_parameters()}
        train_stage(stage, options, run / name)
        after = dict(stage.module.named_parameters())
        moved[name] = {k for k in before if not torch.equal(before[k], after[k])}
        moved[name] = (moved[name], set(before), stage)
    return run, moved


@pytest.mark.parametrize("name", TRAINS)
def test_each_stage_moves_what_the_table_says_and_nothing_else(trained, name):
    moved, everything, stage = trained[1][name]
    if name == "vae":  # what is standardised at the end moves anyway
        assert moved == everything
        return
    assert moved == set(stage.trainable())
    components = {component.split(".")[0] for component in moved}
    assert components == set(TRAINS[name])


def test_stage_2_moves_motion_modules_only_and_stage_1_has_none(trained):
    moved, everything, _ = trained[1]["stage2"]
    assert moved == {name for name in everything if ".motion_modules." in name}
    assert len(moved) > 50
    assert not any(".motion_modules." in name for name in trained[1]["stage1"][1])


def test_of_the_reference_unet_only_what_is_read_trains(trained):
    moved, everything, _ = trained[1]["stage1"]
    unread = {n for n in everything - moved if n.startswith("reference_unet")}
    assert any("up_blocks.1" in name for name in unread)  # after the last attention
    assert not any("down_blocks" in name for name in unread)


def test_the_result_is_a_model_like_any_other(trained, tmp_path):
    files = find_models([trained[0] / "models"], "joint")
    assert native(files.denoising_unet).size == (64, 64)
    assert native(files.denoising_unet).fps == 25.0
    network = read_denoising_unet(files)
    assert not network.random
    assert network.config.position_code
    model = EchoMimic(files)
    truth = PuppetClip(TEST_SEEDS.start, 6)
    options = SamplingOptions.for_variant(model.variant, num_inference_steps=2, context_frames=4)
    for mode in MODES:
        frames = animate(model, truth, mode, options)
        assert frames.shape == (6, 128, 128, 3)
    assert model.completed(ClipOptions()).size == (64, 64)


def test_the_latents_of_a_trained_vae_have_the_deviation_that_the_schedule_assumes(trained, data):
    vae = trained[1]["stage1"][2].module.vae
    pictures = np.concatenate([clip.frames for clip in Dataset(data).clips("train")])
    images = torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(images).latent_dist.mean * 0.18215
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.1, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=0.1, rtol=0)


def test_quality_measures_every_mode_beside_its_controls(trained):
    model = EchoMimic(find_models([trained[0] / "models"], "joint"), keep_loaded=True)
    options = SamplingOptions.for_variant(model.variant, num_inference_steps=1, guidance_scale=1)
    figures = quality(model, [TEST_SEEDS.start], voices([], 2), options)
    assert len(figures.values["mouth r, audio"]) == 2
    assert len(figures.values["wrong voice"]) == 2
    assert 0 < figures.mean("SSIM of the still portrait, landmarks") < 1
    assert "mouth correlation, audio only" in table(figures)


def test_training_needs_the_networks_of_the_stages_before(data, tmp_path):
    with pytest.raises(WeightsError, match="run stage 'vae' first"):
        make_stage("stage1", RECIPE, data, tmp_path)


@pytest.mark.parametrize(("condition", "family"), [("mask", "audio"), ("landmarks", "landmark")])
def test_the_published_families_can_be_trained_too(trained, data, tmp_path, condition, family):
    for folder in ("sd-vae-ft-mse", "audio_processor"):
        shutil.copytree(trained[0] / "models" / folder, tmp_path / "models" / folder)
    encoder = MODEL["landmark_encoder"] | {"in_channels": 1 if condition == "mask" else 3}
    options = replace(STEPS, settings={"samples": SAMPLES | {"condition": condition}})
    recipe = replace(
        RECIPE, variant=family, model=MODEL | {"landmark_encoder": encoder},
        stages={"stage1": options, "stage2": options},
    )  # fmt: skip
    for name in recipe.stages:
        stage = make_stage(name, recipe, data, tmp_path / "models")
        train_stage(stage, options, tmp_path / name)
    files = find_models([tmp_path / "models"], family)
    assert read_denoising_unet(files).config.motion is not None
    assert (tmp_path / "stage2" / "validation" / "stage2-000003.png").is_file()
    driven_by = "audio" if condition == "mask" else "both"
    assert f"psnr_{driven_by}" in (tmp_path / "stage2" / "log.jsonl").read_text()


def test_training_can_begin_from_a_model(trained, data, tmp_path):
    recipe = replace(RECIPE, model=MODEL | {"start": str(trained[0] / "models")})
    start = make_stage("stage1", recipe, data, tmp_path).module
    given = read_state(trained[0] / "models/reference_unet_joint.safetensors")[0]
    for name, parameter in start.reference_unet.named_parameters():
        assert torch.equal(parameter, given[name])
    with pytest.raises(WeightsError, match=r"holds no reference_unet_joint.*correct `start`"):
        make_stage("stage1", replace(recipe, model=MODEL | {"start": str(data)}), data,
                   trained[0] / "models")  # fmt: skip


def test_a_sample_is_the_same_whoever_asks_for_it(trained, data):
    stage = trained[1]["stage1"][2]
    together, alone = stage.fetch([5, 6, 7]), stage.fetch([6])
    for key, values in alone.items():
        assert torch.equal(together[key][1], values[0]), key


def test_polishing_the_decoder_leaves_latents_as_they_are(trained, data):
    cached = [path.name for path in (data / ".cache").glob("latents-*")]
    assert len(cached) == 1  # made after both stages, and of the encoder alone
    before = trained[1]["vae"][2].module.vae.state_dict()
    after = trained[1]["decoder"][2].module.vae.state_dict()
    for name, weight in after.items():
        if name.startswith(("encoder.", "quant_conv.")):
            assert torch.equal(weight, before[name]), name


def test_a_portrait_is_the_reference_as_often_as_the_recipe_says(trained, data):
    source = trained[1]["stage1"][2]._source
    clip = Dataset(data).clips("train")[0]
    portrait = source._latents.get(clip, [clip.num_frames])[0]
    assert not torch.equal(portrait, source._latents.get(clip, [0])[0])
    for share in (0.0, 1.0):
        settings = SampleSettings(condition="joint", portrait_share=share)
        chosen = SampleSource(
            [clip], source._latents, source._voices, settings,
            stage="stage1", seed=1, reduction="area",
        )  # fmt: skip
        references = [chosen._reference(clip, [0], generator(1, "x", i)) for i in range(20)]
        assert all((r == clip.num_frames) == bool(share) for r in references)


def test_clips_are_chosen_by_how_they_move(trained, data):
    source = trained[1]["stage1"][2]._source
    clips = Dataset(data).clips("train")
    settings = SampleSettings(condition="joint", audio_motion="calm", landmark_motion="lively")
    chosen = SampleSource(
        clips, source._latents, source._voices, settings, stage="stage1", seed=1, reduction="area"
    )
    found = {chosen._choose(generator(1, "x", i)) for i in range(60)}
    assert {(mode, clip.meta["motion"]) for mode, clip in found} == {
        ("audio", "calm"), ("landmarks", "lively"), ("both", "lively"),
    }  # fmt: skip
    with pytest.raises(OptionsError, match="No clip has the motion 'wild' that audio_motion"):
        SampleSource(
            clips, source._latents, source._voices, replace(settings, audio_motion="wild"),
            stage="stage1", seed=1, reduction="area",
        )  # fmt: skip


def dies_over_the_second(folder, seed, options):
    if seed == 1:
        (folder / ".unfinished-puppet-000001").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    draw_puppet(folder, seed, options)


def moved_a_little(path):
    """The same model file with one of its weights moved."""
    state, metadata = load_file(path), read_state(path)[1]
    ends = (
        "encoder.conv_in.weight",
        "encoder.conv1.weight",
        "down_blocks.0.resnets.0.conv1.weight",
    )
    name = next(n for n in sorted(state) if n.endswith(ends))
    save_file(state | {name: state[name] + 0.01}, path, dict(metadata))


@pytest.mark.parametrize(
    ("stage", "file", "sentence"),
    [
        ("decoder", VAE, "latents of another VAE"),
        ("stage1", VAE, "latents of another VAE"),
        ("stage1", AUDIO_ENCODER, "voices as another audio encoder"),
        ("stage2", "reference_unet_joint.safetensors", "other networks beside those that train"),
    ],
)
def test_a_stage_does_not_go_on_on_other_networks(trained, data, tmp_path, stage, file, sentence):
    clips = shutil.copytree(data, tmp_path / "clips")
    run = shutil.copytree(trained[0], tmp_path / "run")
    options = RECIPE.stages[stage]
    train_stage(make_stage(stage, RECIPE, clips, run / "models"), options, run / stage)
    moved_a_little(run / "models" / file)
    with pytest.raises(TrainingError, match=f"was made with {sentence}.* start anew with --fresh"):
        train_stage(make_stage(stage, RECIPE, clips, run / "models"), options, run / stage)


def test_files_say_what_trained_their_weights(trained):
    def note(component, name):
        path = trained[0] / f"models/{name}_joint.safetensors"
        return file_note(path, read_state(path)[1], component)["training"]

    for component in ("reference_unet", "denoising_unet"):
        assert note(component, component)["stage"] == "stage1"
        assert note(component, component)["perceptual"] == "vae-features"
    assert note("motion_module", "motion_module")["stage"] == "stage2"


def test_without_a_spatial_loss_there_is_no_perceptual_term(trained, data, caplog):
    caplog.set_level("INFO")
    settings = {"samples": SAMPLES, "objective": {"spatial_weight": 0.0}}
    recipe = replace(RECIPE, stages={"stage1": replace(STEPS, settings=settings)})
    stage = make_stage("stage1", recipe, data, trained[0] / "models")
    assert stage.notes["perceptual"] == "none"
    assert "stage1: spatial loss of weight 0, perceptual term: none." in caplog.text


def validated(recipe, data, models, folder, micro_batch):
    """Figures of a stage 1 that trains with micro batches, and the sizes of its forward passes."""
    options = replace(recipe.stages["stage1"], batch_size=48, micro_batch=micro_batch)
    stage = make_stage("stage1", replace(recipe, stages={"stage1": options}), data, models)
    stage._sheet, sizes = None, set()
    stage.module.register_forward_pre_hook(lambda _, batch: sizes.add(len(batch[0]["t"])))
    return stage.validate(1, folder), sizes


def test_validation_takes_no_more_at_once_than_training(trained, data, tmp_path):
    few, small = validated(RECIPE, data, trained[0] / "models", tmp_path, 3)
    many, large = validated(RECIPE, data, trained[0] / "models", tmp_path, None)
    assert (small, large) == ({3, 1}, {16})
    assert few == pytest.approx(many, rel=1e-4)


def test_memory_that_runs_out_while_clips_are_encoded_is_told_with_what_helps(
    trained, data, tmp_path, monkeypatch
):
    def greedy(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    clips = shutil.copytree(data, tmp_path / "clips", ignore=shutil.ignore_patterns(".cache"))
    monkeypatch.setattr(LatentCache, "_encode", greedy)
    monkeypatch.setattr(stopping, "is_quick_in_bfloat16", lambda _: True)
    with pytest.raises(TrainingError, match="set bf16_cache") as raised:
        make_stage("stage1", RECIPE, clips, trained[0] / "models")
    assert "micro_batch" not in str(raised.value)


def test_large_pictures_are_encoded_one_at_a_time(tmp_path):
    class Encoder(torch.nn.Module):
        device, sizes = torch.device("cpu"), ()

        def encode(self, images):
            self.sizes += (len(images),)
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=images, std=images))

    vae = Encoder()
    cache = LatentCache(tmp_path, vae)
    cache._encode(np.zeros((2, 512, 512, 3), np.uint8))
    cache._encode(np.zeros((30, 128, 128, 3), np.uint8))
    assert vae.sizes == (1, 1, 20, 10)


class TestVoices:
    def test_as_many_samples_are_augmented_as_the_setting_says(self, trained):
        voices = trained[1]["stage1"][2]._source._voices
        numbers = [voices._draw(generator(1, "x", i), 4) for i in range(4000)]
        shares = [numbers.count(number) / 4000 for number in range(4)]
        assert shares == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.03)

    def test_every_variant_but_the_first_is_another_voice(self, trained, data):
        voices = trained[1]["stage1"][2]._source._voices
        for clip in Dataset(data).clips("train"):
            plain, *others = np.load(voices._path(clip))
            assert len(others) == 3
            assert not any(np.array_equal(plain, other) for other in others)

    def test_whoever_is_held_out_is_not_heard_in_training(self, data):
        dataset = Dataset(data)
        pairs = neighbours(dataset.clips("train") + dataset.clips("validate"))
        assert len(pairs) == 16
        assert all(is_held_out(clip) == is_held_out(other) for clip, other in pairs)

    def test_caches_of_another_version_are_not_used(self, trained, monkeypatch, tmp_path):
        encoder = trained[1]["audio"][2].module.audio_encoder
        before = AudioCache(tmp_path, encoder, AudioAugmentation()).folder
        monkeypatch.setattr(cache_module, "VERSION", 1)
        assert AudioCache(tmp_path, encoder, AudioAugmentation()).folder != before

    def test_a_single_variant_cannot_be_augmented(self):
        with pytest.raises(OptionsError, match="voice_variants .* must be 2 or more"):
            stages.DiffusionSettings(voice_variants=1)
        stages.DiffusionSettings(augmentation=AudioAugmentation(enabled=False), voice_variants=1)


def test_the_spatial_loss_has_the_same_mean_whatever_share_is_decoded(trained):
    source = trained[1]["stage1"][2]._source
    for share in (1.0, 0.25):
        source = copy.copy(source)
        source._settings = replace(source._settings, spatial_share=share)
        scales = [float(source._spatial_scale(generator(1, "x", i))) for i in range(4000)]
        assert set(scales) <= {0.0, 1 / share}
        assert np.mean(scales) == pytest.approx(1, abs=0.1)
    with pytest.raises(OptionsError, match="no setting 'spatial_share'"):
        strict(Objective, {"spatial_share": 0.5}, "here")


@pytest.mark.parametrize("condition", ["mask", "landmarks"])
def test_a_condition_that_the_landmark_encoder_cannot_take_is_refused(data, tmp_path, condition):
    encoder = MODEL["landmark_encoder"] | {"in_channels": 3 if condition == "mask" else 1}
    options = replace(STEPS, settings={"samples": SAMPLES | {"condition": condition}})
    recipe = replace(
        RECIPE, model=MODEL | {"landmark_encoder": encoder}, stages={"stage1": options}
    )
    with pytest.raises(OptionsError, match=f"condition: {condition} in stage stage1 .*channels"):
        make_stage("stage1", recipe, data, tmp_path)


def test_what_training_shows_without_conditions_is_the_sampler_s_unconditional_half(trained, data):
    stage, clip = trained[1]["stage2"][2], Dataset(data).clips("train")[0]
    networks, batch = stage.module, stage.fetch([0])
    nothing = {"audio": torch.zeros_like(batch["audio"])}
    nothing |= {key: torch.tensor([False]) for key in ("with_reference", "with_landmarks")}
    noisy, t = batch["noise"], int(batch["t"][0, 0])
    with torch.no_grad():
        null = networks._predict(noisy.flatten(0, 1), batch | nothing)
        features = networks.reference_unet.reference_features(batch["reference"])[0]
        heard = stage._source._voices.get(clip)
        conditions = stage._sheet._conditions(
            clip, heard, "both", features, networks.landmark_encoder
        )
        denoiser = Denoiser(
            networks.denoising_unet, conditions, device="cpu", dtype=torch.float32,
            landmark_encoder=networks.landmark_encoder,
        )  # fmt: skip
        window = range(noisy.shape[1])
        sampled = denoiser.predict_v(noisy, t, [window], [False])[0]
        shown = denoiser.predict_v(noisy, t, [window], [True])[0]
    assert torch.equal(null, sampled)
    assert not torch.allclose(null, shown, atol=1e-3)


class TestPuppetClips:
    def test_clips_are_made_once_and_always_the_same(self, data, tmp_path):
        make_puppets(tmp_path, 2, OPTIONS, workers=1)
        for name in ("puppet-000000", "puppet-000001"):
            assert np.array_equal(Clip(tmp_path / name).frames, Clip(data / name).frames)
            assert np.array_equal(
                Clip(tmp_path / name).track.points, Clip(data / name).track.points
            )
        marked = clip_folder(tmp_path, 1) / "frames.npy"
        before = marked.stat().st_mtime_ns
        make_puppets(tmp_path, 3, OPTIONS, workers=1)
        assert marked.stat().st_mtime_ns == before
        assert len(Dataset(tmp_path).clips("train") + Dataset(tmp_path).clips("validate")) == 3

    def test_people_for_testing_are_not_trained_on(self, tmp_path):
        with pytest.raises(DatasetError, match="reserved for testing"):
            make_puppets(tmp_path, 2, OPTIONS, first_seed=TEST_SEEDS.start - 1)

    def test_a_process_that_dies_is_a_sentence_and_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(puppets, "_write", dies_over_the_second)
        with pytest.raises(DatasetError, match=r"died.*the same command goes on"):
            make_puppets(tmp_path, 2, OPTIONS, workers=1)
        assert not list(tmp_path.glob(".unfinished-*"))
        monkeypatch.undo()
        make_puppets(tmp_path, 2, OPTIONS, workers=1)
        assert len(Dataset(tmp_path).all) == 2

    @pytest.mark.parametrize("wrong", [("--first-seed", -5), ("--frames", 0), ("--count", 0),
                                       ("--size", 30)])  # fmt: skip
    def test_puppets_that_cannot_be_are_refused(self, tmp_path, capsys, wrong):
        arguments = ["puppets", tmp_path / "data", "--count", 1, "--frames", 2, *wrong]
        assert cli.main([str(argument) for argument in arguments]) == 1
        assert f"not {wrong[1]}" in capsys.readouterr().err
        assert not (tmp_path / "data").exists()

    def test_people_are_in_one_split_only(self, data):
        dataset = Dataset(data)
        train = {clip.name for clip in dataset.clips("train")}
        held_out = {clip.name for clip in dataset.clips("validate")}
        assert not train & held_out
        assert len(train | held_out) == 16
        assert train

    def test_features_weigh_more(self, data):
        clip = Dataset(data).clips("train")[0]
        weights = clip.weight_map(0, (64, 64), mouth=3.0, eyes=2.0)
        assert set(np.unique(weights)) == {1.0, 2.0, 3.0}
        rows, columns = feature_box(clip.track.points[0], "mouth", (64, 64))
        assert (weights[rows, columns] == 3).all()


class TestBadData:
    @pytest.fixture()
    def clip(self, data, tmp_path):
        source = Dataset(data).clips("train")[0].folder
        return shutil.copytree(source, tmp_path / "data" / source.name)

    def error(self, clip):
        with pytest.raises(DatasetError) as error:
            Dataset(clip.parent).check()
        sentence = str(error.value)
        assert sentence.count("\n") == 0
        return sentence

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(DatasetError, match="holds no clips"):
            Dataset(tmp_path)

    def test_a_clip_without_sound(self, clip):
        (clip / "speech.wav").unlink()
        assert "has no sound" in self.error(clip)

    def test_a_clip_without_a_face(self, clip):
        (clip / "landmarks.npz").unlink()
        assert "has no face" in self.error(clip)

    def test_a_clip_of_one_frame(self, clip):
        np.save(clip / "frames.npy", np.load(clip / "frames.npy")[:1])
        assert "only one frame" in self.error(clip)

    def test_a_portrait_of_another_size(self, clip):
        write_image(clip / "portrait.png", np.zeros((32, 64, 3), np.uint8))
        with pytest.raises(DatasetError, match="must be of the size of the frames, 64x64"):
            Clip(clip).pictures()

    def test_frames_and_landmarks_of_different_lengths(self, clip):
        np.save(clip / "frames.npy", np.load(clip / "frames.npy")[:3])
        assert "3 frames but landmarks of 5" in self.error(clip)

    def test_a_file_that_is_cut_off(self, clip):
        (clip / "frames.npy").write_bytes((clip / "frames.npy").read_bytes()[:60])
        assert "cannot be read" in self.error(clip)

    def test_meta_data_that_are_no_json(self, clip):
        (clip / "meta.json").write_text("{")
        assert "meta.json cannot be read" in self.error(clip)


class TestRecipes:
    def test_the_bundled_recipe_is_valid(self):
        recipe = read_recipe("mini")
        assert list(recipe.stages) == ["vae", "decoder", "audio", "stage1", "stage2"]

    def test_a_setting_that_does_not_exist_is_named(self, tmp_path, data):
        path = tmp_path / "mine.yaml"
        stages = {"vae": {"steps": 1, "learnin_rate": 2}}
        values = {"seed": 1, "variant": "joint", "model": {}, "data": {}, "stages": stages}
        path.write_text(json.dumps(values))
        with pytest.raises(OptionsError, match="'learnin_rate'"):
            read_recipe(path)
        with pytest.raises(OptionsError, match="give a recipe file or one of"):
            read_recipe(tmp_path / "nowhere.yaml")
        path.write_text("a: [")
        with pytest.raises(OptionsError, match="not valid YAML"):
            read_recipe(path)
        wrong = replace(RECIPE, stages={"vae": replace(STEPS, settings={"kl": 1})})
        with pytest.raises(OptionsError, match="no setting 'kl'"):
            make_stage("vae", wrong, data, tmp_path)

    def test_what_is_missing_is_named(self):
        with pytest.raises(OptionsError, match="lacks 'steps'"):
            strict(StageOptions, {}, "here")


@pytest.mark.parametrize("name", RECIPE.stages)
def test_a_stage_is_validated_and_written_where_its_networks_are(
    trained, data, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(stages, "SHEET_CLIPS", 1)
    folder, _ = trained
    shutil.copytree(folder / "models", tmp_path / "models")
    stage = make_stage(name, RECIPE, data, tmp_path / "models")
    in_main_memory = stage.validate(1, tmp_path)
    to_device(stage.module)
    with PretendDevice():
        figures = stage.validate(2, tmp_path)
        stage.export(tmp_path / "exported")
    assert figures == pytest.approx(in_main_memory, rel=1e-3, abs=1e-3)
    assert list((tmp_path / "exported").rglob("*.safetensors"))

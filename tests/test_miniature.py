"""The paper in miniature: a study goes on where it was, and its page follows from its figures."""

import json
import logging
from dataclasses import replace

import pytest

pytest.importorskip("cv2")
pytest.importorskip("matplotlib")
pytest.importorskip("accelerate")

import torch
from test_train_stages import MODEL, OPTIONS, RECIPE

from benchmarks.miniature import __main__ as command
from benchmarks.miniature import sampling_study, sentences, store, synchronisation
from benchmarks.miniature.ablations import train
from benchmarks.miniature.beginning import begin
from benchmarks.miniature.encoded import Job
from benchmarks.miniature.scale import Scale
from benchmarks.miniature.statistics import (
    HIGHER,
    LOWER,
    OPEN,
    REVERSED,
    SHOWN,
    differences,
    over_seeds,
    verdict,
)
from benchmarks.miniature.variants import CHANGES, VARIANTS, Schedule, ablation
from echomimic.assets import MINI
from echomimic.audio.whisper import AudioEncoder
from echomimic.config import AudioEncoderConfig, LandmarkEncoderConfig, UNetConfig, variant
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.unet import UNet
from echomimic.models.vae import VAE_CONFIG, make_vae
from echomimic.pipeline import EchoMimic
from echomimic.train.export import export_audio_encoder, export_networks, export_vae
from echomimic.train.make_puppets import make_puppets
from echomimic.train.recipe import read_recipe
from echomimic.weights.files import look_up
from echomimic.weights.read import read_state


@pytest.fixture(autouse=True, scope="module")
def logging_as_it_was():
    """The command silences the library's log, which other tests read."""
    log = logging.getLogger("echomimic")
    before = log.level
    yield
    log.setLevel(before)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of the smallest scale; the "ablations" are the built-in model under other names."""
    base = tmp_path_factory.mktemp("study")
    for name in ("base-seed1", "base-seed2", "no_augmentation-seed1", "no_augmentation-seed2"):
        (base / "models").mkdir(exist_ok=True)
        (base / "models" / name).symlink_to(MINI)
    arguments = [
        "--scale", "smallest", "--docs", str(base / "docs"), "--work", str(base / "work"),
        "--ablations", str(base / "models"), "--jobs", "1",
    ]  # fmt: skip
    assert command.main(arguments) == 0
    return base, arguments


def test_the_page_has_every_section_and_its_plot(studied):
    page = (studied[0] / "docs/evaluation.md").read_text(encoding="utf-8")
    for heading in ("## 1.", "## 2.", "## 3.", "## 4.", "### Audio augmentation"):
        assert heading in page
    for name in command.SECTIONS:
        assert f"](evaluation/{name}.png)" in page
        assert (studied[0] / f"docs/evaluation/{name}.png").stat().st_size > 10_000
    assert "None" not in page
    assert "nan" not in page


def test_equal_models_are_not_told_apart(studied):
    section = json.loads((studied[0] / "docs/evaluation/ablations.json").read_text())
    found = {one["name"]: one["differences"] for one in section["questions"]}
    assert found["audio augmentation"]
    for one in found["audio augmentation"]:
        assert (one["difference"]["mean"], one["verdict"]) == (0.0, OPEN)
    assert found["spatial loss"] == []


def test_a_study_goes_on_where_it_was(studied, monkeypatch):
    base, arguments = studied[0], [*studied[1], "--sections", "sampling"]
    lines = base / "work/films.jsonl"
    whole = lines.read_text().splitlines()
    lines.write_text("\n".join(whole[:-1]) + "\n" + whole[-1][:50])  # killed while it wrote
    measured, measure = [], store.measure_film
    monkeypatch.setattr(
        store, "measure_film", lambda *film: measured.append(film) or measure(*film)
    )
    assert command.main(arguments) == 0
    assert len(measured) == 1
    again = store.Store(lines)
    assert all(json.loads(line)["key"] in again for line in whole)
    assert command.main(arguments) == 0
    assert len(measured) == 1


def test_the_page_is_made_of_the_json_alone(studied, tmp_path):
    source, target = studied[0] / "docs/evaluation", tmp_path / "evaluation"
    target.mkdir()
    for path in source.glob("*.json"):
        (target / path.name).write_bytes(path.read_bytes())
    assert command.main(["--page-only", "--docs", str(tmp_path)]) == 0
    made = (tmp_path / "evaluation.md").read_bytes()
    assert made == (studied[0] / "docs/evaluation.md").read_bytes()
    assert {path.stem for path in target.glob("*.png")} == set(command.SECTIONS)


def test_without_figures_there_is_a_sentence(tmp_path, capsys):
    assert command.main(["--page-only", "--docs", str(tmp_path)]) == 1
    assert "holds no study" in capsys.readouterr().err


def test_ablations_that_are_not_there_are_named(tmp_path, capsys):
    (tmp_path / "base-seed1").symlink_to(MINI)
    arguments = ["--docs", str(tmp_path), "--work", str(tmp_path), "--sections", "ablations"]
    assert command.main([*arguments, "--ablations", str(tmp_path)]) == 1
    assert "no base-seed1 with another variant" in capsys.readouterr().err


def test_a_film_of_other_weights_or_options_has_another_key(tmp_path):
    film = command.driving.films(Scale())[0]
    keys = {
        store.key_of(MINI, film),
        store.key_of(MINI, replace(film, snr=5.0)),
        store.key_of(MINI, replace(film, options=replace(film.options, seed=1))),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("ours", "others", "better", "expected"),
    [
        ((3.0, 3.1, 3.2), (1.0, 1.2, 1.1), HIGHER, SHOWN),
        ((3.0, 3.1, 3.2), (1.0, 1.2, 1.1), LOWER, REVERSED),
        ((1.0, 3.0, 2.0), (2.0, 1.0, 3.0), HIGHER, OPEN),
        ((3.0,), (1.0,), HIGHER, OPEN),  # one seed says nothing
    ],
)
def test_a_difference_counts_only_beyond_its_interval(ours, others, better, expected):
    assert verdict(differences(ours, others, over_seeds), better) == expected


def test_the_interval_over_seeds_is_students():
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.high - found.mean == pytest.approx(4.303 / 3**0.5)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([SHOWN] * 3, "**The claim shows**"),
        ([OPEN] * 3, "**The claim does not show**"),
        ([SHOWN, OPEN], "**The claim shows in part**: in 1 of 2 figures"),
        ([REVERSED, OPEN], "1 of 2 figures says the opposite"),
        ([SHOWN, REVERSED], "1 of 2 figures agree"),
        ([], "Not measured"),
    ],
)
def test_the_sentence_follows_from_the_verdicts(verdicts, said):
    text = sentences.counted(verdicts)
    assert said in text or said in text.replace("shows in part only**: ", "")


def test_no_worse_is_only_contradicted_by_the_opposite():
    assert "Nothing speaks against" in sentences.no_worse([OPEN, SHOWN])
    assert "does not hold" in sentences.no_worse([OPEN, REVERSED])


def test_the_front_is_what_nothing_beats_in_both():
    figures = {"slow": (9, 0.9), "bad": (5, 0.2), "quick": (1, 0.5), "middle": (3, 0.7),
               "as quick": (1, 0.4)}  # fmt: skip
    rows = {
        name: {"seconds": seconds, "measures": {"landmarks, SSIM": {"mean": value}}}
        for name, (seconds, value) in figures.items()
    }
    assert sampling_study.front(rows, "landmarks", "SSIM") == ["quick", "middle", "slow"]


def test_settings_are_timed_by_what_they_compute_and_not_by_when():
    rows = [{"calls": 10, "took": [3.0, 3.0]}, {"calls": 20, "took": [5.0, 5.0]}]
    timing = sampling_study._put_seconds(rows)
    assert (timing["fixed"], timing["each"]) == pytest.approx((1, 0.2))
    assert [row["seconds"] for row in rows] == pytest.approx([3, 5])
    rows += [{"calls": 10, "took": [4.0, 4.0]}]  # the same, while the machine was slow
    sampling_study._put_seconds(rows)
    assert rows[0]["seconds"] == rows[2]["seconds"]


def test_overlap_and_guidance_are_paid_for_in_calls():
    options = Scale().options(guidance_scale=1.0, context_overlap=0, num_inference_steps=1)
    assert sampling_study.calls(options, 36) == 3
    assert sampling_study.calls(replace(options, context_overlap=3), 36) == 4
    assert sampling_study.calls(replace(options, guidance_scale=1.5), 36) == 6


def test_full_face_and_residual_lies_nearest_to_the_truth():
    measures = synchronisation.summary(Scale(faces=3))["measures"]
    acting = {method: known["acting: face"]["mean"] for method, known in measures.items()}
    assert min(acting, key=acting.get) == synchronisation.OURS
    assert acting["none"] > 5 * acting[synchronisation.OURS]


def test_each_variant_differs_from_the_base_in_one_thing():
    base = read_recipe("mini")
    schedule = Schedule((40, 20), targets=3)
    recipes = {name: ablation(base, name, 2, schedule) for name in VARIANTS}
    samples = {name: recipe.stages["stage1"].settings for name, recipe in recipes.items()}
    own = base.stages["stage1"].settings
    assert samples["base"] == own | {"samples": own["samples"] | {"targets": 3}}
    assert samples["no_spatial"]["objective"]["spatial_weight"] == 0
    assert samples["no_selection"]["samples"]["selection"]["enabled"] is False
    assert samples["no_augmentation"]["augmentation"]["enabled"] is False
    assert samples["audio_only"]["samples"]["mixture"]["audio"] == 1
    assert samples["landmarks_only"]["samples"]["mixture"]["landmarks"] == 1
    for name, recipe in recipes.items():
        assert (recipe.seed, recipe.stages["stage2"].steps) == (2, 20)
        changed = {key for key in samples[name] if samples[name][key] != samples["base"][key]}
        assert changed == set(CHANGES[name])


def test_a_variant_begins_as_a_trained_model_that_has_forgotten_what_drives_it(tmp_path):
    def tensors(folder, component):
        return read_state(look_up([folder], variant("joint"), component))[0]

    recipe = begin(MINI, tmp_path, read_recipe("mini"))
    assert recipe.model["start"] == str(tmp_path)
    trained, begun = (tensors(folder, "denoising_unet") for folder in (MINI, tmp_path))
    motion = tensors(tmp_path, "motion_module")
    for name, tensor in trained.items():
        now = (begun | motion)[name]
        is_same = torch.equal(now, tensor.float())
        assert is_same == (".attn2." not in name), name
    portrait = tensors(tmp_path, "reference_unet")
    for name, tensor in tensors(MINI, "reference_unet").items():
        assert torch.equal(portrait[name], tensor.float())
    landmarks = tensors(tmp_path, "landmark_encoder")
    first = "conv_in.weight"
    assert not torch.allclose(landmarks[first], tensors(MINI, "landmark_encoder")[first].float())


def test_a_variant_trains_into_a_model_like_any_other(tmp_path):
    torch.manual_seed(0)
    start, unet = tmp_path / "start", UNetConfig.from_dict(UNetConfig().to_dict() | MODEL["unet"])
    export_vae(make_vae(VAE_CONFIG | MODEL["vae"]), start)
    export_audio_encoder(AudioEncoder(AudioEncoderConfig(**MODEL["audio_encoder"])), start)
    export_networks(
        start, variant("joint"), notes={}, reference_unet=UNet(unet.as_reference()),
        denoising_unet=UNet(unet),
        landmark_encoder=LandmarkEncoder(LandmarkEncoderConfig(**MODEL["landmark_encoder"])),
    )  # fmt: skip
    make_puppets(tmp_path / "data", 12, OPTIONS, workers=1)
    recipe = ablation(RECIPE, "no_selection", 1, Schedule((2, 2), (2, 2)))
    train(Job(recipe, tmp_path / "data", start, tmp_path, "no_selection-seed1"))
    made = tmp_path / "no_selection-seed1"
    EchoMimic.from_folder(made, "joint", device="cpu")
    note = json.loads((made / "training.json").read_text())
    assert note["recipe"]["stages"]["stage1"]["settings"]["samples"]["selection"] == {
        "enabled": False
    }
    assert not (tmp_path / "runs" / "no_selection-seed1").exists()

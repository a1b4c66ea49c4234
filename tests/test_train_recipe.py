"""Recipes are read strictly: what YAML makes of a value is no trap, and errors name the place."""

import pytest

pytest.importorskip("yaml")

from echomimic.errors import OptionsError
from echomimic.train.recipe import RECIPES, read_recipe


def recipe(tmp_path, stage="steps: 3", top=""):
    path = tmp_path / "my.yaml"
    path.write_text(
        f"seed: 1\nvariant: joint\nmodel: {{}}\ndata: {{}}\nstages: {{vae: {{{stage}}}}}\n{top}"
    )
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_a_bundled_recipe_is_read_by_its_name(name):
    assert read_recipe(name).name == name


def test_what_yaml_takes_for_text_or_false_is_understood(tmp_path):
    text = "steps: 3, learning_rate: 1e-5, mixed_precision: no, betas: [0, 0.9]"
    options = read_recipe(recipe(tmp_path, text)).stages["vae"]
    assert options.learning_rate == 1e-5
    assert options.mixed_precision == "no"
    assert options.betas == (0.0, 0.9)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("steps: 3, stepps: 4", "stage 'vae' of .*my.yaml has no setting 'stepps'"),
        ("batch_size: 4", "stage 'vae' of .*my.yaml lacks 'steps'"),
        ("steps: many", "steps of stage 'vae' of .* must be a whole number, not 'many'"),
        ("steps: true", "steps of .* must be a whole number, not True"),
        ("steps: 3, learning_rate: fast", "learning_rate of .* must be a number, not 'fast'"),
        ("steps: 3, betas: 0.9", "betas of .* must be a list"),
        ("steps: 3, betas: [0.9]", "betas of .* must be a list"),
        ("steps: 3, mixed_precision: fp8", "mixed_precision of .* must be one of no, bf16, fp16"),
        ("steps: 3, settings: 4", "settings of .* must be a mapping"),
        ("steps: 0", "stage 'vae' of .*my.yaml: steps must be 1 or more, not 0"),
        ("steps: 3, micro_batch: 0", "micro_batch must be 1 or more, not 0"),
        ("steps: 3, workers: -1", "workers must be 0 or more, not -1"),
        ("steps: 3, batch_size: 4, micro_batch: 3", "must be a multiple of micro_batch"),
        ("steps: 3, ema_decay: 1", "betas and ema_decay must be 0 or more and less than 1"),
        ("steps: 3, learning_rate: 0", "learning_rate and clip_norm must be more than 0"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(tmp_path, stage, sentence):
    with pytest.raises(OptionsError, match=sentence):
        read_recipe(recipe(tmp_path, stage))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1", "must be a mapping"),
        ("seed: [", "not valid YAML"),
        ("seed: 1", "The recipe has no stages|lacks 'variant'"),
        ("stages: 3", "stages of .* must be a mapping"),
        ("stages: {vae: }", "stage 'vae' of .* must be a mapping of settings, not None"),
        ("{seed: 1, variant: joint, model: {}, data: , stages: {}}", "data of .* not None"),
        ("{seed: 1, variant: joint, model: {}, data: {}, stages: {}}", "has no stages"),
        (
            "{seed: 1, variant: joint, model: {}, data: {}, stages: {stage3: {steps: 1}}}",
            "no stage 'stage3'",
        ),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, sentence):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(OptionsError, match=sentence):
        read_recipe(path)


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(OptionsError, match="missing.yaml cannot be read .* one of .*mini"):
        read_recipe(tmp_path / "missing.yaml")

"""Random model sets: official names, official shapes, labelled, reproducible."""

import json
import math

import pytest
import torch
from support import golden_json

from echomimic.config import PUBLISHED, AudioEncoderConfig, LandmarkEncoderConfig, UNetConfig
from echomimic.errors import OptionsError, WeightsError
from echomimic.models.vae import VAE_CONFIG
from echomimic.weights.files import find_models
from echomimic.weights.official import (
    TextDecoder,
    landmark_shapes,
    unet_shapes,
    vae_shapes,
    whisper_shapes,
)
from echomimic.weights.random_weights import SIZES, make_random, random_state
from echomimic.weights.read import read_state
from echomimic.weights.settings import METADATA_KEY
from echomimic.weights.status import status


def manifest(name):
    entries = golden_json(f"manifests/{name}.json")["state_dict"]
    return {key: tuple(shape) for key, (shape, _) in entries.items()}


FULL = {
    "denoising_unet_full": lambda: unet_shapes(UNetConfig()),
    "reference_unet": lambda: unet_shapes(UNetConfig().as_reference()),
    "face_locator": lambda: landmark_shapes(LandmarkEncoderConfig()),
    "face_locator_pose": lambda: landmark_shapes(LandmarkEncoderConfig(in_channels=3)),
    "vae": lambda: vae_shapes(VAE_CONFIG),
    "whisper_tiny": lambda: whisper_shapes(AudioEncoderConfig(), TextDecoder()),
}


@pytest.mark.parametrize("name", FULL)
def test_full_size_files_have_exactly_the_official_names_and_shapes(name):
    assert FULL[name]() == manifest(name)


def test_the_denoising_unet_is_split_into_the_two_official_files():
    full = unet_shapes(UNetConfig())
    motion = {name for name in full if ".motion_modules." in name}

    assert motion == set(manifest("motion_module"))
    assert full.keys() - motion == set(manifest("denoising_unet_spatial"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    make_random(folder)
    return folder


def test_every_file_is_there_and_fits(folder):
    problems = {row.component: row.problem for row in status([folder]) if row.problem}

    assert problems.keys() == {"face_landmarker"}  # MediaPipe's, which nobody can make up


def test_the_set_is_labelled_as_random(folder):
    _, metadata = read_state(folder / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors")

    assert "random" in (folder / "RANDOM_WEIGHTS.txt").read_text()
    assert json.loads((folder / "config.json").read_text())["random"] is True
    assert json.loads(metadata[METADATA_KEY])["random"] is True


def test_only_the_chosen_variants_are_written(tmp_path):
    written = make_random(tmp_path, variants=["landmark"])

    assert find_models([tmp_path], "landmark").denoising_unet in written
    assert not (tmp_path / "denoising_unet.pth").exists()
    with pytest.raises(WeightsError, match="denoising unet of variant 'audio' is missing"):
        find_models([tmp_path], "audio")


def test_the_seed_decides_the_weights():
    expected = landmark_shapes(SIZES["tiny"].landmark_encoder)
    first, again, other = (random_state(expected, seed, torch.float16) for seed in "112")

    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])


def test_weights_keep_the_size_of_activations_and_no_layer_is_zero():
    expected = unet_shapes(SIZES["tiny"].unet)
    state = random_state(expected, "0", torch.float32)

    for name, weight in state.items():
        assert weight.abs().max() > 0, name
        if weight.ndim >= 2 and not name.endswith("pos_encoder.pe"):
            gain = weight.std() * math.sqrt(math.prod(weight.shape[1:]))
            assert 0.8 < gain < 1.2, name


def test_whisper_keeps_its_position_table(folder):
    golden = {"encoder.positional_embedding": (1500, 64)}
    table = random_state(golden, "0", torch.float32)["encoder.positional_embedding"]

    assert table[0, :32].abs().max() == 0  # sine of 0
    assert table[0, 32:].min() == 1  # cosine of 0
    torch.testing.assert_close(table[7, 0], torch.tensor(math.sin(7.0)))
    torch.testing.assert_close(table[7, 31], torch.tensor(math.sin(7e-4)), rtol=1e-3, atol=0)


def test_progress_ends_at_its_total(tmp_path):
    seen = []
    make_random(tmp_path, variants=["audio"], on_progress=lambda *step: seen.append(step))

    assert seen == [(done, 6) for done in range(1, 7)]  # four networks, audio encoder, VAE


def test_an_unknown_size_lists_the_known_ones(tmp_path):
    with pytest.raises(OptionsError, match="tiny, full"):
        make_random(tmp_path, size="huge")


def test_an_unwritable_folder_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(WeightsError, match="cannot be written"):
        make_random(tmp_path / "file" / "folder")


def test_variants_share_the_files_that_official_variants_share(folder):
    names = {path.name for path in folder.glob("*.pth")}

    assert len(names) == len(PUBLISHED) * 2 + 4  # two reference UNets, two landmark encoders


def test_real_model_files_are_never_overwritten(tmp_path):
    (tmp_path / "reference_unet.pth").write_bytes(b"real")

    with pytest.raises(WeightsError, match=r"reference_unet\.pth is there already"):
        make_random(tmp_path, variants=["audio"])

    assert [path.name for path in tmp_path.iterdir()] == ["reference_unet.pth"]


def test_a_random_set_can_be_made_again(folder):
    make_random(folder, variants=["audio"])

    assert find_models([folder], "audio")

"""The VAE against stored tensors and key lists of the official code."""

import pytest
import torch
from support import fill_from_recipe, golden_config, golden_json, golden_tensors

from echomimic.config import LATENT_SCALE
from echomimic.models.vae import (
    DiffusersVAE,
    decode_frames,
    make_vae,
    rename_deprecated_attention,
)

TOLERANCE = 5e-5


@pytest.fixture(scope="module")
def vae():
    return DiffusersVAE(fill_from_recipe(make_vae(golden_config()["vae"]), "vae"))


@pytest.fixture(scope="module")
def golden():
    return golden_tensors("tiny/vae.safetensors")[0]


def test_encoding_gives_the_scaled_mean_of_the_posterior(vae, golden):
    latents = vae.encode(golden["image"])

    torch.testing.assert_close(latents / LATENT_SCALE, golden["mean"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("chunk", [1, 2, None])
def test_decoding_gives_the_stored_pictures_however_it_is_chunked(vae, golden, chunk):
    frames = list(decode_frames(vae, golden["latents"] * LATENT_SCALE, chunk=chunk))

    torch.testing.assert_close(torch.cat(frames), golden["decoded"], atol=TOLERANCE, rtol=0)


def test_the_full_size_vae_has_exactly_the_official_names_and_shapes():
    manifest = golden_json("manifests/vae.json")["state_dict"]
    with torch.device("meta"):
        ours = make_vae().state_dict()

    assert {name: list(tensor.shape) for name, tensor in ours.items()} == {
        name: shape for name, (shape, _) in manifest.items()
    }


def test_a_file_with_deprecated_names_fills_the_full_size_vae_with_nothing_left_over():
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    file = {}
    for name, (shape, _) in golden_json("manifests/vae.json")["state_dict"].items():
        for new, old in old_names.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        file[name] = torch.empty(shape, device="meta")
    assert sum(".query." in name for name in file) == 4
    with torch.device("meta"):
        vae = make_vae()

    vae.load_state_dict(rename_deprecated_attention(file), strict=True, assign=True)

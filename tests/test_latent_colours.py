"""Colours guessed from latents: a linear VAE is seen through exactly, ours nearly."""

import torch

from echomimic.models.latent_colours import colours_of, explained, fit_colours
from echomimic.models.vae import decode_frames
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip


def linear_pair(n=2, size=8):
    """Latents that are four mixtures of the colours below them, and the pictures."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(n, 3, size, size, generator=generator) * 1.6 - 0.8
    mix = torch.randn(4, 3, generator=generator)
    latents = torch.einsum("kc,nchw->nkhw", mix, cells) + 0.3
    return latents, cells.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3), cells


def test_a_linear_code_is_found():
    latents, pictures, cells = linear_pair()
    colours = fit_colours(latents, pictures)
    assert colours.shape == (5, 3)
    assert (colours_of(latents, colours) - cells).abs().max() < 0.05
    assert explained(latents, pictures, colours) > 0.99


def test_the_map_of_another_code_explains_nothing():
    latents, pictures, _ = linear_pair()
    assert explained(latents, pictures, -fit_colours(latents, pictures)) < 0


def test_a_picture_of_one_colour_does_no_harm():
    latents, pictures = torch.full((1, 4, 4, 4), 0.5), torch.full((1, 3, 32, 32), -0.25)
    seen = colours_of(latents, fit_colours(latents, pictures))
    assert torch.allclose(seen, torch.full_like(seen, -0.25), atol=0.01)


@torch.inference_mode()
def test_the_built_in_model_is_seen_in_its_colours():
    """Fitted on one person, it shows another in nearly the colours that decoding gives."""
    model, size = EchoMimic.mini(), EchoMimic.mini().native.size[0]
    pictures = [PuppetClip(seed, 1).portrait(size) for seed in (3, 4)]
    images = torch.stack([torch.from_numpy(p).permute(2, 0, 1) for p in pictures]) / 127.5 - 1
    with model.networks.use("vae") as vae:
        latents = vae.encode(images).float().cpu()
        colours = fit_colours(latents[:1], images[:1])
        decoded = torch.cat(list(decode_frames(vae, latents[1:]))).float().cpu()
    assert explained(latents[1:], decoded, colours) > 0.5

"""The paper's objective: schedule, latent loss, spatial loss (training facts 5.2, 5.3)."""

import math

import pytest
import torch

from echomimic.sampling.schedule import alphas_cumprod
from echomimic.train.losses import (
    add_noise,
    latent_loss,
    pixel_weight,
    predicted_z0,
    snr_weight,
    spatial_loss,
    v_target,
)

T = torch.tensor([0, 100, 250, 500, 999])


@pytest.fixture()
def latents():
    torch.manual_seed(0)
    return torch.randn(5, 4, 6, 6, dtype=torch.float64)


@pytest.fixture()
def noise():
    torch.manual_seed(1)
    return torch.randn(5, 4, 6, 6, dtype=torch.float64)


def test_the_true_v_leads_back_to_the_clean_latents(latents, noise):
    noisy, v = add_noise(latents, noise, T), v_target(latents, noise, T)
    assert (predicted_z0(noisy, v, T) - latents).abs().max() < 1e-6
    assert latent_loss(v, v, T).abs().max() == 0


def test_the_last_timestep_is_pure_noise_and_v_is_minus_the_picture(latents, noise):
    last = torch.full((5,), 999)
    assert alphas_cumprod()[999] == 0
    torch.testing.assert_close(add_noise(latents, noise, last), noise)
    torch.testing.assert_close(predicted_z0(noise, v_target(latents, noise, last), last), latents)


def test_weights_by_signal_to_noise_are_those_of_the_siblings():
    weights = snr_weight(T)
    expected = torch.tensor([0.00425, 0.689558, 1, 1, 1])
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-5)


def test_pixels_weigh_by_the_cosine_of_the_timestep():
    weights = pixel_weight(torch.tensor([0, 250, 500, 750, 999]))
    expected = torch.tensor([1.0, 0.923880, 0.707107, 0.382683, 0.00157080])
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-5)


def test_a_mask_moves_attention_without_changing_the_size_of_the_loss(latents, noise):
    even = torch.ones(5, 1, 6, 6, dtype=torch.float64)
    plain = latent_loss(latents, noise, T)
    torch.testing.assert_close(latent_loss(latents, noise, T, mask=7 * even), plain)
    even[:, :, :3] = 5
    target = latents.clone()
    target[:, :, :3] += 1  # wrong where it counts
    assert (latent_loss(target, latents, T, mask=even) > latent_loss(target, latents, T)).all()


def decoder():
    torch.manual_seed(2)
    return torch.nn.ConvTranspose2d(4, 3, 8, 8).double().requires_grad_(False)


def test_with_the_true_v_the_spatial_loss_is_the_decoders_own_error(latents, noise):
    decode, t = decoder(), torch.full((5,), 250)
    images = torch.randn(5, 3, 48, 48, dtype=torch.float64)
    z0 = predicted_z0(add_noise(latents, noise, t), v_target(latents, noise, t), t)
    error = (decode(latents) - images).square().mean(dim=(1, 2, 3))
    loss = spatial_loss(decode, z0, images, t)
    torch.testing.assert_close(loss, (math.cos(math.pi / 8) * error).float(), atol=1e-4, rtol=1e-4)


def test_the_gradient_through_the_decoder_is_that_of_finite_differences(latents, noise):
    decode, t = decoder(), torch.tensor([300])
    images = torch.randn(1, 3, 48, 48, dtype=torch.float64)
    v = noise[:1].clone().requires_grad_(True)
    noisy = add_noise(latents[:1], noise[:1], t)

    def loss(v):
        decoded = decode(predicted_z0(noisy, v, t))
        return pixel_weight(t).double() * (decoded - images).square().mean()

    spatial = spatial_loss(decode, predicted_z0(noisy, v, t), images, t).sum()
    (gradient,) = torch.autograd.grad(spatial, v)
    step = torch.zeros_like(v)
    step[0, 1, 2, 3] = 1e-3
    with torch.no_grad():
        slope = (loss(v + step) - loss(v - step)) / 2e-3
    assert float(gradient[0, 1, 2, 3]) == pytest.approx(float(slope), rel=1e-3)


def test_perceptual_distance_is_added_and_late_timesteps_are_not_decoded(latents):
    decoded = []

    def decode(z0):
        decoded.append(len(z0))
        return torch.zeros(len(z0), 3, 48, 48)

    t = torch.tensor([0, 0, 500, 980, 999])
    images = torch.zeros(5, 3, 48, 48)
    loss = spatial_loss(decode, latents, images, t, lambda a, b: torch.full((len(a),), 2.0))
    torch.testing.assert_close(loss, torch.tensor([2.0, 2.0, 2 * 0.707107, 0, 0]))
    assert decoded == [3]


def test_nothing_is_decoded_if_no_sample_counts(latents):
    late = torch.full((5,), 999)
    assert spatial_loss(None, latents, torch.zeros(5, 3, 48, 48), late).tolist() == [0.0] * 5

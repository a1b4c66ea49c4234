"""Axes and ranges at the border to ComfyUI, in this process."""

import sys

import numpy as np
import pytest
import torch
from support import ROOT

from echomimic.config import LATENT_SCALE

PACK = str(ROOT).replace(".", "_x_")  # the name under which ComfyUI imports a pack


@pytest.fixture
def convert(pack):
    return sys.modules[f"{PACK}.nodes.convert"]


@pytest.fixture
def errors(pack):
    return sys.modules[f"{PACK}.echomimic.errors"]


def test_an_image_survives_the_way_to_pictures_and_back(convert):
    image = torch.rand(3, 8, 16, 3)  # (f, H, W, c)

    pictures = convert.pictures_from_image(image)

    assert pictures.shape == (3, 3, 8, 16)
    torch.testing.assert_close(convert.image_from_pictures(pictures), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_transparent_images_become_rgb(convert, channels):
    image = torch.full((1, 8, 8, channels), 0.5)

    picture = convert.picture_from_image(image)

    assert picture.shape == (8, 8, 3)
    assert picture.dtype == np.uint8
    assert (picture == 128).all()


def test_a_latent_survives_the_way_to_latents_and_back(convert):
    latents = torch.randn(5, 4, 8, 8)

    latent = convert.latent_from_latents(latents)

    assert latent["samples"].std() > 4  # unscaled: about 1 / 0.18215
    torch.testing.assert_close(convert.latents_from_latent(latent), latents)


def test_a_vae_is_given_the_same_numbers_whichever_way_latents_take(convert):
    """Straight away, or through a LATENT: every float32 there is but for its exponent and sign."""
    latents = (torch.arange(2**23, dtype=torch.int32) | 127 << 23).view(torch.float32)
    latents = latents.reshape(-1, 4, 64, 64)
    again = convert.latents_from_latent(convert.latent_from_latents(latents))
    assert not torch.equal(again, latents)  # rounded twice
    assert torch.equal(again / LATENT_SCALE, latents / LATENT_SCALE)


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (1, 4, 5, 8, 8)])
def test_latents_of_other_families_are_refused(convert, errors, shape):
    with pytest.raises(errors.OptionsError, match="connect the one that EchoMimic Sampler"):
        convert.latents_from_latent({"samples": torch.zeros(shape)})


def test_sound_is_cut_to_the_video(convert):
    sound = convert.audio_from_comfy({"waveform": torch.randn(1, 2, 1000), "sample_rate": 100})

    audio = convert.audio_to_comfy(sound, duration=2.5)

    assert audio["waveform"].shape == (1, 2, 250)
    assert audio["sample_rate"] == 100


def test_empty_sound_is_refused(convert, errors):
    with pytest.raises(errors.MediaError, match="The audio is empty"):
        convert.audio_from_comfy({"waveform": torch.zeros(1, 1, 0), "sample_rate": 100})


def test_a_mask_of_another_size_is_brought_to_the_portrait(convert):
    mask = torch.zeros(1, 10, 10)
    mask[:, :5] = 1

    plane = convert.plane_from_mask(mask, (40, 20))

    assert plane.shape == (40, 20)
    assert plane[:15].min() == 1
    assert plane[25:].max() == 0


SMALL = {"x": 0, "y": 0, "width": 5, "height": 5}
LARGE = {"x": 10, "y": 20, "width": 30, "height": 40, "label": "face", "score": 0.9}


@pytest.mark.parametrize("boxes", [LARGE, [SMALL, LARGE], [[SMALL, LARGE], [SMALL]]])
def test_the_largest_box_of_the_first_frame_is_the_face(convert, boxes):
    assert convert.box_from_bounding_boxes(boxes) == (10, 20, 40, 60)


@pytest.mark.parametrize("boxes", [[], [[]]])
def test_no_box_is_explained(convert, errors, boxes):
    with pytest.raises(errors.OptionsError, match="disconnect it to detect the face"):
        convert.box_from_bounding_boxes(boxes)


def test_the_box_of_face_landmarks_is_around_them_in_pixels(convert):
    points = np.array([[40.0, 50.0], [80.0, 50.0], [40.0, 110.0], [80.0, 110.0]])
    landmarks = {"frames": [[{"landmarks_xy": points}]], "image_size": (200, 150)}

    x0, y0, x1, y1 = convert.box_from_face_landmarks(landmarks)

    assert 37 < x0 <= 40 < 80 <= x1 < 83
    assert 30 < y0 < 50 < 110 < y1 < 120  # higher than the landmarks, as the models know faces


def test_face_landmarks_without_a_face_are_explained(convert, errors):
    with pytest.raises(errors.OptionsError, match="holds no face"):
        convert.box_from_face_landmarks({"frames": [[]], "image_size": (10, 10)})

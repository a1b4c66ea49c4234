"""Boxes, crops that know their way back, and masks."""

import numpy as np
import pytest
import torch

from echomimic.landmarks.face_box import (
    Crop,
    box_from_landmarks,
    crop_face,
    cut,
    face_mask,
    largest_box,
    whole_picture,
)

SIZES = [(512, 512), (768, 512), (512, 768), (256, 64)]
BORDER_BOXES = [
    (300, 250, 420, 410),  # in the middle
    (-20, -30, 120, 150),  # over the top left corner
    (700, 420, 830, 630),  # over the bottom right corner
    (0, 0, 800, 600),  # everything
    (400, 300, 401, 301),  # one pixel
]


def test_landmarks_give_their_hull_grown_by_the_stated_shares():
    landmarks = np.array([[0.25, 0.5, 9.0], [0.75, 0.5, 0.0], [0.5, 0.25, 0.0], [0.5, 0.75, 0.0]])

    box = box_from_landmarks(landmarks, 200, 100)

    assert box == pytest.approx((48, 17, 151, 78.25))


def test_the_largest_box_wins_and_none_is_none():
    assert largest_box([(0, 0, 2, 2), (5, 5, 9, 6), (1, 1, 4, 4)]) == (1, 1, 4, 4)
    assert largest_box([]) is None


@pytest.mark.parametrize("dimensions", [2, 3])
def test_points_return_from_the_crop_to_where_they_were(dimensions):
    crop = Crop((800, 600), (37, 11, 337, 511), (512, 768))
    points = np.random.default_rng(0).uniform(-100, 900, (5, 478, dimensions))

    np.testing.assert_allclose(crop.to_source(crop.to_crop(points)), points, atol=1e-10)
    np.testing.assert_allclose(crop.to_crop(crop.to_source(points)), points, atol=1e-10)


def test_points_move_with_the_pixels_they_mark():
    crop = Crop((64, 48), (8, 4, 40, 36), (64, 64))
    image = torch.zeros(1, 48, 64)
    image[0, 20, 30] = 1  # its middle is (30.5, 20.5)

    small = cut(image, crop)[0]

    weights = small / small.sum()
    x = (weights.sum(dim=0) * (torch.arange(64) + 0.5)).sum()
    y = (weights.sum(dim=1) * (torch.arange(64) + 0.5)).sum()
    np.testing.assert_allclose(crop.to_crop(np.array([30.5, 20.5])), [x, y], atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("box", BORDER_BOXES)
def test_a_crop_lies_in_the_picture_and_keeps_the_aspect_of_the_output(box, size):
    crop = crop_face(box, (800, 600), size)

    x0, y0, x1, y1 = crop.box
    assert 0 <= x0 < x1 <= 800
    assert 0 <= y0 < y1 <= 600
    assert (x1 - x0) * size[1] == pytest.approx((y1 - y0) * size[0], abs=max(size))


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("box", BORDER_BOXES[:3])
def test_a_crop_holds_the_part_of_the_face_that_is_in_the_picture(box, size):
    x0, y0, x1, y1 = crop_face(box, (800, 600), size).box

    assert x0 <= max(0, box[0])
    assert y0 <= max(0, box[1])
    assert x1 >= min(800, box[2])
    assert y1 >= min(600, box[3])


def test_away_from_borders_the_square_crop_is_the_official_one():
    box = (300, 250, 400, 380)
    ours, official = (
        crop_face(box, (800, 600), (512, 512), official=flag) for flag in (False, True)
    )
    assert ours == official


def test_at_the_border_the_crop_moves_where_the_official_one_shrinks():
    box = (10, 200, 110, 330)
    ours, official = (
        crop_face(box, (800, 600), (512, 512), official=flag) for flag in (False, True)
    )
    assert ours.box[2] - ours.box[0] == 200
    assert official.box[2] - official.box[0] < 200


def test_the_official_square_is_that_of_the_worked_example():
    # Spec 7.6: the rectangle [48, 41, 412, 481] gives the square (48, 79, 412, 443).
    crop = crop_face((139, 151, 321, 371), (512, 512), (256, 384), official=True)
    assert crop.box == (48, 79, 412, 443)
    assert crop.size == (256, 384)


def test_the_official_mask_of_a_face_at_the_border_is_lost_and_ours_is_not():
    box = (5, 3, 205, 203)
    crop = whole_picture((600, 600), (128, 128))
    ours = face_mask(box, crop)

    assert not face_mask(box, crop, official=True).any()
    assert ours[0, 0, 0] == 1
    assert ours.mean() == pytest.approx((225 / 600) * (223 / 600), abs=0.01)


def test_a_mask_is_one_on_the_grown_box_and_zero_elsewhere():
    crop = whole_picture((100, 80), (100, 80))
    mask = face_mask((40, 30, 60, 50), crop, ratio=0.1)

    expected = torch.zeros(1, 80, 100)
    expected[:, 28:52, 38:62] = 1
    torch.testing.assert_close(mask, expected)


def test_a_cut_without_resizing_is_the_pixels_themselves():
    image = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    crop = Crop((50, 40), (10, 4, 42, 36), (32, 32))

    torch.testing.assert_close(cut(image, crop), image[..., 4:36, 10:42])


def test_shrinking_averages_all_pixels_where_the_official_resize_skips_most():
    stripes = torch.zeros(1, 64, 64)
    stripes[:, :, ::8] = 1  # one white column in eight
    crop = whole_picture((64, 64), (8, 8))

    torch.testing.assert_close(cut(stripes, crop)[:, 2:-2, 2:-2].mean(), torch.tensor(0.125))
    assert cut(stripes, crop, antialias=False).max() == 0


def test_uint8_and_float_are_cut_alike():
    image = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8)
    crop = Crop((90, 60), (5, 0, 85, 60), (32, 24))

    for antialias in (True, False):
        exact = cut(image.float(), crop, antialias=antialias)
        assert (cut(image, crop, antialias=antialias).float() - exact).abs().max() <= 1

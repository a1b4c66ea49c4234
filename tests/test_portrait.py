"""A picture and a face box become what the models see; what cannot work is said in one sentence."""

import logging
import sys

import numpy as np
import pytest
import torch

from echomimic.config import Compatibility
from echomimic.errors import OptionsError, PortraitError
from echomimic.landmarks.portrait import prepare_portrait

OFFICIAL = Compatibility(official_crop=True)


def picture(width=400, height=300) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_image_and_mask_have_the_output_size_and_range():
    portrait = prepare_portrait(picture(), (64, 96), face_box=(150, 100, 210, 180))

    assert portrait.image.shape == (3, 96, 64)
    assert portrait.face_mask.shape == (1, 96, 64)
    assert -1 <= portrait.image.min() < -0.5 < 0.5 < portrait.image.max() <= 1
    assert portrait.face_mask.min() == 0
    assert portrait.face_mask.max() == 1


def test_the_mask_lies_on_the_face():
    box = (150.0, 100.0, 210.0, 180.0)
    portrait = prepare_portrait(picture(), (128, 128), face_box=box, mask_ratio=0)

    rows, columns = (portrait.face_mask[0] > 0.5).nonzero().unbind(1)
    corners = portrait.crop.to_crop(np.array([box[:2], box[2:]]))
    found = [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]
    np.testing.assert_allclose(np.array(found), corners, atol=1)


@pytest.mark.parametrize("compatibility", [Compatibility(), OFFICIAL])
@pytest.mark.parametrize("side", [8, 100, 700])
def test_without_a_face_all_of_the_picture_is_resized_and_masked_with_a_warning(
    caplog, side, compatibility
):
    image = picture(side, side)
    with caplog.at_level(logging.WARNING):
        portrait = prepare_portrait(image, (64, 64), compatibility=compatibility)

    assert portrait.crop.box == (0, 0, side, side)
    assert portrait.image.shape == (3, 64, 64)
    assert (portrait.face_mask == 1).all()
    assert portrait.face_box is None
    assert "No face box is known" in caplog.text
    assert "by hand" in caplog.text


def test_without_a_face_the_middle_is_used_unstretched_and_the_official_crop_stretches():
    image = picture(400, 200)
    assert prepare_portrait(image, (64, 64)).crop.box == (100, 0, 300, 200)
    assert prepare_portrait(image, (64, 64), compatibility=OFFICIAL).crop.box == (0, 0, 400, 200)


def test_a_mask_painted_by_hand_replaces_box_and_rectangle(caplog):
    mask = np.zeros((300, 400), np.float32)
    mask[100:180, 150:210] = 1
    mask[100, 150] = 0

    portrait = prepare_portrait(picture(), (120, 120), mask=mask)

    assert portrait.face_box == (150, 100, 210, 180)
    x0, y0, x1, y1 = portrait.crop.box
    torch.testing.assert_close(portrait.face_mask[0], torch.from_numpy(mask)[y0:y1, x0:x1])
    assert not caplog.records


def test_a_tiny_portrait_works_and_is_called_blurred(caplog):
    portrait = prepare_portrait(picture(8, 8), (512, 512), face_box=(1, 1, 6, 7))

    assert portrait.image.shape == (3, 512, 512)
    assert "enlarged" in caplog.text


def test_a_face_that_does_not_fit_is_announced(caplog):
    prepare_portrait(picture(200, 600), (192, 64), face_box=(20, 200, 180, 420))
    assert "without being cut" in caplog.text


def test_a_portrait_of_100_megapixels_takes_little_memory():
    resource = pytest.importorskip("resource")
    image = np.broadcast_to(np.uint8(128), (10_000, 10_000, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    portrait = prepare_portrait(image, (512, 512), face_box=(1000, 2000, 5000, 8000))

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < 900e6, "the picture itself is 300 MB; in float32 it would be 1200"
    assert portrait.crop.box == (0, 1000, 8000, 9000)
    torch.testing.assert_close(portrait.image, torch.full((3, 512, 512), 128 / 255 * 2 - 1))


@pytest.mark.parametrize(
    "size, name, nearest",
    [((501, 512), "width", 504), ((512, 3), "height", 32), ((-8, 512), "width", 32)],
)
def test_a_size_that_latents_cannot_have_is_refused_with_one_that_works(size, name, nearest):
    with pytest.raises(OptionsError, match=rf"{name} must be .* {nearest} would do"):
        prepare_portrait(picture(), size)


@pytest.mark.parametrize("option", ["crop_ratio", "mask_ratio"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_negative_or_endless_ratio_is_refused(option, value):
    with pytest.raises(OptionsError, match=option):
        prepare_portrait(picture(), (64, 64), face_box=(1, 1, 50, 50), **{option: value})


@pytest.mark.parametrize(
    "box",
    [
        (50, 50, 50, 90),
        (90, 50, 50, 90),
        (400, 10, 450, 90),
        (-50, 10, 0, 90),
        (0.1, 0.1, 0.4, 0.4),  # normalised by mistake
        (float("nan"), 0, 10, 10),
    ],
)
def test_a_box_outside_the_picture_is_refused(box):
    with pytest.raises(PortraitError, match="face box .* left, top, right, bottom"):
        prepare_portrait(picture(), (64, 64), face_box=box)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), picture(0, 5)])
def test_what_is_not_an_rgb_picture_is_refused(image):
    with pytest.raises(PortraitError, match="must be an RGB picture"):
        prepare_portrait(image, (64, 64))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(PortraitError, match="face mask is 64x32 pixels .* 400x300"):
        prepare_portrait(picture(), (64, 64), mask=np.ones((32, 64)))


@pytest.mark.parametrize("value", [0, float("nan")])
def test_an_empty_mask_is_refused(value):
    with pytest.raises(PortraitError, match="marks nothing"):
        prepare_portrait(picture(), (64, 64), mask=np.full((300, 400), value))

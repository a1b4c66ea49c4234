"""Pictures of every kind arrive as upright uint8 RGB, damaged ones as one sentence."""

import numpy as np
import pytest
from PIL import Image

from echomimic.errors import MediaError
from echomimic.media.image import read_image, write_image

RED_LEFT = np.zeros((4, 6, 3), np.uint8)
RED_LEFT[:, :3, 0] = 255


def saved(tmp_path, image: Image.Image, name: str = "picture.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_rgb_is_read_unchanged(tmp_path):
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(RED_LEFT))), RED_LEFT)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: rotate by 90 degrees clockwise
    path = saved(tmp_path, Image.fromarray(RED_LEFT), exif=exif)

    image = read_image(path)

    np.testing.assert_array_equal(image, np.rot90(RED_LEFT, k=-1))


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.dstack([RED_LEFT, np.zeros((4, 6), np.uint8)])
    rgba[:, 0, 3] = 255

    image = read_image(saved(tmp_path, Image.fromarray(rgba)))

    assert (image[:, 0] == [255, 0, 0]).all()
    assert (image[:, 1:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    name = "picture.jpg" if mode in ("CMYK", "YCbCr") else "picture.png"
    grey = Image.new("L", (16, 16), 255).convert("RGB").convert(mode)

    image = read_image(saved(tmp_path, grey, name))

    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8
    assert image.min() >= 253


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 257 * 100, 65535]], np.uint16)

    image = read_image(saved(tmp_path, Image.fromarray(levels)))

    np.testing.assert_array_equal(image[0, :, 0], [0, 100, 255])


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(MediaError, match="There is no picture .*nobody.png"):
        read_image(tmp_path / "nobody.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 64])
def test_a_file_that_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "portrait.png"
    path.write_bytes(content)

    with pytest.raises(MediaError, match="portrait.png cannot be read as a picture"):
        read_image(path)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg"])
def test_a_truncated_picture_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[:900])

    with pytest.raises(MediaError, match="cannot be read"):
        read_image(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(RED_LEFT))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    with pytest.raises(MediaError, match="cannot be read"):
        read_image(path)


def test_floating_point_pixels_are_refused_with_a_way_out(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((4, 4), np.float32)), "depth.tiff")

    with pytest.raises(MediaError, match="save it again as PNG or JPEG"):
        read_image(path)


def test_what_is_written_is_read_back(tmp_path):
    write_image(tmp_path / "out.png", RED_LEFT)

    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), RED_LEFT)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("name", ["no/such/folder.png", "picture.unknown"])
def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path, name):
    with pytest.raises(MediaError, match="cannot be written"):
        write_image(tmp_path / name, RED_LEFT)
    assert not list(tmp_path.iterdir())

"""Animated frames go back into their picture: nothing else changes, and no edge shows."""

import logging

import numpy as np
import pytest
import torch

from echomimic.errors import OptionsError, PortraitError
from echomimic.landmarks.blend import match_colours, movement, resized
from echomimic.landmarks.face_box import Crop, box_over_time, crop_face, cut, whole_picture
from echomimic.landmarks.paste import paste_back
from echomimic.landmarks.paste_mask import oval_mask, paste_mask
from echomimic.landmarks.track import LandmarkTrack

PICTURE, FACE = (160, 120), (60.0, 30.0, 100.0, 80.0)
CROP = crop_face(FACE, PICTURE, (64, 64))


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(width, height):
    """A picture without fine texture."""
    waves = [np.sin(np.arange(n) / n * 5) for n in (height, width)]
    plane = 128 + 60 * waves[0][:, None] * waves[1]
    return np.stack([plane, plane * 0.8, 255 - plane], axis=-1).astype(np.uint8)


def cropped(picture, crop):
    """The crop as the models get it, uint8 (h, w, 3)."""
    return cut(torch.from_numpy(picture).permute(2, 0, 1), crop).permute(1, 2, 0).numpy()


def pasted(frame, crop, picture, **options):
    return next(paste_back([frame], crop, picture, **options))


def difference(a, b):
    return np.abs(a.astype(int) - b)


def oval_track(x, frames=1):
    """A track of faces whose points lie on an ellipse around (x, 0.5) of the crop."""
    angle = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    face = np.stack([x + 0.15 * np.cos(angle), 0.5 + 0.2 * np.sin(angle), 0 * angle], axis=-1)
    return LandmarkTrack(np.stack([face] * frames), (64, 64), 24.0)


CROPS = {
    "shrunk": CROP,
    "shrunk tenfold": Crop((700, 700), (20, 10, 660, 650), (64, 64)),
    "of its own size": Crop(PICTURE, (40, 20, 104, 84), (64, 64)),
    "enlarged": Crop(PICTURE, (60, 40, 90, 70), (64, 64)),
    "enlarged and stretched": Crop(PICTURE, (60, 40, 81, 90), (128, 64)),
    "at the left border": crop_face((0, 30, 40, 80), PICTURE, (64, 64)),
    "in a corner": crop_face((130, 80, 160, 120), PICTURE, (64, 64)),
    "the whole picture": whole_picture(PICTURE, (64, 64)),
}


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("box", [None, FACE])
def test_an_unchanged_crop_gives_the_picture_back(crop, box):
    picture = noise(*crop.source_size)

    result = pasted(cropped(picture, crop), crop, picture, face_box=box)

    np.testing.assert_array_equal(result, picture)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_nothing_changes_outside_the_mask(crop):
    picture = noise(*crop.source_size)
    x0, y0, x1, y1 = crop.box
    box = (x0 + 4, y0 + 4, (x0 + x1) / 2, (y0 + y1) / 2)
    mask = paste_mask(crop, (x1 - x0, y1 - y0), face_box=box)
    untouched = np.ones(picture.shape[:2], dtype=bool)
    untouched[y0:y1, x0:x1] = mask == 0

    result = pasted(noise(*crop.size, seed=1), crop, picture, face_box=box)

    np.testing.assert_array_equal(result[untouched], picture[untouched])
    assert (result != picture).any()


def test_a_moved_face_replaces_the_old_one_without_a_ghost():
    crop = Crop((512, 512), (0, 0, 512, 512), (128, 128))
    picture = smooth(512, 512)
    picture[255:257, 150:350] = 0  # a lip, too thin for the crop
    closed = cropped(smooth(512, 512), crop)
    closed[50:80, 20:100] = 255

    result = pasted(closed, crop, picture, colour_match=0)

    inside = result[255:257, 180:320].astype(int)
    assert inside.min() > 245


def test_fine_texture_stays_where_the_face_does_not_move():
    crop = Crop((256, 256), (0, 0, 256, 256), (64, 64))
    picture = smooth(256, 256) // 2 + noise(256, 256) // 4
    frame = cropped(picture, crop)
    grainy = np.clip(frame + np.random.default_rng(2).normal(0, 3, frame.shape), 0, 255)

    result = pasted(grainy.astype(np.uint8), crop, picture)

    assert difference(result, picture).mean() < 3  # the texture's own deviation is 18


@pytest.mark.parametrize("feather", [0, 0.05, 0.12, 0.5])
@pytest.mark.parametrize("box", [None, FACE])
def test_the_mask_ends_before_the_crop_does(box, feather):
    x0, y0, x1, y1 = CROP.box

    mask = paste_mask(CROP, (x1 - x0, y1 - y0), face_box=box, feather=feather)

    for border in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert border.max() == 0
    assert mask.max() == 1 if feather < 0.5 else mask.max() > 0.9
    assert mask.min() >= 0


def test_the_feather_is_as_wide_as_it_says():
    crop = Crop((400, 400), (100, 100, 300, 300), (64, 64))

    middle = paste_mask(crop, (200, 200), feather=0.2)[100]

    assert ((middle > 0) & (middle < 1)).sum() == pytest.approx(2 * 0.2 * 200, abs=4)
    assert np.abs(np.diff(middle)).max() < 0.04  # no step anywhere


def test_the_mask_has_no_edge_where_the_picture_ends():
    crop = Crop((64, 64), (0, 0, 40, 64), (40, 64))

    mask = paste_mask(crop, (40, 64))

    assert mask[32, 0] == mask[0, 10] == mask[-1, 10] == 1
    assert mask[:, -1].max() == 0


def test_the_mask_is_round_around_the_face_and_has_round_corners_without_one():
    crop = Crop((400, 400), (100, 100, 300, 300), (64, 64))

    around_face = paste_mask(crop, (200, 200), face_box=(180, 180, 220, 220), feather=0)
    whole = paste_mask(crop, (200, 200), feather=0)

    side = around_face.any(axis=0).sum()
    assert around_face.sum() / side**2 == pytest.approx(np.pi / 4, abs=0.03)
    assert whole[100, 2] == whole[2, 100] == 1
    assert whole[8, 8] == 0


def test_the_oval_mask_lies_around_the_points():
    left, right = (
        oval_mask(oval_track(x).points[0], CROP, (64, 64), 0.1).mean(axis=0) for x in (0.3, 0.7)
    )

    assert left.argmax() == pytest.approx(0.3 * 64, abs=3)
    np.testing.assert_allclose(left, right[::-1], atol=0.02)


def test_with_landmarks_the_mask_reaches_a_face_that_moves_away():
    picture, frame = np.zeros((400, 400, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    crop, box = Crop((400, 400), (50, 50, 350, 350), (64, 64)), (80.0, 170.0, 120.0, 230.0)
    options = {"face_box": box, "colour_match": 0}

    fixed = pasted(frame, crop, picture, **options)
    following = pasted(frame, crop, picture, **options, landmarks=oval_track(0.7))

    assert fixed[200, 270].max() == 0
    assert following[200, 270].min() > 150
    np.testing.assert_array_equal(following[200, 100], fixed[200, 100])


def test_a_face_that_leaves_the_crop_is_not_cut_off_at_its_border():
    picture, frame = np.zeros((400, 400, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    crop = Crop((400, 400), (50, 50, 350, 350), (64, 64))

    result = pasted(frame, crop, picture, landmarks=oval_track(1.0), colour_match=0)

    assert result[:, 349].max() == 0
    assert result[200, 349 - 60].min() > 150


def test_a_track_shorter_than_the_clip_holds_its_last_frame():
    frames = [noise(64, 64)] * 3

    results = list(paste_back(frames, CROP, noise(*PICTURE), landmarks=oval_track(0.5, frames=1)))

    np.testing.assert_array_equal(results[0], results[2])


def cast(frame, gain, offset):
    return np.clip(frame * np.array(gain) + offset, 0, 255).round().astype(np.uint8)


def test_a_colour_cast_is_taken_out():
    picture = smooth(*PICTURE)
    frame = cast(cropped(picture, CROP), (0.9, 1.0, 1.1), (10, -6, -9))

    with_cast = pasted(frame, CROP, picture, colour_match=0)
    half = pasted(frame, CROP, picture, colour_match=0.5)
    matched = pasted(frame, CROP, picture)

    assert difference(with_cast, picture).max() >= 6
    assert difference(matched, picture).max() <= 2
    assert difference(half, (with_cast.astype(float) + matched) / 2).max() <= 1.5


def test_the_colours_are_decided_once_so_that_nothing_flickers():
    picture = smooth(*PICTURE)
    frame = cropped(picture, CROP)
    flash = cast(frame, (1, 1, 1), (12, 12, 12))  # means it: a light goes on

    steady, lit, after = paste_back([frame, flash, frame], CROP, picture, face_box=FACE)

    np.testing.assert_array_equal(steady, picture)
    np.testing.assert_array_equal(after, picture)
    assert difference(lit, picture)[55, 80].min() >= 11


def test_equal_colours_are_left_exactly_as_they_are():
    image = torch.rand(3, 16, 16) * 255

    colours = match_colours(image, image, torch.rand(16, 16))

    torch.testing.assert_close(colours.apply(image), image, rtol=0, atol=0)


def test_flat_or_invisible_surroundings_change_no_contrast():
    flat, grain = torch.full((3, 8, 8), 100.0), torch.rand(3, 8, 8) * 50

    brighter = match_colours(flat, flat + 20, torch.ones(8, 8))
    unseen = match_colours(grain, flat, torch.zeros(8, 8))

    torch.testing.assert_close(brighter.apply(flat), flat + 20)
    torch.testing.assert_close(unseen.apply(grain), grain)


def test_a_blurred_face_is_not_made_harsh():
    grain = torch.rand(3, 32, 32) * 200
    blurred = 100 + (grain - 100) * 0.2

    colours = match_colours(blurred, grain, torch.ones(32, 32))

    assert colours.gain.max() <= 1.25


def test_movement_is_seen_where_it_is_and_grain_is_none():
    change = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(0))
    change[:, 32:40, 64:72] = 40

    moved = resized(movement(change), (128, 128))[0]

    assert moved[36, 68] == 1
    assert moved[100, 20] == moved[36, 100] == 0


def test_every_frame_of_a_video_gets_its_frame():
    originals = [np.full((120, 160, 3), level, np.uint8) for level in (10, 60, 110)]
    frames = [cropped(picture, CROP) for picture in originals]

    results = list(paste_back(iter(frames), CROP, iter(originals)))

    np.testing.assert_array_equal(results, originals)


def test_a_short_video_holds_its_last_frame_and_says_so(caplog):
    originals = [np.full((120, 160, 3), level, np.uint8) for level in (10, 60)]
    frames = [cropped(originals[1], CROP)] * 4

    with caplog.at_level(logging.WARNING):
        results = list(paste_back(frames, CROP, originals, colour_match=0))

    assert len(results) == 4
    np.testing.assert_array_equal(results[3], originals[1])
    assert [record.message for record in caplog.records] == [
        "The video ends before the animated face does; its last frame is held."
    ]


def test_a_long_video_is_cut_to_the_animated_face():
    originals = np.zeros((5, 120, 160, 3), np.uint8)
    assert len(list(paste_back([noise(64, 64)] * 2, CROP, originals))) == 2


def test_one_frame_is_worked_on_at_a_time():
    taken = {"frames": 0, "originals": 0}

    def counted(name, make):
        while True:
            taken[name] += 1
            yield make()

    results = paste_back(
        counted("frames", lambda: noise(64, 64)),
        CROP,
        counted("originals", lambda: noise(*PICTURE)),
    )

    assert taken == {"frames": 0, "originals": 0}
    for number in range(1, 4):
        next(results)
        assert taken == {"frames": number, "originals": number}


def test_neither_the_original_nor_the_frame_is_written_to():
    picture, frame = noise(*PICTURE), noise(64, 64)
    picture.flags.writeable = frame.flags.writeable = False

    result = pasted(frame, CROP, picture)

    assert result is not picture
    assert result.flags.writeable


def test_enlarged_frames_are_pasted_with_all_their_detail():
    crop = Crop((300, 300), (22, 22, 278, 278), (64, 64))
    picture = smooth(300, 300)
    fine = cropped(picture, Crop((300, 300), crop.box, (256, 256)))
    fine[100:140:2, 100:140] = 255

    result = pasted(fine, crop, picture, colour_match=0)

    np.testing.assert_array_equal(result[122:162, 122:162], fine[100:140, 100:140])


def test_one_box_holds_the_face_over_time():
    assert box_over_time([(10, 20, 50, 60), (5, 30, 40, 90)]) == (5.0, 20.0, 50.0, 90.0)
    assert box_over_time([]) is None


@pytest.mark.parametrize(
    ("frame", "picture", "message"),
    [
        (noise(64, 48), noise(*PICTURE), "64x48 pixels and the crop is 64x64"),
        (noise(64, 64) / 255, noise(*PICTURE), "float64"),
        (noise(64, 64), noise(100, 100), "100x100 pixels, but the crop was taken from 160x120"),
        (noise(64, 64), np.zeros((120, 160, 4), np.uint8), "must be an RGB picture"),
        (noise(64, 64), [], "has no frames"),
    ],
)
def test_pictures_that_do_not_fit_are_refused_in_one_sentence(frame, picture, message):
    with pytest.raises(PortraitError, match=message):
        pasted(frame, CROP, picture)


def test_a_frame_that_changes_its_size_is_named():
    results = paste_back([noise(64, 64), noise(32, 32)], CROP, noise(*PICTURE))
    next(results)
    with pytest.raises(PortraitError, match="Frame 1 "):
        next(results)


@pytest.mark.parametrize("option", [{"feather": -0.1}, {"feather": 0.6}, {"colour_match": 2}])
def test_options_are_checked_at_once(option):
    with pytest.raises(OptionsError, match=next(iter(option))):
        paste_back([], CROP, noise(*PICTURE), **option)

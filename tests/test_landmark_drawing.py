"""Points become coloured lines as the models know them, at any size, whatever the points are."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from echomimic.errors import LandmarkError
from echomimic.landmarks.draw import draw_landmarks, draw_track, landmark_images, overlay
from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, LINES, NUM_POINTS, PARTS, SQUARES
from echomimic.landmarks.track import LandmarkTrack

SIZE = (512, 512)
NOSE_TIP = SQUARES["nose"][0].point
NOSE_COLOUR = SQUARES["nose"][0].colour


def face(seed: int, spread: float = 0.25) -> np.ndarray:
    """Points around the middle; a spread of 0.25 puts some of them outside of the picture."""
    return np.random.default_rng(seed).normal(0.5, spread, (NUM_POINTS, 3))


def nose_at(x: float, y: float) -> np.ndarray:
    points = np.full((NUM_POINTS, 2), 0.5)
    points[NOSE_TIP] = x, y
    return draw_landmarks(points, SIZE, {"nose"})


def drawn_edge_by_edge(points: np.ndarray, parts: set[str]) -> np.ndarray:
    """The rules of spec 8.3, one edge at a time."""
    cv2 = pytest.importorskip("cv2")
    canvas = np.zeros((512, 512, 3), np.uint8)

    def pixel(point):
        x, y = points[point, :2]
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return None
        return min(int(x * 512), 511), min(int(y * 512), 511)

    for part, lines in LINES.items():
        for line in lines if part in parts else ():
            for start, end in pairwise(line.points):
                if pixel(start) and pixel(end):
                    cv2.line(canvas, pixel(start), pixel(end), line.colour, 2)
    for part, squares in SQUARES.items():
        for square in squares if part in parts else ():
            x, y = points[square.point, :2]
            if 0 <= x < 1 and 0 <= y < 1:
                column, row = int(512 * x), int(512 * y)
                canvas[row - 3 : row + 3, column - 3 : column + 3] = square.colour
    return canvas


@pytest.mark.parametrize("spread", [0.01, 0.1, 0.25, 0.6])
def test_lines_drawn_at_once_are_the_lines_drawn_edge_by_edge(spread):
    for seed in range(15):
        points = face(seed, spread)
        drawn = draw_landmarks(points, SIZE, PARTS, irises=True)
        np.testing.assert_array_equal(drawn, drawn_edge_by_edge(points, {*PARTS, "irises"}))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_drawn_in_its_own_colours_only(part):
    drawn = draw_landmarks(face(0, 0.1), SIZE, {part})

    marks = (*LINES.get(part, ()), *SQUARES.get(part, ()))
    seen = {tuple(map(int, pixel)) for pixel in drawn[drawn.any(axis=-1)]}
    assert seen == {mark.colour for mark in marks}


def test_the_mouth_and_the_contour_are_left_out_by_default():
    points = face(0, 0.1)
    chosen = draw_landmarks(points, SIZE, set(PARTS) - {"mouth", "contour"})
    np.testing.assert_array_equal(draw_landmarks(points, SIZE), chosen)


def test_no_parts_give_a_black_picture():
    assert not draw_landmarks(face(0), SIZE, ()).any()


def test_a_point_outside_takes_its_lines_with_it():
    points = np.full((NUM_POINTS, 2), np.nan)
    upper, lower = LINES["left_brow"]
    points[list(upper.points)] = [[0.1, 0.5], [0.2, 0.5], [1.2, 0.5], [0.4, 0.5], [0.5, 0.5]]

    columns = draw_landmarks(points, SIZE, {"left_brow"}).any(axis=(0, 2)).nonzero()[0] / 512

    assert columns.min() == pytest.approx(0.1, abs=0.01)
    assert not ((columns > 0.21) & (columns < 0.39)).any()
    assert columns.max() == pytest.approx(0.5, abs=0.01)


def test_the_borders_belong_to_the_picture():
    points = np.full((NUM_POINTS, 2), np.nan)
    points[list(LINES["left_brow"][0].points)] = 1.0
    assert draw_landmarks(points, SIZE, {"left_brow"})[511, 511].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e300, 1e300, -0.001, 1.0])
def test_a_square_on_no_point_of_the_picture_is_left_out_silently(value, recwarn):
    assert not nose_at(value, 0.5).any()
    assert not nose_at(0.5, value).any()
    assert not list(recwarn)


def test_squares_are_six_pixels_wide_and_vanish_at_the_top_and_left():
    assert (nose_at(0.5, 0.5)[253:259, 253:259] == NOSE_COLOUR).all()
    assert nose_at(0.5, 0.5).any(axis=-1).sum() == 36
    assert nose_at(0.999, 0.999).any(axis=-1).sum() == 16
    assert not nose_at(2.9 / 512, 0.5).any()
    assert not nose_at(0.5, 2.9 / 512).any()
    assert nose_at(3 / 512, 3 / 512)[0, 0].any()


@pytest.mark.parametrize("size", [(64, 96), (512, 256), (768, 1000)])
def test_any_size_shows_the_picture_of_512_resized(size):
    cv2 = pytest.importorskip("cv2")
    points = face(0, 0.1)
    resized = cv2.resize(draw_landmarks(points, SIZE), size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(draw_landmarks(points, size), resized)


def track(num_frames: int = 4, **changes) -> LandmarkTrack:
    points = np.stack([face(seed, 0.1) for seed in range(num_frames)])
    return LandmarkTrack(points, (640, 480), 25, **changes)


def test_a_track_is_drawn_with_its_own_parts_and_in_the_order_asked_for():
    chosen = track(parts=frozenset({"mouth"}))
    drawn = draw_track(chosen, (64, 48), [2, 0])

    assert drawn.shape == (2, 48, 64, 3)
    for picture, frame in zip(drawn, [2, 0], strict=True):
        expected = draw_landmarks(chosen.points[frame], (64, 48), {"mouth"})
        np.testing.assert_array_equal(picture, expected)


def test_all_frames_of_a_track_are_drawn_by_default():
    chosen = track()
    np.testing.assert_array_equal(
        draw_track(chosen, (64, 64)), draw_track(chosen, (64, 64), range(4))
    )


def test_images_for_the_network_are_the_drawings_in_0_to_1():
    chosen = track()
    images = landmark_images(chosen, (64, 48), [1, 3])

    assert images.shape == (2, 3, 48, 64)
    assert images.dtype == torch.float32
    drawn = torch.from_numpy(draw_track(chosen, (64, 48), [1, 3])).permute(0, 3, 1, 2)
    torch.testing.assert_close(images, drawn / 255, rtol=0, atol=0)


def test_drawing_does_not_change_the_points():
    points = face(0)
    before = points.copy()
    draw_landmarks(points, (100, 100))
    np.testing.assert_array_equal(points, before)


def test_an_overlay_keeps_the_picture_where_nothing_is_drawn():
    picture = np.full((512, 512, 3), 255, np.uint8)
    drawing = draw_landmarks(face(0, 0.1), SIZE, set(PARTS) - {"contour"})
    lies = drawing.any(axis=-1)

    shown = overlay(picture, drawing)

    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[lies], drawing[lies])
    assert (shown[~lies] == 255).all()


def test_the_soft_edges_of_a_resized_drawing_do_not_darken_or_overflow_the_picture():
    drawing = draw_landmarks(face(0, 0.1), (100, 100), set(PARTS))
    shown = overlay(np.full((100, 100, 3), 255, np.uint8), drawing)

    faint = (drawing.max(axis=-1) > 0) & (drawing.max(axis=-1) < 20)
    assert faint.any()
    assert shown[faint].min() > 200


def test_an_overlay_of_another_size_is_refused():
    with pytest.raises(LandmarkError, match="64x32 .* 32x64"):
        overlay(np.zeros((64, 32, 3), np.uint8), np.zeros((32, 64, 3), np.uint8))


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(LandmarkError, match="pip install opencv-python-headless"):
        draw_landmarks(face(0), SIZE)


def test_the_default_is_what_the_official_scripts_draw():
    assert DRAWN_BY_DEFAULT.isdisjoint({"mouth", "contour"})

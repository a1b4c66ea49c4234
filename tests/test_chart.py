"""Curves are drawn where their values are, with round ticks beside them."""

import numpy as np
import pytest

from echomimic.media.chart import Chart, Panel, span, split, ticks

RED, BOX = "#ff0000", (20, 10, 120, 60)  # a value of x is 10 pixels, one of y is 5


def panel(x=(0, 10), y=(0, 10), size=(140, 80)):
    chart = Chart(size)
    return chart, Panel(chart, BOX, x, y)


def red(chart):
    """Where it is red, (y, x) of each pixel."""
    pixels = chart.pixels().astype(int)
    return np.argwhere((pixels[..., 0] > 200) & (pixels[..., 1] < 120))


def test_a_point_is_drawn_where_it_belongs():
    chart, area = panel()
    area.dots(np.array([5.0]), np.array([2.0]), RED)
    y, x = red(chart).mean(axis=0) + 0.5
    assert (x, y) == (pytest.approx(20 + 50, abs=1), pytest.approx(60 - 10, abs=1))
    assert chart.pixels().shape == (80, 140, 3)
    assert chart.pixels().dtype == np.uint8


def test_lines_break_where_there_is_no_number_and_stay_in_their_box():
    chart, area = panel()
    unknown = np.nan
    ys = np.array([5, 5, 5, unknown, unknown, unknown, 5, 5, 99, -99, 5])
    area.line(np.arange(11), ys, RED, width=3)
    ys, xs = red(chart).T
    assert not ((xs > 42) & (xs < 78)).any()
    assert {21, 38, 82}.issubset(xs)
    assert ys.min() >= 8 and ys.max() <= 61


def test_dashes_leave_as_much_out_as_they_draw():
    counts = []
    for dash in (0, 5):
        chart, area = panel()
        area.level(5, RED, width=2, dash=dash)
        counts.append(len(red(chart)))
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.2)


def test_areas_reach_down_to_the_lower_edge():
    chart, area = panel()
    area.area(np.array([2.0, 4.0]), np.array([5.0, 5.0]), RED)
    ys, xs = red(chart).T
    assert (xs.min(), xs.max()) == (pytest.approx(40, abs=1), pytest.approx(60, abs=1))
    assert (ys.min(), ys.max()) == (pytest.approx(35, abs=1), pytest.approx(60, abs=1))


@pytest.mark.parametrize(
    "limits, most, words",
    [
        ((0, 1), 5, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ((-60, 0), 3, ["-60", "-40", "-20", "0"]),
        ((0.81, 0.97), 2, ["0.9"]),
        ((0, 36_000), 4, ["0", "10000", "20000", "30000"]),
        ((0, 1e-7), 2, ["0", "5e-08", "1e-07"]),
    ],
)
def test_ticks_are_round_numbers(limits, most, words):
    assert [written for _, written in ticks(limits, most)] == words


def test_a_range_has_room_for_all_that_is_known():
    low, high = span(np.array([1.0, np.nan, 3.0]), None, np.array([2.0, np.inf]))
    assert low < 1 and 3 < high < 3.5
    assert span(np.array([1.0, 3.0]), low=0)[0] == 0
    for nothing in ([], [np.nan], [0.0, 0.0]):
        low, high = span(np.array(nothing))
        assert low < high
        assert span(np.array(nothing), low=0)[1] > 0


def test_parts_fill_what_there_is_in_their_shares():
    assert split(10, 110, (2, 1, 1), 10) == [(10, 50), (60, 80), (90, 110)]


def test_titles_and_pictures_of_any_size_are_drawn():
    for size in ((140, 80), (3000, 80)):
        chart, area = panel(x=(3, 3), size=size)  # a single value
        area.line(np.array([3.0]), np.array([1.0]), RED)
        area.frame("title", "left", "below")
        area.right("right")
        chart.picture((30, 20, 60, 50), np.full((5, 9, 3), (0, 200, 0), np.uint8), "green")
        pixels = chart.pixels()
        assert pixels.shape == (size[1], size[0], 3)
        assert (pixels == (0, 200, 0)).all(axis=-1).sum() > 200
        assert (pixels < 100).all(axis=-1).sum() > 300

"""Drawings of the official code from stored landmarks, byte for byte (golden face/i and face/j)."""

import re

import numpy as np
import pytest
from support import GOLDEN, golden_arrays

from echomimic.landmarks.draw import draw_landmarks
from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, PARTS

pytest.importorskip("cv2")
DRAWINGS = "face/i_landmarks.npz"
SYNCHRONISED = "face/j_motion_sync.npz"
STYLES = {  # what the official scripts draw, by the name in the key
    "": (DRAWN_BY_DEFAULT, False),
    "demo": (DRAWN_BY_DEFAULT | {"mouth"}, False),
    "all": (PARTS, True),
}
KEY = re.compile(r"(?P<case>.+)\.draw(?:_(?P<style>[a-z]{2,}))?_[wh]?\d.*")


def keys(file: str, wanted: str) -> list[str]:
    return [key for key in golden_arrays(file) if wanted in key] if (GOLDEN / file).exists() else []


def stored_points(arrays: dict[str, np.ndarray], case: str, size: tuple[int, int]) -> np.ndarray:
    """Pose files hold pixels, which the official code divides by the size of the video (D21)."""
    if f"{case}.lmks" in arrays:
        return arrays[f"{case}.lmks"]
    return arrays[f"{case}.landmarks"][:, :2] / size


@pytest.mark.parametrize("key", keys(DRAWINGS, ".draw"))
def test_the_drawing_is_the_official_one(key):
    arrays = golden_arrays(DRAWINGS)
    case, style = KEY.fullmatch(key).group("case", "style")
    expected = arrays[key]
    size = (expected.shape[1], expected.shape[0])
    parts, irises = STYLES[style or ""]

    drawn = draw_landmarks(stored_points(arrays, case, size), size, parts, irises=irises)

    assert drawn.dtype == expected.dtype
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("key", keys(SYNCHRONISED, ".drawn_first_last"))
def test_the_drawing_of_synchronised_landmarks_is_the_official_one(key):
    arrays = golden_arrays(SYNCHRONISED)
    expected = arrays[key]
    size = (expected.shape[2], expected.shape[1])
    points = arrays[key.replace("drawn_first_last", "synced")][[0, -1]] / 512

    parts, irises = STYLES[""]
    drawn = [draw_landmarks(frame, size, parts, irises=irises) for frame in points]

    np.testing.assert_array_equal(drawn, expected)

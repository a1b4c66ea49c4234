"""The portrait's own face, found in its crop."""

from contextlib import nullcontext

import numpy as np
import pytest
from faces import found_face

from echomimic.errors import LandmarkError, WeightsError
from echomimic.landmarks.portrait import prepare_portrait
from echomimic.motion import portrait_face as module
from echomimic.motion.portrait_face import check_face_in, portrait_face


def portrait(face_box=None):
    return prepare_portrait(np.full((100, 200, 3), 128, np.uint8), (128, 64), face_box=face_box)


@pytest.fixture
def found(monkeypatch):
    """What the detector is said to find in the crop, largest first."""
    faces = []
    monkeypatch.setattr(module, "open_landmarker", lambda *_, **__: nullcontext())
    monkeypatch.setattr(module, "look", lambda *_: faces)
    monkeypatch.setattr(module, "look_in_parts", lambda *_: [])
    monkeypatch.setattr(module, "read_canonical", lambda _path: None)
    return faces


@pytest.mark.parametrize("face_box, expected", [(None, 0.3), ((130, 30, 170, 70), 0.75)])
def test_of_two_faces_that_of_the_face_box_is_driven(found, face_box, expected):
    found += [found_face(0.3, width=0.4), found_face(0.75, width=0.2)]
    whole = portrait()
    chosen = module.Portrait(whole.image, whole.face_mask, whole.crop, face_box)

    track = portrait_face(chosen, None)

    assert (track.num_frames, track.size) == (1, (128, 64))
    assert track.points[0, :, 0].mean() == pytest.approx(expected, abs=0.02)


def test_a_portrait_without_a_face_says_to_place_one(found):
    with pytest.raises(LandmarkError, match="No face .* 128x64 .*by hand .*Place Face"):
        portrait_face(portrait(), None)


def test_without_the_model_both_other_ways_are_named():
    with pytest.raises(WeightsError, match="get https.*Detect Face Landmarks.*Place Face"):
        portrait_face(portrait(), None)


def test_a_face_of_another_picture_than_the_crop_is_refused(found):
    found.append(found_face(0.5))
    track = portrait_face(portrait(), None)
    check_face_in(portrait(), track)
    larger = prepare_portrait(np.full((100, 100, 3), 128, np.uint8), (64, 64))
    with pytest.raises(LandmarkError, match="picture of 128x64 .* has 64x64"):
        check_face_in(larger, track)

"""Parts of a face chosen, made stronger or weaker, and moved by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from face_tracks import moving_face, pixels, posed, still_face, without_mesh

from echomimic.errors import LandmarkError, OptionsError
from echomimic.landmarks.camera import project
from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, PARTS
from echomimic.motion.edit import select_parts
from echomimic.motion.parts import (
    PRESETS,
    PartEdit,
    PartSelection,
    PartSetting,
    edits_from_json,
    preset,
    selection_from_json,
    selection_of,
)
from echomimic.motion.rotations import rotation_vectors
from echomimic.motion.space import PART_POINTS, face_space

TRACKS = {"3d": moving_face(), "2d": without_mesh(moving_face())}
BOTH = pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)


def with_gain(part, gain):
    return PartSelection().with_gains({part: gain})


def with_edit(part, **edit):
    return PartSelection().with_edits({part: (PartEdit(**edit),)})


def expression(track):
    """How far the shape is from the face at rest, (f, 478)."""
    space = face_space(track)
    return np.linalg.norm(space.shape - space.neutral, axis=-1)


def others(part):
    return np.setdiff1d(np.arange(478), PART_POINTS[part])


@BOTH
@pytest.mark.parametrize("name", PRESETS)
def test_presets_draw_their_parts(track, name):
    drawn = {
        "all but mouth": DRAWN_BY_DEFAULT,
        "all": set(PARTS) - {"contour"},
        "eyes and brows": {"left_eye", "right_eye", "left_brow", "right_brow", "pupils"},
        "head pose only": DRAWN_BY_DEFAULT,
    }
    assert select_parts(track, preset(name)).parts == drawn[name]


@BOTH
def test_without_gains_and_edits_every_point_stays_what_it_was(track):
    selected = select_parts(track, selection_of(["mouth"]))
    assert selected.points.tobytes() == track.points.tobytes()
    assert selected.parts == {"mouth"}


@BOTH
@pytest.mark.parametrize("part", ["mouth", "left_eye"])
def test_a_part_of_gain_0_rests_and_follows_the_head(track, part):
    track = replace(track, neutral=None if track.mesh is None else still_face().mesh[0])
    before = expression(track)[:, PART_POINTS[part]]

    frozen = select_parts(track, with_gain(part, 0))

    assert before.max() > 0.2
    if track.mesh is not None:
        assert expression(frozen)[:, PART_POINTS[part]].max() < 1e-9
    else:  # in pixels: perspective is unknown there
        assert np.ptp(face_space(frozen).shape[:, PART_POINTS[part]], axis=0).max() < 1
    np.testing.assert_array_equal(
        frozen.points[:, others(part), :2], track.points[:, others(part), :2]
    )


def test_gain_scales_the_expression():
    track = replace(moving_face(), neutral=still_face().mesh[0])
    points = list(PART_POINTS["mouth"])
    for gain in (0.5, 2.0):
        scaled = select_parts(track, with_gain("mouth", gain))
        np.testing.assert_allclose(
            expression(scaled)[:, points], gain * expression(track)[:, points], atol=1e-9
        )


def test_pupils_and_eyes_have_gains_of_their_own():
    mesh = np.repeat(still_face().mesh, 3, axis=0)
    mesh[1, PART_POINTS["pupils"], 0] += 0.3
    mesh[1, PART_POINTS["left_eye"], 1] -= 0.2
    track = posed(mesh)
    frozen = select_parts(track, with_gain("left_eye", 0).with_gains({"right_eye": 0}))
    np.testing.assert_array_equal(frozen.mesh[:, 468:], mesh[:, 468:])
    np.testing.assert_allclose(frozen.mesh[1, :468], mesh[0, :468], atol=1e-12)


@BOTH
def test_head_pose_only_keeps_the_head_and_no_expression(track):
    selected = select_parts(track, preset("head pose only"))
    shape = face_space(selected).shape[:, PART_POINTS["mouth"]]
    assert np.ptp(shape, axis=0).max() < (1e-9 if track.mesh is not None else 1)
    assert np.ptp(pixels(selected)[:, 4], axis=0).max() > 5  # pixels: the nose still travels


@BOTH
def test_head_gain_0_holds_the_head_still(track):
    selected = select_parts(track, PartSelection(head_gain=0))
    brows = pixels(selected)[:, PART_POINTS["left_brow"]]  # they have no expression here
    travel = np.ptp(pixels(track)[:, PART_POINTS["left_brow"]], axis=0).max()
    assert np.ptp(brows, axis=0).max() < (1e-9 if track.mesh is not None else 0.1 * travel)
    assert np.ptp(pixels(selected)[:, 13], axis=0).max() > 1  # the mouth goes on


def test_head_gain_doubles_turn_and_shift():
    track = moving_face()
    doubled = select_parts(track, PartSelection(head_gain=2)).transforms

    def since_first(transforms):
        return rotation_vectors(transforms[0, :3, :3].T @ transforms[:, :3, :3])

    np.testing.assert_allclose(since_first(doubled), 2 * since_first(track.transforms), atol=1e-9)
    shift, twice = (t[:, :2, 3] - t[0, :2, 3] for t in (track.transforms, doubled))
    np.testing.assert_allclose(twice, 2 * shift, atol=1e-9)
    assert (doubled[:, 2, 3] < 0).all()


@pytest.mark.parametrize(
    "selection",
    [
        with_gain("mouth", 2),
        PartSelection(head_gain=1.7),
        with_edit("left_eye", offset=(0.1, 0.05), scale=1.3, rotation=20),
    ],
    ids=["gain", "head", "edit"],
)
def test_mesh_transforms_and_points_agree(selection):
    track = select_parts(moving_face(), selection)
    projected = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(projected, track.points[..., :2], atol=1e-9)


@BOTH
def test_an_offset_moves_a_part_by_shares_of_the_face(track):
    moved = select_parts(track, with_edit("mouth", offset=(0.1, 0.05)))
    width = np.linalg.norm(pixels(track)[0, 234] - pixels(track)[0, 454])
    shift = (pixels(moved) - pixels(track))[0, PART_POINTS["mouth"]]  # the head looks at us
    np.testing.assert_allclose(shift, np.tile([0.1 * width, 0.05 * width], (40, 1)), rtol=0.3)
    np.testing.assert_array_equal(
        moved.points[:, others("mouth"), :2], track.points[:, others("mouth"), :2]
    )


@BOTH
def test_a_part_grows_and_turns_clockwise_about_its_centre(track):
    points = list(PART_POINTS["mouth"])

    def ends(selection):
        mouth = pixels(select_parts(track, selection))[0]
        return mouth[291] - mouth[61], mouth[points].mean(axis=0)

    (before, centre), (after, moved) = (
        ends(PartSelection()),
        ends(with_edit("mouth", scale=1.5, rotation=90)),
    )
    np.testing.assert_allclose(after, 1.5 * np.array([-before[1], before[0]]), atol=3)
    np.testing.assert_allclose(moved, centre, atol=3)  # pixels


def test_an_edited_eye_takes_its_pupil_along():
    track = moving_face()
    moved = pixels(select_parts(track, with_edit("right_eye", offset=(0, 0.1)))) - pixels(track)
    assert moved[0, 468, 1] > 5
    np.testing.assert_array_equal(moved[:, 473], 0)


def test_edits_move_evenly_between_their_times_and_hold_outside():
    track = moving_face(26)
    keys = (PartEdit(0.2, offset=(0, 0)), PartEdit(0.6, offset=(0.2, 0)))
    selection = PartSelection().with_edits({"nose": keys})
    shift = (select_parts(track, selection).mesh - track.mesh)[:, 4]
    shift = np.linalg.norm(shift, axis=1)  # (26,), a frame every 0.04 s
    assert shift[:6].max() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(shift[10], shift[-1] / 2, rtol=1e-6)
    np.testing.assert_allclose(shift[15:], shift[-1], rtol=1e-6)


def test_a_selection_is_read_from_json():
    keys = (PartEdit(0.5, (0.1, -0.2), 1.2, 5.0), PartEdit(1.0))
    first = {"part": "mouth", "time": 0.5, "offset": [0.1, -0.2], "scale": 1.2, "rotation": 5}
    edits = [first, {"part": "mouth", "time": 1}]
    text = {"on": ["mouth"], "gains": {"mouth": 1.5}, "head_gain": 0.5, "edits": edits}
    selection = PartSelection({"mouth": PartSetting(gain=1.5, edits=keys)}, head_gain=0.5)
    assert selection_from_json(json.dumps(text)) == selection
    assert selection_from_json("{}") == PartSelection()


def test_edits_are_sorted_by_time_and_the_later_of_two_counts():
    text = json.dumps(
        [{"part": "nose", "time": 2}, {"part": "nose"}, {"part": "nose", "time": 2, "scale": 2}]
    )
    assert edits_from_json(text) == {"nose": (PartEdit(), PartEdit(2.0, scale=2.0))}
    assert edits_from_json("  ") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{", "not valid JSON"),
        ("{}", "must be a list"),
        ("[3]", "Edit 1 must be an object"),
        ("[{}]", 'names no "part"'),
        ('[{"part": "ear"}]', "no part 'ear'"),
        ('[{"part": "nose"}, {"part": "nose", "tim": 1}]', 'Edit 2 has an unknown key "tim"'),
        ('[{"part": "nose", "time": "now"}]', '"time" of edit 1 must be a number'),
        ('[{"part": "nose", "scale": NaN}]', '"scale" of edit 1 must be a number'),
        ('[{"part": "nose", "scale": -1}]', "scale of an edit"),
        ('[{"part": "nose", "offset": [1]}]', '"offset" of edit 1 must be two numbers'),
        ('[{"part": "nose", "offset": [1, null]}]', '"offset" of edit 1 must be a number'),
        ('[{"part": ["nose"]}]', 'names no "part"'),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_wrong_edits_are_explained(text, words):
    with pytest.raises(OptionsError) as caught:
        edits_from_json(text)
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "must be an object"),
        ('{"on": "mouth"}', "must be a list of parts"),
        ('{"on": ["ear"]}', "no part 'ear'"),
        ('{"parts": {}}', 'unknown key "parts"'),
        ('{"gains": {"ear": 1}}', "no part 'ear'"),
        ('{"gains": {"nose": true}}', "must be a number"),
        ('{"gains": {"nose": 3}}', "give 0 to 2"),
        ('{"head_gain": -1}', "give 0 to 2"),
    ],
)
def test_wrong_selections_are_explained(text, words):
    with pytest.raises(OptionsError, match=words):
        selection_from_json(text)


def test_what_cannot_be_selected_is_explained():
    with pytest.raises(OptionsError, match="no preset 'none'"):
        preset("none")
    with pytest.raises(OptionsError, match="No part of the face is selected"):
        select_parts(still_face(), selection_of([]))


def test_a_face_in_one_spot_and_one_beyond_the_camera_are_explained():
    spot = without_mesh(still_face())
    spot = replace(spot, points=np.full_like(spot.points, 0.5))
    with pytest.raises(LandmarkError, match="lie in one spot"):
        select_parts(spot, with_gain("mouth", 0))
    near = still_face(shift=(0, 0, 27.5))
    with pytest.raises(LandmarkError, match="through the camera"):
        select_parts(near, with_edit("mouth", scale=10))

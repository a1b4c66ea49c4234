"""Nodes that choose parts, place a face by hand, bring it to life and fit its length."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from face_tracks import average_face, moving_face, pixels, still_face
from support import ROOT

from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, LINES, PARTS, SQUARES

PACK = str(ROOT).replace(".", "_x_")
SIZE = 256
POINTS = "0.35,0.42 0.65,0.42 0.5,0.58 0.38,0.72 0.62,0.72"
STILL = {"length": 50, "fps": 25.0, "seed": 3, "blink_rate": 17.0, "gaze": 1.0, "head": 1.0}
UNTIMED = {"fps": 0.0, "length": 0, "speed": 1.0, "end": "hold"}
GAINS = {f"{part}_gain": 1.0 for part in PARTS}
# Saved workflows hold these names: a change here breaks them.
FINAL = {
    "EchoMimicPartSelection": (
        ["landmarks", "preset", *PARTS, *GAINS, "head_gain", "edits"],
        ["landmarks"],
    ),
    "EchoMimicPlaceFace": (["portrait", "points"], ["landmarks"]),
    "EchoMimicBlinkGaze": (
        ["portrait", *STILL, "landmarks", "audio_track"],
        ["landmarks", "fps", "length"],
    ),
    "EchoMimicLandmarkRetime": (
        ["landmarks", *UNTIMED, "audio_track", "audio"],
        ["landmarks", "fps", "length"],
    ),
}


def module(name: str):
    """A module of the pack as ComfyUI imported it."""
    return sys.modules[f"{PACK}.{name}"]


@pytest.fixture(scope="module")
def portrait(pack):
    image = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(1))
    box = {"x": 20, "y": 20, "width": 50, "height": 60}
    node = pack["EchoMimicPortrait"]
    made = node.execute(
        image, SIZE, SIZE, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=box
    )
    return made.args[0]


@pytest.fixture
def model_folder(pack, tmp_path, monkeypatch):
    """A folder with ComfyUI's own face model, as far as the average face is concerned."""
    from safetensors.numpy import save_file

    canonical = average_face()
    tensors = {
        "canonical_vertices": canonical.vertices.astype(np.float32),
        "procrustes_indices": np.arange(468),
        "procrustes_weights": canonical.weights.astype(np.float32),
    }
    save_file(tensors, tmp_path / "face.safetensors")
    monkeypatch.setattr(module("nodes.files"), "landmarker_folders", lambda: [tmp_path])
    return tmp_path


def select(pack, track, preset="all but mouth", head_gain=1.0, edits="", **widgets):
    switches = {part: part in DRAWN_BY_DEFAULT for part in PARTS}
    node = pack["EchoMimicPartSelection"]
    return node.execute(track, preset, head_gain, edits, **(switches | GAINS | widgets))


@pytest.mark.parametrize("name", FINAL)
def test_node_and_input_ids_are_final(pack, name):
    schema = pack[name].GET_SCHEMA()
    inputs, outputs = FINAL[name]
    assert [item.id for item in schema.inputs] == inputs
    assert [output.display_name for output in schema.outputs] == outputs
    assert all(item.tooltip for item in schema.inputs if hasattr(item, "default"))


def test_a_preset_decides_over_the_switches_unless_custom(pack):
    track = moving_face(4)
    assert select(pack, track, mouth=True).args[0].parts == DRAWN_BY_DEFAULT
    assert select(pack, track, "all", nose=False).args[0].parts == set(PARTS) - {"contour"}
    custom = select(pack, track, "custom", mouth=True, nose=False)
    assert custom.args[0].parts == DRAWN_BY_DEFAULT - {"nose"} | {"mouth"}


def test_gains_and_edits_reach_the_track(pack):
    track = moving_face(4)
    frozen = select(pack, track, "all", mouth_gain=0.0, head_gain=0.0).args[0]
    np.testing.assert_allclose(frozen.points[0, 13, :2], frozen.points[2, 13, :2], atol=1e-9)
    edits = json.dumps([{"part": "nose", "offset": [0.1, 0]}])
    moved = pixels(select(pack, track, edits=edits).args[0]) - pixels(track)
    assert moved[:, 4, 0].min() > 5
    assert abs(moved[:, 13]).max() == 0


def test_the_editor_is_shown_the_points_as_they_will_be_driven(pack):
    track = moving_face(300)
    node = select(pack, track, "custom", mouth=True, head_gain=0.0)
    (shown,) = node.ui["echomimic_landmarks"]
    assert (shown["size"], shown["fps"], shown["num_frames"]) == ([512, 512], 25.0, 300)
    assert len(shown["shown"]) == len(shown["points"]) == 240
    assert (shown["shown"][0], shown["shown"][-1]) == (0, 299)
    assert set(shown["lines"]) | set(shown["squares"]) == set(PARTS)
    frame = np.reshape(shown["points"][100], (-1, 2)) / 10_000
    selected = node.args[0].points[shown["shown"][100]]
    for part, lines in shown["lines"].items():
        for line, drawn in zip(lines, LINES[part], strict=True):
            assert tuple(line["colour"]) == drawn.colour
            expected = selected[list(drawn.points), :2]
            np.testing.assert_allclose(frame[line["points"]], expected, atol=1e-4)
    for part, squares in shown["squares"].items():
        for square, drawn in zip(squares, SQUARES[part], strict=True):
            np.testing.assert_allclose(frame[square["point"]], selected[drawn.point, :2], atol=1e-4)
    json.dumps(shown)  # travels as JSON


def test_wrong_edits_end_in_one_sentence(pack):
    with pytest.raises(module("echomimic.errors").OptionsError, match="Edit 1 has an unknown key"):
        select(pack, moving_face(2), edits='[{"part": "nose", "offst": [0, 0]}]')


def test_a_face_is_placed_and_its_picture_shown(pack, portrait, model_folder, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(model_folder / "temp"))
    node = pack["EchoMimicPlaceFace"].execute(portrait, POINTS)
    (track,), (shown,) = node.args, node.ui["echomimic_face"]
    assert (track.num_frames, track.size) == (1, (SIZE, SIZE))
    np.testing.assert_allclose(shown["handles"][2], (0.5, 0.58))
    np.testing.assert_allclose(track.points[0, 4, :2], (0.5, 0.58), atol=1 / SIZE)
    assert (model_folder / "temp" / shown["subfolder"] / shown["filename"]).is_file()
    assert shown["type"] == "temp" and len(shown["points"]) == 1
    json.dumps(shown)


def test_without_the_average_face_the_folder_is_named(pack, portrait, monkeypatch, tmp_path):
    monkeypatch.setattr(module("nodes.files"), "landmarker_folders", lambda: [tmp_path])
    with pytest.raises(module("echomimic.errors").WeightsError, match=f"put .* {tmp_path}"):
        pack["EchoMimicPlaceFace"].execute(portrait, POINTS)


def test_wrong_points_end_in_one_sentence(pack, portrait, model_folder):
    with pytest.raises(module("echomimic.errors").LandmarkError, match="needs five points"):
        pack["EchoMimicPlaceFace"].execute(portrait, "0.3,0.4")


def test_a_still_face_blinks_for_as_long_as_asked(pack, portrait):
    face = replace(still_face(), size=(SIZE, SIZE))
    options = STILL | {"length": 100}
    made = pack["EchoMimicBlinkGaze"].execute(portrait, landmarks=face, **options)
    track, fps, length = made.args
    assert (track.num_frames, fps, length) == (100, 25.0, 100)
    opening = (pixels(track)[:, 145] - pixels(track)[:, 159])[:, 1]
    assert opening.min() < 0.01 < 1 < opening[0]


def test_a_voice_decides_length_and_fps(pack, portrait):
    voice = module("echomimic.audio.tokens").AudioTrack(torch.zeros(9, 5, 384), 30.0, 33)
    face = replace(still_face(), size=(SIZE, SIZE))
    blinking = pack["EchoMimicBlinkGaze"].execute(
        portrait, landmarks=face, audio_track=voice, **STILL
    )
    fitted = pack["EchoMimicLandmarkRetime"].execute(
        moving_face(), audio_track=voice, **UNTIMED | {"fps": 12.0, "length": 5}
    )
    for node in (blinking, fitted):
        assert node.args[0].num_frames == 33 and node.args[1:] == (30.0, 33)


def test_a_face_of_another_picture_is_refused(pack, portrait):
    with pytest.raises(module("echomimic.errors").LandmarkError, match="512x512"):
        pack["EchoMimicBlinkGaze"].execute(portrait, landmarks=still_face(), **STILL)


def test_no_landmarker_and_no_face_by_hand_is_explained(pack, portrait, monkeypatch, tmp_path):
    monkeypatch.setattr(module("nodes.files"), "landmarker_folders", lambda: [tmp_path])
    with pytest.raises(module("echomimic.errors").WeightsError, match="Place Face"):
        pack["EchoMimicBlinkGaze"].execute(portrait, **STILL)


def test_landmarks_are_fitted_to_rate_length_and_speed(pack):
    node = pack["EchoMimicLandmarkRetime"]
    untouched = node.execute(moving_face(), **UNTIMED)
    assert untouched.args[1:] == (25.0, 20)
    np.testing.assert_array_equal(untouched.args[0].points, moving_face().points)
    assert node.execute(moving_face(), **UNTIMED | {"fps": 50.0}).args[1:] == (50.0, 40)
    assert node.execute(moving_face(), **UNTIMED | {"speed": 2.0}).args[1:] == (25.0, 10)
    looped = node.execute(moving_face(), **UNTIMED | {"length": 45, "end": "loop"}).args[0]
    np.testing.assert_array_equal(looped.points[40:], moving_face().points[:5])


def test_the_mouth_closes_while_the_voice_is_silent(pack):
    silence = {"waveform": torch.zeros(1, 1, 16_000), "sample_rate": 16_000}
    closed = pack["EchoMimicLandmarkRetime"].execute(moving_face(), audio=silence, **UNTIMED)
    gap = pixels(closed.args[0])[:, 14, 1] - pixels(closed.args[0])[:, 13, 1]
    np.testing.assert_allclose(gap, 0, atol=1e-6)

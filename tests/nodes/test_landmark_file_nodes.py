"""Landmark Load, Save and Preview, run in this process on files of their own."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from support import ROOT

PACK = str(ROOT).replace(".", "_x_")
WHOLE = {"first_frame": 0, "length": 0, "width": 96, "height": 64}
OFFICIAL = {"fps": 24.0, "width": 512, "height": 512}


def module(name: str):
    """A module of the pack as ComfyUI imported it."""
    return sys.modules[f"{PACK}.{name}"]


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    """ComfyUI's input and output folder."""
    import folder_paths

    for name in ("input", "output"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path / "input", tmp_path / "output"


@pytest.fixture
def track(pack):
    points = np.random.default_rng(0).uniform(0.3, 0.7, (4, 478, 3))
    track = module("echomimic.landmarks.track").LandmarkTrack
    return track(points, (640, 480), 30, parts=frozenset({"left_eye", "mouth"}))


def poses(folder, num_frames=3):
    """A directory as the official code has it; what is in it."""
    folder.mkdir(parents=True)
    frames = np.random.default_rng(1).uniform(100, 400, (num_frames, 478, 3))
    for index, frame in enumerate(frames):
        (folder / f"{index}.pkl").write_bytes(pickle.dumps(frame, protocol=4))
    return frames


def test_what_is_saved_is_offered_and_loaded_again(pack, folders, track):
    saved = pack["EchoMimicLandmarkSave"].execute(track, "faces/a")
    assert saved.args[0] is track
    assert saved.ui.as_dict()["text"][0].startswith("faces/a_00001_.npz: 4 frames, 30 fps")

    (name,) = module("nodes.landmark_files").landmark_files()
    loaded, fps, length = pack["EchoMimicLandmarkLoad"].execute(name, **OFFICIAL).args

    assert name == "faces/a_00001_.npz [output]"
    assert (fps, length, loaded.size, loaded.parts) == (30, 4, track.size, track.parts)
    np.testing.assert_allclose(loaded.points, track.points, rtol=0, atol=2**-18)


def test_saving_twice_makes_two_files(pack, folders, track):
    for _ in range(2):
        pack["EchoMimicLandmarkSave"].execute(track, "a")
    assert sorted(os.listdir(folders[1])) == ["a_00001_.npz", "a_00002_.npz"]


def test_saving_outside_of_the_output_folder_is_refused(pack, folders, track):
    with pytest.raises(Exception, match="outside the output folder"):
        pack["EchoMimicLandmarkSave"].execute(track, "../a")
    assert sorted(os.listdir(folders[0].parent)) == ["input", "output"]


def test_arrays_and_official_directories_of_the_input_folder_are_offered_and_loaded(pack, folders):
    frames = poses(folders[0] / "deep/pose")
    np.save(folders[0] / "deep" / "a.npy", frames * 2)
    (folders[0] / "portrait.png").write_bytes(b"")

    assert module("nodes.landmark_files").landmark_files() == ["deep/a.npy", "deep/pose"]
    load = pack["EchoMimicLandmarkLoad"]
    official = load.execute("deep/pose", **OFFICIAL).args
    array = load.execute("deep/a.npy", fps=25.0, width=1024, height=1024).args

    assert (official[1:], array[1:]) == ((24.0, 3), (25.0, 3))
    np.testing.assert_array_equal(official[0].points, frames / 512)
    np.testing.assert_array_equal(array[0].points, frames / 512)


@pytest.mark.parametrize("name", ["../secret.npz", "/etc/passwd", "gone.npz", "", "x [output]"])
def test_a_name_that_is_not_listed_is_refused(pack, folders, name):
    np.savez(folders[0].parent / "secret.npz", landmarks=np.zeros((1, 478, 3)))
    error = module("echomimic.errors").LandmarkError
    with pytest.raises(error, match="input and output folders"):
        pack["EchoMimicLandmarkLoad"].execute(name, **OFFICIAL)


def test_a_changed_file_is_read_again(pack, folders):
    poses(folders[0] / "pose")
    fingerprint = pack["EchoMimicLandmarkLoad"].fingerprint_inputs
    before = fingerprint("pose", **OFFICIAL)
    assert fingerprint("pose", **OFFICIAL) == before

    os.utime(folders[0] / "pose/1.pkl", ns=(before + 10**9, before + 10**9))

    assert fingerprint("pose", **OFFICIAL) != before


def test_the_preview_on_black_is_the_drawing_that_the_model_sees(pack, track):
    (image,) = pack["EchoMimicLandmarkPreview"].execute(track, **WHOLE).args

    assert image.shape == (4, 64, 96, 3)
    drawn = module("echomimic.landmarks.draw").landmark_images(track, (96, 64))
    torch.testing.assert_close(image, drawn.movedim(1, -1), rtol=0, atol=1e-6)


def test_the_preview_lies_on_the_picture_of_each_frame_and_the_last_one_stays(pack, track):
    grey = torch.tensor([0.2, 0.4])[:, None, None, None].expand(2, 50, 40, 3)
    (image,) = pack["EchoMimicLandmarkPreview"].execute(track, **WHOLE, image=grey).args

    assert image.shape == (4, 50, 40, 3)
    for frame, level in zip(image, [0.2, 0.4, 0.4, 0.4], strict=True):
        assert frame[0].mean() == pytest.approx(level, abs=1e-3)
        assert (frame - level).abs().max() > 0.1


def test_the_preview_lies_on_the_crop_of_the_portrait(pack, track):
    photo = torch.full((1, 300, 300, 3), 0.5)
    box = {"x": 100, "y": 100, "width": 80, "height": 90}
    portrait = pack["EchoMimicPortrait"].execute(
        photo, 128, 64, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=box
    )
    (image,) = pack["EchoMimicLandmarkPreview"].execute(track, **WHOLE, portrait=portrait[0]).args

    assert image.shape == (4, 64, 128, 3)
    assert image[:, 0].mean() == pytest.approx(0.5, abs=0.01)


def test_a_stretch_of_the_track_can_be_drawn(pack, track):
    preview = pack["EchoMimicLandmarkPreview"]
    (whole,) = preview.execute(track, **WHOLE).args
    (some,) = preview.execute(track, **WHOLE | {"first_frame": 1, "length": 2}).args
    torch.testing.assert_close(some, whole[1:3], rtol=0, atol=0)


def test_a_stretch_behind_the_end_is_one_sentence(pack, track):
    error = module("echomimic.errors").OptionsError
    with pytest.raises(error, match="first_frame 4 .* have 4 frames"):
        pack["EchoMimicLandmarkPreview"].execute(track, **WHOLE | {"first_frame": 4})

"""What is wrong with the clips is said before training begins, in one sentence."""

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("accelerate")

from echomimic import cli
from echomimic.cli_progress import Progress
from echomimic.landmarks.track_file import load_track, save_track
from echomimic.media.frame_zip import FrameZip, write_frames
from echomimic.media.image import write_image
from echomimic.train.clips import Clip, Dataset
from echomimic.train.make_puppets import PuppetOptions, make_puppets

VAE = {"block_out_channels": [8, 8, 8, 16], "layers_per_block": 1, "norm_num_groups": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make_puppets(folder, 4, PuppetOptions(num_frames=3, size=64), workers=1)
    return folder


@pytest.fixture()
def data(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


@pytest.fixture()
def train(data, tmp_path, capsys):
    """Trains a tiny VAE on the data for two steps; returns the exit status and what was said."""
    recipe = tmp_path / "tiny.yaml"
    stage = {"steps": 2, "batch_size": 2, "log_every": 1}
    values = {"seed": 1, "variant": "joint", "model": {"vae": VAE}, "data": {}}
    recipe.write_text(json.dumps(values | {"stages": {"vae": stage}}))

    def run(*more):
        arguments = ["train", recipe, "--out", tmp_path / "run", "--data", data, *more]
        status = cli.main([str(argument) for argument in arguments])
        return status, capsys.readouterr().err.splitlines()[-1]

    return run


def without_sound(clip):
    (clip / "speech.wav").unlink()


def with_empty_sound(clip):
    (clip / "speech.wav").write_bytes(b"")


def without_landmarks(clip):
    (clip / "landmarks.npz").unlink()


def without_a_face(clip):
    track = load_track(clip / "landmarks.npz")
    save_track(replace(track, valid=np.zeros(3, bool)), clip / "landmarks.npz")


def of_one_frame(clip):
    np.save(clip / "frames.npy", np.load(clip / "frames.npy")[:1])


def longer_than_its_landmarks(clip):
    np.save(clip / "frames.npy", np.load(clip / "frames.npy")[[0, 1, 2, 2]])


def of_another_size(clip):
    np.save(clip / "frames.npy", np.load(clip / "frames.npy")[:, :32])
    (clip / "portrait.png").unlink()


def with_another_portrait(clip):
    write_image(clip / "portrait.png", np.zeros((32, 64, 3), np.uint8))


def with_pictures_of_another_size(clip):
    write_frames(clip / "frames.zip", np.load(clip / "frames.npy")[:, :, :32])
    (clip / "frames.npy").unlink()
    (clip / "portrait.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without_sound, "has no sound: speech.wav is missing; add it or remove the clip"),
        (with_empty_sound, "speech.wav is empty"),
        (without_landmarks, "has no face: landmarks.npz is missing"),
        (without_a_face, "shows no face in any frame; remove it"),
        (of_one_frame, "has only one frame"),
        (longer_than_its_landmarks, "has 4 frames but landmarks of 3"),
        (with_another_portrait, "portrait.png must be of the size of the frames, 64x64"),
        (of_another_size, "are 64x32, but most clips' are 64x64"),
        (with_pictures_of_another_size, "are 32x64, but most clips' are 64x64"),
    ],
)
def test_a_clip_that_cannot_be_trained_on_stops_before_any_stage(
    data, train, tmp_path, spoil, sentence
):
    spoil(data / "puppet-000002")
    status, said = train()
    assert status == 1
    assert "puppet-000002" in said
    assert sentence in said
    assert not (tmp_path / "run/vae").exists()


def test_the_others_are_counted(data, train):
    for name in ("puppet-000001", "puppet-000003"):
        (data / name / "speech.wav").unlink()
    without_landmarks(data / "puppet-000002")
    said = train()[1]
    assert "puppet-000001 has no sound" in said
    assert said.endswith("; 2 more cannot be used either.")


def test_to_look_for_it_no_frame_is_read(data, monkeypatch):
    clip = data / "puppet-000001"
    write_frames(clip / "frames.zip", np.load(clip / "frames.npy"))
    (clip / "frames.npy").unlink()
    monkeypatch.setattr(FrameZip, "_decoded", None)
    monkeypatch.setattr(Clip, "track", None)
    monkeypatch.setattr(Clip, "speech", None)
    shown = []
    Dataset(data).check(lambda *done: shown.append(done))
    assert shown == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("turned", [1, 6])
def test_the_size_of_pictures_is_that_of_their_frames(data, tmp_path, turned):
    picture = Image.new("RGB", (40, 24))
    exif = picture.getexif()
    exif[0x0112] = turned
    path = tmp_path / "frames.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("000000.jpg", "w") as file:
        picture.save(file, "JPEG", exif=exif)
    frames = FrameZip(path)
    assert frames.size == frames.shape[2:0:-1] == ((24, 40) if turned == 6 else (40, 24))


def test_a_run_goes_on_wherever_its_clips_are_and_with_no_others(data, train, tmp_path):
    assert train()[0] == 0
    moved = data.rename(tmp_path / "elsewhere")
    assert train("--data", moved, "--steps", 3)[0] == 0
    other = shutil.copytree(moved, tmp_path / "other")
    meta = json.loads((other / "puppet-000001/meta.json").read_text())
    (other / "puppet-000001/meta.json").write_text(json.dumps(meta | {"identity": "somebody"}))
    status, said = train("--data", other, "--steps", 4)
    assert status == 1
    assert "was made with other clips (their names, lengths or people)" in said
    assert max(json.loads(x)["step"] for x in (tmp_path / "run/vae/log.jsonl").open()) == 3


def test_a_run_does_not_go_on_as_another_variant(train, tmp_path):
    assert train()[0] == 0
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace('"joint"', '"landmark"'))
    status, said = train()
    assert status == 1
    assert "variant = 'joint', not 'landmark'" in said


def test_the_time_that_is_left_does_not_count_what_was_done_before():
    progress = Progress()
    with progress as show:
        show("stage1", 60, 100)
        show("stage1", 61, 100)
        assert (progress._bar.initial, progress._bar.n) == (60, 61)

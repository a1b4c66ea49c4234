"""The joint family and the built-in model: what drives them, and what is said where they end."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from echomimic import cli
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.conditions import DrawnFace, encode_face
from echomimic.config import LandmarkEncoderConfig, SamplingOptions, variant
from echomimic.errors import OptionsError, WeightsError
from echomimic.landmarks.draw import landmark_images
from echomimic.landmarks.track import LandmarkTrack
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.pipeline import ClipOptions, EchoMimic
from echomimic.weights import files
from echomimic.weights.download import download
from echomimic.weights.files import find_models
from echomimic.weights.random_weights import make_random
from echomimic.weights.settings import Native
from echomimic.weights.status import status

QUICK = SamplingOptions(num_inference_steps=1, guidance_scale=1.0)
SIZE = (64, 64)
ON_CPU = {"device": "cpu", "dtype": torch.float32}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    make_random(folder, "tiny", ["joint"], dtype="float32")
    return EchoMimic.from_folder(folder, "joint", device="cpu", keep_loaded=True)


@pytest.fixture(scope="module")
def portrait(model):
    return model.prepare_portrait(np.array(Image.open(PORTRAIT).convert("RGB")), SIZE, FACE_BOX)


def track(num_frames=3, size=SIZE):
    points = np.random.default_rng(1).uniform(0.3, 0.7, (num_frames, 478, 3))
    return LandmarkTrack(points, size, 10.0)


def test_one_model_is_driven_by_voice_by_landmarks_and_by_both(model, portrait):
    pytest.importorskip("cv2")
    voice = model.encode_voice(0.1 * torch.randn(4800, generator=torch.Generator()), 10.0)
    films = [
        model.sample(model.encode_conditions(portrait, *given), QUICK)
        for given in ((voice, None), (None, track()), (voice, track()))
    ]
    assert [film.shape for film in films] == [(3, 4, 8, 8)] * 3
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (films[one] - films[other]).abs().max() > 1e-3


def test_nothing_at_all_drives_no_model(model, tmp_path):
    with pytest.raises(OptionsError, match="Nothing drives the face"):
        model.animate(PORTRAIT, None, tmp_path / "out.mp4", ClipOptions(SIZE, face_box=FACE_BOX))


def test_without_landmarks_the_face_says_nothing(model, portrait):
    with model.networks.use("landmark_encoder") as encoder:
        face = encode_face(encoder, portrait, variant("joint"), **ON_CPU)
    assert face.shape == (1, encoder.config.out_channels, 8, 8)
    assert face.abs().max() == 0


@pytest.mark.parametrize("drawing", ["linear", "area"])
def test_landmarks_are_drawn_as_the_encoder_was_trained(portrait, drawing):
    pytest.importorskip("cv2")
    encoder = LandmarkEncoder(LandmarkEncoderConfig(in_channels=3, drawing=drawing))
    face = encode_face(encoder, portrait, variant("joint"), track(), **ON_CPU)
    assert isinstance(face, DrawnFace)
    expected = landmark_images(track(), SIZE, [1], reduction=drawing)
    assert torch.equal(face.images([1]), expected)


def test_averaging_keeps_lines_that_skipping_loses():
    """Two pixels of 512 are a quarter of one of 64."""
    pytest.importorskip("cv2")
    points = np.full((1, 478, 3), 2.0)  # outside: not drawn
    points[0, :, 0] = np.linspace(0.2, 0.8, 478)
    at_rows = []
    for row in np.arange(200, 208) / 512:
        points[0, :, 1] = row
        still = LandmarkTrack(points, SIZE, 10.0)
        at_rows.append([landmark_images(still, SIZE, reduction=way).sum().item()
                        for way in ("linear", "area")])  # fmt: skip
    linear, area = np.array(at_rows).T
    assert area.min() > 0.9 * area.max()
    assert linear.min() < 0.1 * linear.max()


def test_missing_joint_files_are_not_to_be_downloaded(tmp_path):
    with pytest.raises(WeightsError, match="none to download: train a model .*--models mini"):
        find_models([tmp_path], "joint")
    with pytest.raises(OptionsError, match="no published files .*--models mini"):
        download(tmp_path, ["joint"], fetch=None)
    assert "joint" not in {row.variant for row in status([tmp_path])}


def test_an_installation_without_the_built_in_model_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MINI", tmp_path)
    with pytest.raises(WeightsError, match="not whole .*install the package again"):
        EchoMimic.mini()


def test_size_and_rate_are_what_the_model_was_trained_on(model, monkeypatch, caplog):
    monkeypatch.setattr(model, "native", Native((128, 128), 25.0))
    with caplog.at_level(logging.WARNING):
        clip = model.completed(ClipOptions())
        assert (clip.size, clip.fps, caplog.text) == ((128, 128), 25.0, "")
        assert model.completed(ClipOptions((64, 64), 12.0)).size == (64, 64)
    assert "trained on videos of 128x128 pixels; 64x64 will look worse" in caplog.text


class TestWhichModel:
    """Which model the command takes, and what it says of it."""

    @pytest.fixture()
    def animate(self, model, tmp_path, monkeypatch, caplog):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(EchoMimic, "mini", lambda **_: model)
        arguments = ["animate", "--portrait", str(PORTRAIT), "--audio", str(VOICE), "--out",
                     "out.mp4", "--size", "64", "--length", "1", "--steps", "1", "--face-box",
                     *map(str, FACE_BOX)]  # fmt: skip
        caplog.set_level(logging.INFO)
        return lambda *more: cli.main([*arguments, *more])

    @pytest.mark.parametrize("chosen", [(), ("--models", "mini"), ("--variant", "joint")])
    def test_the_built_in_one_by_name_or_where_nothing_is_installed(
        self, animate, tmp_path, caplog, chosen
    ):
        assert animate(*chosen) == 0
        assert (tmp_path / "out.mp4").is_file()
        assert "has seen cartoon people only: of a photo it makes a cartoon" in caplog.text

    def test_published_ones_are_never_replaced_by_it(self, animate, tmp_path, capsys):
        assert animate("--variant", "audio") == 1
        (tmp_path / "models").mkdir()
        assert animate() == 1
        said = capsys.readouterr().err
        assert said.count("models download --variant audio") == 2

    def test_it_is_of_one_variant_only(self, animate, capsys):
        assert animate("--models", "mini", "--variant", "audio") == 1
        assert "'joint', not 'audio'; give --variant joint" in capsys.readouterr().err

"""Downloading: only what is missing, only what is asked for, and never a wrong file kept."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import real_input

from echomimic.errors import OptionsError, WeightsError
from echomimic.weights import download as module
from echomimic.weights.download import LANDMARKER, download, fetch_from_hub
from echomimic.weights.files import find_models


class Hub:
    """Stands for huggingface_hub: remembers what was asked for and writes empty files."""

    def __init__(self):
        self.asked = []

    def __call__(self, repository, name, folder):
        assert repository == "BadToBest/EchoMimic"
        self.asked.append(name)
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def no_url(address, path):
    raise AssertionError(f"{address} was not asked for")


SHARED = {
    "audio_processor/whisper_tiny.pt",
    "sd-vae-ft-mse/config.json",
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
}


@pytest.mark.parametrize(
    ("variants", "own"),
    [
        (None, {"denoising_unet", "motion_module", "reference_unet", "face_locator"}),
        (["audio"], {"denoising_unet", "motion_module", "reference_unet", "face_locator"}),
        (
            ["landmark_acc"],
            {
                "denoising_unet_pose_acc",
                "motion_module_pose_acc",
                "reference_unet_pose",
                "face_locator_pose",
            },
        ),
        (
            ["audio", "audio_acc"],
            {
                "denoising_unet",
                "motion_module",
                "denoising_unet_acc",
                "motion_module_acc",
                "reference_unet",
                "face_locator",
            },
        ),
    ],
)
def test_only_the_files_of_the_chosen_variants_are_fetched_once(tmp_path, variants, own):
    hub = Hub()
    (tmp_path / LANDMARKER).write_bytes(b"")

    download(tmp_path, variants, fetch=hub, fetch_url=no_url)

    assert len(hub.asked) == len(set(hub.asked))
    assert set(hub.asked) == SHARED | {f"{name}.pth" for name in own}
    for variant in variants or ["audio"]:
        assert find_models([tmp_path], variant)


def test_what_is_there_is_not_fetched_again(tmp_path):
    hub = Hub()
    (tmp_path / LANDMARKER).write_bytes(b"")
    (tmp_path / "reference_unet.pth").write_bytes(b"")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/sd-vae-ft-mse.safetensors").write_bytes(b"")

    download(tmp_path, ["audio"], fetch=hub, fetch_url=no_url)
    again = Hub()
    assert download(tmp_path, ["audio"], fetch=again, fetch_url=no_url) == []

    assert "reference_unet.pth" not in hub.asked
    assert not [name for name in hub.asked if "vae" in name]
    assert again.asked == []


def test_the_landmarker_is_fetched_and_its_sum_checked(tmp_path):
    content = real_input(f"models/{LANDMARKER}").read_bytes()

    new = download(
        tmp_path, face_only=True, fetch_url=lambda address, path: path.write_bytes(content)
    )

    assert new == [tmp_path / LANDMARKER]
    assert hashlib.sha256(new[0].read_bytes()).hexdigest() == module.LANDMARKER_SHA256
    assert download(tmp_path, face_only=True, fetch_url=no_url) == []


def test_a_landmarker_with_another_sum_is_not_kept(tmp_path):
    with pytest.raises(WeightsError, match="sha256 .* instead of 64184e22"):
        download(
            tmp_path, face_only=True, fetch_url=lambda address, path: path.write_bytes(b"other")
        )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("no route"), "no route"),
        (TimeoutError("The read operation timed out"), "timed out"),
        (http.client.IncompleteRead(b"half"), "4 bytes read"),
    ],
)
def test_no_connection_to_the_vendor_is_a_sentence(tmp_path, error, reason):
    def fail(address, path):
        raise error

    with pytest.raises(WeightsError, match=rf"could not be fetched from .*{reason}.*by hand"):
        download(tmp_path, face_only=True, fetch_url=fail)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_mode_holds_for_the_landmarker_too(tmp_path, monkeypatch, value):
    asked = []
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: asked.append(args))

    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*by hand"):
        download(tmp_path, face_only=True)

    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_variant_fetches_nothing(tmp_path):
    hub = Hub()

    with pytest.raises(OptionsError, match="There is no variant 'pose'"):
        download(tmp_path, ["audio", "pose"], fetch=hub, fetch_url=no_url)

    assert hub.asked == []


def test_offline_mode_of_huggingface_hub_is_honoured(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(WeightsError, match=r"face_locator\.pth could not be fetched"):
        fetch_from_hub("BadToBest/EchoMimic", "face_locator.pth", tmp_path)

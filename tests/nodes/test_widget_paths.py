"""Widgets that name files stay in ComfyUI's folders: with dots, absolute paths, and links."""

import shutil

import numpy as np
import pytest
import torch
from node_values import WHISPER, World, module, tensor

EXTENSIONS = {".pth", ".pt", ".safetensors"}


@pytest.fixture(scope="module")
def world(pack, tmp_path_factory):
    return World(pack, tmp_path_factory.mktemp("world"))


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    import folder_paths

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    (tmp_path / "outside").mkdir()
    return tmp_path


# --- models -------------------------------------------------------------------------------------


@pytest.fixture
def only(monkeypatch):
    """Make one folder all that ComfyUI knows of our models."""
    import folder_paths

    def use(folder):
        paths = folder_paths.folder_names_and_paths | {"echo_mimic": ([str(folder)], EXTENSIONS)}
        monkeypatch.setattr(folder_paths, "folder_names_and_paths", paths)

    return use


LOADERS = {  # node → a file that is there, and the others that it is given
    "EchoMimicModelLoader": ("denoising_unet.pth", {"dtype": "fp32"}),
    "EchoMimicAudioEncoderLoader": (WHISPER, {}),
}


@pytest.mark.parametrize("node", LOADERS)
@pytest.mark.parametrize(
    "name", ["../{}", "{folder}/{}", "a/../../{}", "..\\{}", "/../{}", "inner", "", ".", "a\0b"]
)
def test_models_outside_of_their_folder_cannot_be_named(pack, models, only, folders, node, name):
    folder, (file, options) = models / "echo_mimic", LOADERS[node]
    (folders / "outside/inner").mkdir()
    for there in (folder / file, folders / "outside" / file):
        there.parent.mkdir(parents=True, exist_ok=True)
        if not there.exists():
            shutil.copy(folder / file, there)
    only(folders / "outside/inner")
    hostile = name.format(file, folder=folders / "outside")
    with pytest.raises(module("echomimic.errors").WeightsError, match="is not in"):
        pack[node].execute(hostile, **options)


def test_links_in_the_folder_of_models_are_followed_as_everywhere_in_comfyui(
    pack, models, only, folders
):
    (folders / "outside/whisper.pt").symlink_to(models / "echo_mimic" / WHISPER)
    (folders / "outside/whisper_gone.pt").symlink_to(folders / "nowhere.pt")
    only(folders / "outside")
    load = pack["EchoMimicAudioEncoderLoader"].execute
    assert load("whisper.pt").args
    with pytest.raises(module("echomimic.errors").WeightsError, match="is not in"):
        load("whisper_gone.pt")


# --- landmarks ----------------------------------------------------------------------------------


def test_landmarks_that_a_link_brings_in_from_elsewhere_are_neither_offered_nor_read(pack, folders):
    secret = folders / "outside/secret.npz"
    np.savez(secret, landmarks=np.full((1, 478, 3), 0.5))
    np.savez(folders / "input/own.npz", landmarks=np.full((1, 478, 3), 0.5))
    (folders / "input/linked.npz").symlink_to(secret)
    (folders / "input/folder").symlink_to(folders / "outside")
    (folders / "input/again.npz").symlink_to(folders / "input/own.npz")
    load, size = pack["EchoMimicLandmarkLoad"].execute, {"fps": 24.0, "width": 8, "height": 8}

    assert module("nodes.landmark_files").landmark_files() == ["again.npz", "own.npz"]
    assert load("again.npz", **size).args[2] == 1
    for name in ("linked.npz", "folder/secret.npz", "../outside/secret.npz", str(secret)):
        with pytest.raises(module("echomimic.errors").LandmarkError, match="no landmarks named"):
            load(name, **size)


# --- what is saved ------------------------------------------------------------------------------


FITTING = {  # to one another and to the crop of `World`
    "fps": 10.0,
    "face": tensor((2, 64, 64, 3), "noise"),
    "original": tensor((1, 48, 40, 3), "noise"),
}


def savers(pack, world):
    """Nodes that name what they save, and values that they work with."""
    for name, node in pack.items():
        inputs = {item.id for item in node.GET_SCHEMA().inputs}
        fitting = {key: FITTING[key] for key in inputs & FITTING.keys()}
        if "audio_track" in inputs:
            fitting["audio_track"] = world.voices[0]
        values = world.usual(name, **fitting) if "filename_prefix" in inputs else None
        if values is not None:  # else node_values.py does not know a type that it needs
            yield node, values


@torch.inference_mode()
def test_nothing_is_saved_outside_of_the_output_folder(pack, world, folders):
    (folders / "output/link").symlink_to(folders / "outside")
    tried = set()
    for node, values in savers(pack, world):
        for prefix in ("../outside/x", str(folders / "outside/x"), "link/x", "a/../../x", "a\0b"):
            with pytest.raises(module("echomimic.errors").OptionsError, match="filename_prefix"):
                node.execute(**values | {"filename_prefix": prefix})
        assert not [path for path in folders.rglob("*") if path.is_file()]

        node.execute(**values | {"filename_prefix": "sub/x"})
        (saved,) = [path for path in folders.rglob("*") if path.is_file()]
        assert saved.parent == folders / "output/sub"
        saved.unlink()
        tried.add(node.GET_SCHEMA().node_id)
    assert {"EchoMimicLandmarkSave", "EchoMimicDecodeVideo", "EchoMimicPasteBack"} <= tried


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(world, folders):
    victim, link = folders / "outside/victim", folders / "output/x.npz"
    victim.write_text("mine")
    link.symlink_to(victim)
    module("echomimic.landmarks.track_file").save_track(world.tracks[0], link)
    assert victim.read_text() == "mine" and not link.is_symlink()

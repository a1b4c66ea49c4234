"""Converting: the same numbers in half precision, merged, checked, described."""

import shutil

import pytest
import torch
from safetensors import safe_open

from echomimic.errors import WeightsError
from echomimic.weights.convert import convert
from echomimic.weights.files import find_models
from echomimic.weights.load import (
    load_audio_encoder,
    load_denoising_unet,
    load_landmark_encoder,
    load_reference_unet,
    load_vae,
)
from echomimic.weights.random_weights import make_random
from echomimic.weights.read import read_state
from echomimic.weights.status import status
from echomimic.weights.write import write_safetensors, writing


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_random(folder, variants=["audio"], dtype="float32")
    return folder


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    convert([source], folder)
    return folder


LOADERS = {
    "denoising_unet": load_denoising_unet,
    "reference_unet": load_reference_unet,
    "landmark_encoder": load_landmark_encoder,
    "audio_encoder": load_audio_encoder,
    "vae": load_vae,
}


@pytest.mark.parametrize("component", LOADERS)
def test_a_converted_folder_alone_loads_the_same_numbers(source, converted, component):
    rounded = torch.float32 if component == "audio_encoder" else torch.float16
    before = network(LOADERS[component](find_models([source], "audio"), dtype=rounded))
    after = network(LOADERS[component](find_models([converted], "audio"), dtype=rounded))

    assert after.config == before.config  # from the metadata: no config.json lies beside
    torch.testing.assert_close(after.state_dict(), before.state_dict(), rtol=0, atol=0)


def network(loaded):
    return getattr(loaded, "model", loaded)  # the VAE is wrapped


def test_converted_files_are_safetensors_of_the_chosen_precision(converted):
    dtypes = {}
    for path in (path for path in converted.rglob("*") if path.is_file()):
        name = str(path.relative_to(converted))
        dtypes[name] = {tensor.dtype for tensor in read_state(path)[0].values()}

    assert dtypes == {
        "denoising_unet.safetensors": {torch.float16},
        "reference_unet.safetensors": {torch.float16},
        "face_locator.safetensors": {torch.float16},
        "audio_processor/whisper_tiny.safetensors": {torch.float32},
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors": {torch.float16},
    }


def test_the_motion_module_is_merged_and_the_disk_halved(source, converted):
    names = ("denoising_unet", "motion_module", "reference_unet", "face_locator")
    before = sum((source / f"{name}.pth").stat().st_size for name in names)
    after = sum(path.stat().st_size for path in converted.glob("*.safetensors"))

    assert find_models([converted], "audio").motion_module is None
    assert after < 0.53 * before


def test_the_text_decoder_is_left_out(converted):
    state, _ = read_state(find_models([converted], "audio").audio_encoder)

    assert state
    assert not [name for name in state if "decoder" in name]


@pytest.mark.parametrize("missing", ["audio_processor", "sd-vae-ft-mse", "face_locator.pth"])
def test_nothing_is_converted_where_a_file_is_missing(source, tmp_path, missing):
    folder = shutil.copytree(source, tmp_path / "models")
    gone = folder / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

    with pytest.raises(WeightsError, match="is missing"):
        convert([folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_status_takes_a_merged_file_for_both_of_its_parts(converted):
    rows = {row.component: row for row in status([converted]) if row.variant == "audio"}

    assert [row.problem for row in rows.values() if row.problem] == []
    assert rows["motion_module"].path == rows["denoising_unet"].path
    assert rows["motion_module"].size == 0  # counted once


def test_existing_files_are_kept(source, tmp_path):
    (tmp_path / "reference_unet.safetensors").write_bytes(b"mine")

    convert([source], tmp_path, ["audio"])

    assert (tmp_path / "reference_unet.safetensors").read_bytes() == b"mine"


def test_a_file_that_does_not_fit_is_not_converted(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "models")
    state = dict(read_state(folder / "reference_unet.pth")[0])
    state.pop("conv_in.bias")
    torch.save({k: v.clone() for k, v in state.items()}, tmp_path / "spoiled.pth")
    (tmp_path / "spoiled.pth").replace(folder / "reference_unet.pth")

    with pytest.raises(WeightsError, match=r"reference_unet\.pth does not fit .*conv_in\.bias"):
        convert([folder], folder, ["audio"])
    assert not (folder / "reference_unet.safetensors").exists()


def test_nothing_to_convert_is_a_sentence(tmp_path):
    with pytest.raises(WeightsError, match="no denoising UNet to convert"):
        convert([tmp_path], tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_written_safetensors_read_back(tmp_path, dtype):
    tensors = {"b": torch.randn(3, 1, 2), "a": torch.randn(5), "empty": torch.zeros(0, 2)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    path = tmp_path / "new folder" / "x.safetensors"

    write_safetensors(path, shapes, tensors.get, dtype=dtype, metadata={"note": "ä"})

    with safe_open(path, "pt") as file:
        assert file.metadata() == {"note": "ä"}
        for name, tensor in tensors.items():
            torch.testing.assert_close(file.get_tensor(name), tensor.to(dtype), rtol=0, atol=0)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")

    def fail(name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safetensors(path, {"a": (2,)}, fail, dtype=torch.float16, metadata={})

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence(tmp_path):
    with (
        pytest.raises(WeightsError, match=r"x\.bin cannot be written .*No space left"),
        writing(tmp_path / "x.bin"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []

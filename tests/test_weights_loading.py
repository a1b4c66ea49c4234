"""Loading: every tensor finds its place, or one sentence names the file and the first keys."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from echomimic.config import PUBLISHED, UNetConfig
from echomimic.errors import OptionsError, WeightsError
from echomimic.models.motion_module import position_table
from echomimic.weights.files import ModelFiles, find_models
from echomimic.weights.load import (
    choose_dtype,
    default_dtype,
    load_audio_encoder,
    load_denoising_unet,
    load_landmark_encoder,
    load_reference_unet,
    load_vae,
)
from echomimic.weights.official import unet_shapes
from echomimic.weights.random_weights import TINY, make_random
from echomimic.weights.read import read_state
from echomimic.weights.settings import make_metadata
from echomimic.weights.status import status, status_table

LOADERS = {
    "denoising_unet": load_denoising_unet,
    "reference_unet": load_reference_unet,
    "landmark_encoder": load_landmark_encoder,
    "audio_encoder": load_audio_encoder,
    "vae": load_vae,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_random(folder, variants=["audio", "landmark"], dtype="float32")
    return folder


@pytest.fixture
def folder(source, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(source, tmp_path / "models")


def rewrite(path, change):
    state, _ = read_state(path)
    state = {name: tensor.clone() for name, tensor in state.items()}
    change(state)
    path.unlink()
    torch.save(state, path)


@pytest.mark.parametrize("variant", ["audio", "landmark"])
@pytest.mark.parametrize("component", LOADERS)
def test_a_network_holds_the_numbers_of_its_file(source, variant, component):
    files = find_models([source], variant)
    model = LOADERS[component](files)
    state, _ = read_state(getattr(files, component))

    sums = {float(tensor.double().sum()) for tensor in state.values()}
    loaded = getattr(model, "model", model).state_dict()
    stored = [name for name in loaded if ".motion_modules." not in name]
    assert {float(loaded[name].double().sum()) for name in stored} <= sums
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in loaded.values())


def test_the_denoising_file_overrides_the_motion_module(folder):
    name = "mid_block.motion_modules.0.temporal_transformer.norm.bias"
    rewrite(folder / "denoising_unet.pth", lambda state: state.update({name: torch.ones(64)}))

    model = load_denoising_unet(find_models([folder], "audio"))

    assert model.state_dict()[name].tolist() == [1.0] * 64


def test_missing_position_tables_follow_from_the_formula(folder):
    def drop(state):
        for name in [name for name in state if name.endswith(".pe")]:
            del state[name]

    rewrite(folder / "motion_module.pth", drop)
    model = load_denoising_unet(find_models([folder], "audio"))

    tables = [buffer for name, buffer in model.named_buffers() if name.endswith(".pe")]
    assert len(tables) == 42
    for table in tables:
        expected = position_table(TINY.unet.motion.max_frames, table.shape[-1])
        torch.testing.assert_close(table, expected, rtol=0, atol=0)


@pytest.mark.parametrize("component", ["denoising_unet", "reference_unet", "landmark_encoder"])
@pytest.mark.parametrize("damage", ["missing", "unknown", "another shape"])
def test_a_key_out_of_place_is_named_with_its_file(folder, component, damage):
    files = find_models([folder], "audio")
    path = getattr(files, component)

    def change(state):
        if damage == "unknown":
            state["conv_in.extra"] = torch.zeros(1)
        elif damage == "missing":
            del state["conv_in.bias"]
        else:
            state["conv_in.bias"] = torch.zeros(3)

    rewrite(path, change)
    with pytest.raises(WeightsError) as caught:
        LOADERS[component](files)

    key = "conv_in.extra" if damage == "unknown" else "conv_in.bias"
    for part in (str(path), damage, key):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_motion_module_that_lacks_a_key_is_named(folder):
    rewrite(folder / "motion_module.pth", lambda state: state.pop(next(iter(state))))

    with pytest.raises(WeightsError, match=r"with \S*motion_module\.pth .* 1 keys missing"):
        load_denoising_unet(find_models([folder], "audio"))


@pytest.mark.parametrize(
    ("place", "given", "component", "sentence"),
    [
        ("denoising_unet", "reference_unet", "denoising_unet", "looks like a reference UNet"),
        ("reference_unet", "denoising_unet", "reference_unet", "looks like a denoising UNet"),
        ("motion_module", "reference_unet", "denoising_unet", "not a motion module"),
        ("face_locator", "face_locator_pose", "landmark_encoder", "3-channel images"),
        ("face_locator_pose", "face_locator", "landmark_encoder", "1-channel images"),
        ("face_locator", "motion_module", "landmark_encoder", "looks like a motion module"),
    ],
)
def test_a_file_in_the_place_of_another_is_recognised(folder, place, given, component, sentence):
    shutil.copy(folder / f"{given}.pth", folder / f"{place}.pth")
    variant = "landmark" if "pose" in place else "audio"

    with pytest.raises(WeightsError, match=sentence):
        LOADERS[component](find_models([folder], variant))


def test_an_audio_encoder_of_another_kind_is_a_sentence(folder):
    files = find_models([folder], "audio")
    (folder / "config.json").unlink()

    with pytest.raises(WeightsError, match=r"reference_unet\.pth is not a Whisper checkpoint"):
        load_audio_encoder(files.reference_unet)


def test_a_vae_of_another_kind_is_a_sentence(folder):
    with pytest.raises(WeightsError, match=r"face_locator\.pth does not fit .*landmark encoder"):
        load_vae(folder / "face_locator.pth")


def test_without_settings_the_official_shape_is_demanded_never_guessed(folder):
    (folder / "config.json").unlink()

    with pytest.raises(WeightsError, match=r"of another shape \(first: conv_in.weight is \[32, 4"):
        load_denoising_unet(find_models([folder], "audio"))


@pytest.mark.parametrize("text", ["{", '{"format": 1, "unet": {"width": 3}}'])
def test_spoiled_settings_are_a_sentence(folder, text):
    (folder / "config.json").write_text(text)

    with pytest.raises(WeightsError, match=r"config\.json"):
        load_denoising_unet(find_models([folder], "audio"))


SECTIONS = {
    "denoising_unet": "unet",
    "reference_unet": "unet",
    "landmark_encoder": "landmark_encoder",
    "audio_encoder": "audio_encoder",
    "vae": "vae",
}
WRONG_ENTRIES = [
    ("unet", "channels", 64),
    ("unet", "channels", []),
    ("unet", "channels", [32, 64, 64, "64"]),
    ("unet", "channels", [-32, -64, -64, -64]),
    ("unet", "num_heads", 0),
    ("unet", "norm_groups", "32"),
    ("unet", "motion", "yes"),
    ("unet", "motion", {"max_frames": "32"}),
    ("unet", "layers_per_level", 2.5),
    ("unet", "audio_dim", -1),
    ("landmark_encoder", "channels", 16),
    ("landmark_encoder", "channels", ["16", "32"]),
    ("landmark_encoder", "width", 16),
    ("audio_encoder", "num_heads", 7),
    ("audio_encoder", "width", None),
    ("audio_encoder", "size", "tiny"),
    ("vae", "shift", 1),
    ("vae", "block_out_channels", 32),
    ("vae", "block_out_channels", [32, 32]),
    ("vae", "down_block_types", ["Unheard"] * 4),
    ("vae", "norm_num_groups", 0),
    ("vae", "layers_per_block", "2"),
]


def forget_metadata(folder):
    """The published files say nothing of themselves: their settings lie beside them."""
    for path in folder.rglob("*.safetensors"):
        state = {name: tensor.clone() for name, tensor in read_state(path)[0].items()}
        save_file(state, path)
    whisper = folder / "audio_processor/whisper_tiny.pt"
    torch.save({k: v.clone() for k, v in read_state(whisper)[0].items()}, whisper)
    (folder / "sd-vae-ft-mse/config.json").unlink()


@pytest.mark.parametrize("component", LOADERS)
@pytest.mark.parametrize("value", ["x", 3, ["a"], None])
def test_a_section_that_is_no_object_is_a_sentence(folder, component, value):
    forget_metadata(folder)
    settings = json.loads((folder / "config.json").read_text()) | {SECTIONS[component]: value}
    (folder / "config.json").write_text(json.dumps(settings))

    with pytest.raises(WeightsError, match=rf"'{SECTIONS[component]}' of .*config\.json must be"):
        LOADERS[component](find_models([folder], "audio"))


@pytest.mark.parametrize(("section", "entry", "value"), WRONG_ENTRIES)
def test_a_wrong_entry_is_a_sentence_that_names_the_file(folder, section, entry, value):
    forget_metadata(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings[section][entry] = value
    (folder / "config.json").write_text(json.dumps(settings))
    files = find_models([folder], "audio")

    for component in [name for name in LOADERS if SECTIONS[name] == section]:
        if component == "reference_unet" and entry in ("motion", "audio_dim"):
            continue  # it has neither
        with pytest.raises(WeightsError) as caught:
            LOADERS[component](files)
        assert str(getattr(files, component)) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"shift": 1}, {"act_fn": "unheard"}, {"block_out_channels": 3}])
def test_a_wrong_entry_of_the_published_vae_settings_is_a_sentence(folder, wrong):
    path = folder / "sd-vae-ft-mse/config.json"
    beside = json.loads(path.read_text())
    forget_metadata(folder)
    path.write_text(json.dumps(beside | wrong))

    with pytest.raises(WeightsError, match=r"configuration of .*diffusion_pytorch_model.* valid"):
        load_vae(find_models([folder], "audio"))


def test_metadata_with_a_wrong_configuration_is_a_sentence(folder):
    for wrong in ({"config": "x"}, {"config": {"channels": "x"}}):
        (folder / "denoising_unet.safetensors").unlink(missing_ok=True)
        note = {"format": 1, "component": "denoising_unet"} | wrong
        state = {"a": torch.zeros(1)}
        save_file(state, folder / "denoising_unet.safetensors", {"echomimic": json.dumps(note)})
        with pytest.raises(WeightsError, match=r"onfiguration .*denoising_unet\.safetensors"):
            load_denoising_unet(find_models([folder], "audio"))


def test_settings_of_a_later_format_are_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"format": 2}))

    with pytest.raises(WeightsError, match="format 2"):
        load_reference_unet(find_models([folder], "audio"))


def save_merged(folder, **note):
    unet = read_state(folder / "denoising_unet.pth")[0]
    motion = read_state(folder / "motion_module.pth")[0]
    note = {"component": "denoising_unet", "variant": "audio", "config": TINY.unet} | note
    save_file(motion | unet, folder / "denoising_unet.safetensors", make_metadata(**note))


def test_metadata_holds_the_configuration(folder):
    (folder / "config.json").unlink()
    save_merged(folder)

    model = load_denoising_unet(find_models([folder], "audio"))

    assert model.config == TINY.unet


def test_metadata_tells_components_and_variants_apart(folder):
    save_merged(folder, variant="audio_acc")
    with pytest.raises(WeightsError, match="of variant 'audio_acc'"):
        load_denoising_unet(find_models([folder], "audio"))

    save_merged(folder, component="reference_unet")
    with pytest.raises(WeightsError, match="is a reference_unet by its metadata"):
        load_denoising_unet(find_models([folder], "audio"))


def mapped_file(tensor):
    """The file that a tensor's memory is mapped from, or None."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return Path(line.split()[-1]).name if "/" in line else None
    return None


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells")
def test_tensors_that_need_no_cast_stay_in_their_file(folder):
    save_merged(folder)
    files = find_models([folder], "audio")

    unet = load_denoising_unet(files, dtype="float32")
    reference = load_reference_unet(files, dtype="float32")

    assert mapped_file(unet.conv_in.weight) == "denoising_unet.safetensors"
    assert mapped_file(reference.conv_in.weight) == "reference_unet.pth"
    assert mapped_file(load_reference_unet(files, dtype="bfloat16").conv_in.weight) is None


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("component", LOADERS)
def test_every_network_takes_the_chosen_dtype(source, component, name):
    model = LOADERS[component](find_models([source], "audio"), dtype=name, device="meta")

    assert model.dtype == getattr(torch, name)


def test_the_dtype_follows_the_device_and_unknown_ones_are_refused():
    assert default_dtype("cpu") == torch.float32
    assert default_dtype("cuda") == torch.float16
    assert choose_dtype(None, "cpu") == torch.float32
    assert choose_dtype(torch.bfloat16, "cpu") == torch.bfloat16
    for wrong in ("fp8", torch.int8):
        with pytest.raises(OptionsError, match="float32, float16, bfloat16"):
            choose_dtype(wrong, "cpu")


def test_random_weights_are_announced(source, caplog):
    load_denoising_unet(find_models([source], "audio"))

    assert "random weights" in caplog.text


def test_operations_can_be_replaced(source):
    class Operations:
        Linear, Conv2d = torch.nn.Linear, torch.nn.Conv2d
        LayerNorm = torch.nn.LayerNorm

        class GroupNorm(torch.nn.GroupNorm):
            pass

    model = load_reference_unet(find_models([source], "audio"), operations=Operations)

    kinds = {type(m) for m in model.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert kinds == {Operations.GroupNorm}


def test_whisper_loads_from_every_layout(source, tmp_path):
    official = load_audio_encoder(find_models([source], "audio"))
    bare = official.state_dict()
    config = make_metadata("audio_encoder", None, official.config)
    save_file(bare, tmp_path / "ours.safetensors", config)
    layout = {f"model.{name}": tensor for name, tensor in bare.items()}
    layout |= {"model.decoder.embed_tokens.weight": torch.zeros(2, 2)}
    save_file(layout, tmp_path / "transformers.safetensors", config)

    for name in ("ours", "transformers"):
        other = load_audio_encoder(tmp_path / f"{name}.safetensors").state_dict()
        torch.testing.assert_close(other, bare, rtol=0, atol=0)


def test_the_vae_loads_with_the_attention_names_of_old_diffusers(source, tmp_path):
    files = find_models([source], "audio")
    state, metadata = read_state(files.vae)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in state.items():
        for new, name_then in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{name_then}.")
        renamed[name] = tensor
    save_file(renamed, tmp_path / "old.safetensors", metadata)

    expected = load_vae(files).model.state_dict()
    loaded = load_vae(tmp_path / "old.safetensors").model.state_dict()

    assert renamed.keys() != state.keys()
    torch.testing.assert_close(loaded, expected, rtol=0, atol=0)


def test_full_size_files_fit_without_settings_and_without_being_read(tmp_path):
    shapes = unet_shapes(UNetConfig())
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    path, text = tmp_path / "denoising_unet.safetensors", json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + end)  # 2.6 GB of nothing: a hole takes no disk
    files = ModelFiles("audio", path, None, path, path, path, path)

    model = load_denoising_unet(files, device="meta", dtype="float16")

    assert model.config == UNetConfig()
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == end // 2


def test_status_has_a_row_for_everything_and_finds_each_problem(folder):
    (folder / "reference_unet_pose.pth").unlink()
    (folder / "face_locator.pth").write_bytes(b"broken")

    rows = {(row.variant, row.component): row for row in status([folder])}

    assert len(rows) == len(PUBLISHED) * 6 + 1
    assert "models download --face" in rows["any", "face_landmarker"].problem
    assert rows["audio", "denoising_unet"].problem is None
    assert rows["audio", "denoising_unet"].size == (folder / "denoising_unet.pth").stat().st_size
    assert rows["audio", "vae"].path.is_file()
    assert "damaged" in rows["audio", "landmark_encoder"].problem
    missing = rows["landmark", "reference_unet"]
    assert missing.path is None and missing.size == 0 and "is missing" in missing.problem
    assert folder / "reference_unet_pose.safetensors" in missing.places
    assert rows["landmark_acc", "motion_module"].path is None


def test_the_table_of_the_status_tells_each_state_and_place(folder):
    (folder / "face_locator.pth").write_bytes(b"broken")
    rows = [row for row in status([folder]) if row.variant != "landmark"]

    lines = status_table(rows).splitlines()

    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        state = "missing" if row.path is None else "problem" if row.problem else "ok"
        for part in (row.variant, row.component, state, row.problem or str(row.path)):
            assert part in line
    assert {"ok", "missing", "problem"} <= {line.split()[2] for line in lines}


def test_the_table_of_the_status_tells_where_a_missing_file_was_looked_for(folder):
    (folder / "reference_unet.pth").unlink()

    lines = status_table(status([folder])).splitlines()

    (line,) = [line for line in lines if line.split()[:2] == ["audio", "reference_unet"]]
    assert str(folder / "reference_unet.safetensors") in line
    assert str(folder / "reference_unet.pth") in line
    assert not [line for line in lines if " ok " in line and "Looked for" in line]

"""Finding model files: layouts, preferences, and telling EchoMimic's versions apart."""

import json

import pytest
import torch
from safetensors.torch import save_file

from echomimic.config import PUBLISHED
from echomimic.errors import OptionsError, WeightsError
from echomimic.weights.files import (
    ModelFiles,
    files_beside,
    find_models,
    foreign_reason,
    places,
    variant_of,
)
from echomimic.weights.read import SUFFIXES

OFFICIAL = [
    "audio_processor/whisper_tiny.pt",
    "sd-vae-ft-mse/config.json",
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
] + sorted(
    f"{stem}.pth"
    for stem in {
        name
        for row in PUBLISHED.values()
        for name in (
            row.denoising_unet,
            row.motion_module,
            row.reference_unet,
            row.landmark_encoder,
        )
    }
)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file({"a": torch.zeros(1)}, path)
        else:
            path.write_bytes(b"")


@pytest.mark.parametrize("variant", PUBLISHED)
def test_the_official_layout_gives_every_variant_its_own_files(tmp_path, variant):
    touch(tmp_path, *OFFICIAL)

    files = find_models([tmp_path], variant)

    row = PUBLISHED[variant]
    assert files.denoising_unet == tmp_path / f"{row.denoising_unet}.pth"
    assert files.motion_module == tmp_path / f"{row.motion_module}.pth"
    assert files.reference_unet == tmp_path / f"{row.reference_unet}.pth"
    assert files.landmark_encoder == tmp_path / f"{row.landmark_encoder}.pth"
    assert files.audio_encoder == tmp_path / "audio_processor/whisper_tiny.pt"
    assert files.vae == tmp_path / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    "vae",
    [
        "echo_mimic/vae/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "vae/sd-vae-ft-mse.safetensors",
        "vae/vae-ft-mse-840000-ema-pruned.safetensors",
        "vae/sd-vae-ft-mse/diffusion_pytorch_model.bin",
    ],
)
@pytest.mark.parametrize("given", [".", "echo_mimic"])
def test_the_folders_of_other_comfyui_packs_are_understood(tmp_path, vae, given):
    own = [f"echo_mimic/{name}" for name in OFFICIAL if "vae" not in name]
    touch(tmp_path, *own, vae)

    files = find_models([tmp_path / given], "audio")

    assert files.vae.samefile(tmp_path / vae)
    assert files.denoising_unet.samefile(tmp_path / "echo_mimic/denoising_unet.pth")


@pytest.mark.parametrize("variant", PUBLISHED)
@pytest.mark.parametrize("vae", ["echo_mimic/vae/diffusion_pytorch_model.safetensors",
                                 "vae/vae-ft-mse-840000-ema-pruned.safetensors"])  # fmt: skip
def test_the_whole_folder_of_smthemex_works_as_it_is(tmp_path, variant, vae):
    """All versions side by side, as docs/coming-from-smthemex.md says."""
    own = [f"echo_mimic/{name}" for name in OFFICIAL if "vae" not in name]
    second = ("denoising_unet.pth", "motion_module.pth", "reference_unet.pth", "pose_encoder.pth")
    unet = ("unet/diffusion_pytorch_model.bin", "unet/config.json")
    third = ("transformer/config.json", "transformer/diffusion_pytorch_model.safetensors")
    others = [f"v2/{name}" for name in second] + [*unet, *third]
    touch(tmp_path, *own, vae, *(f"echo_mimic/{name}" for name in others))

    files = find_models([tmp_path / "echo_mimic"], variant)

    assert files.vae.samefile(tmp_path / vae)
    assert files.audio_encoder == tmp_path / "echo_mimic/audio_processor/whisper_tiny.pt"
    for component in ("denoising_unet", "motion_module", "reference_unet", "landmark_encoder"):
        stem = getattr(PUBLISHED[variant], component)
        assert getattr(files, component) == tmp_path / f"echo_mimic/{stem}.pth"


def test_safetensors_are_preferred_and_the_first_folder_wins(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    touch(first, "reference_unet.pth", "reference_unet.safetensors")
    touch(second, *OFFICIAL, "face_locator.safetensors")

    files = find_models([first, second], "audio")

    assert files.reference_unet == first / "reference_unet.safetensors"
    assert files.landmark_encoder == second / "face_locator.safetensors"


def test_a_merged_denoising_file_needs_no_motion_module(tmp_path):
    touch(tmp_path, *(name for name in OFFICIAL if not name.startswith("motion_module")))
    merged = {"conv_in.weight": torch.zeros(1), "mid_block.motion_modules.0.x": torch.zeros(1)}
    save_file(merged, tmp_path / "denoising_unet.safetensors")

    files = find_models([tmp_path], "audio")

    assert files.denoising_unet.suffix == ".safetensors"
    assert files.motion_module is None


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_motion_module_is_an_error(tmp_path, suffix):
    touch(tmp_path, *(name for name in OFFICIAL if name != "motion_module.pth"))
    touch(tmp_path, f"denoising_unet{suffix}")

    with pytest.raises(WeightsError, match=r"motion module .* is missing: no motion_module "):
        find_models([tmp_path], "audio")


def test_the_error_says_what_is_missing_where_it_was_looked_for_and_what_to_do(tmp_path):
    touch(tmp_path, *(name for name in OFFICIAL if name != "face_locator_pose.pth"))

    with pytest.raises(WeightsError) as caught:
        find_models([tmp_path], "landmark_acc")

    for part in ("face_locator_pose", str(tmp_path), "models download --variant landmark_acc"):
        assert part in str(caught.value)


def test_an_unknown_variant_lists_the_known_ones(tmp_path):
    with pytest.raises(OptionsError, match="audio, audio_acc, landmark, landmark_acc"):
        find_models([tmp_path], "pose")


VERSION_2 = [
    f"{name}.pth" for name in ("denoising_unet", "motion_module", "reference_unet", "pose_encoder")
]


def test_files_of_other_versions_in_the_same_tree_are_not_offered(tmp_path):
    touch(tmp_path, *(f"v2/{name}" for name in VERSION_2))
    touch(tmp_path, "v3/denoising_unet.pth", "transformer/diffusion_pytorch_model.safetensors")
    touch(tmp_path, "diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin")

    for row in PUBLISHED.values():
        for component in ("denoising_unet", "reference_unet", "vae", "audio_encoder"):
            assert not [path for path in places([tmp_path], row, component) if path.is_file()]


@pytest.mark.parametrize("folder", ["v2", "EchoMimicV2", "echomimic_v2", "V3", "transformer"])
def test_a_folder_named_after_another_version_is_refused_with_its_reason(tmp_path, folder):
    touch(tmp_path, *(f"{folder}/{name}" for name in OFFICIAL if "face_locator" not in name))

    with pytest.raises(WeightsError, match="EchoMimicV[23]"):
        find_models([tmp_path / folder], "audio")
    with pytest.raises(WeightsError, match=r"denoising_unet\.pth lies in .* EchoMimicV[23]"):
        files_beside(tmp_path / folder / "denoising_unet.pth")


def test_version_2_is_known_by_its_pose_encoder(tmp_path):
    touch(tmp_path, *VERSION_2)

    assert "pose_encoder" in foreign_reason(tmp_path / "denoising_unet.pth")
    with pytest.raises(WeightsError, match=r"EchoMimicV2's pose_encoder"):
        find_models([tmp_path], "audio")


def test_a_face_locator_marks_version_1_whatever_the_folder_is_called(tmp_path):
    touch(tmp_path / "v2", *OFFICIAL)

    assert find_models([tmp_path / "v2"], "audio").denoising_unet.is_file()


def test_files_beside_a_chosen_unet_follow_its_variant(tmp_path):
    touch(tmp_path, *OFFICIAL)
    chosen = tmp_path / "denoising_unet_pose_acc.pth"

    assert files_beside(chosen) == find_models([tmp_path], "landmark_acc")
    assert files_beside(chosen).denoising_unet == chosen


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_the_variant_is_known_by_the_denoising_unet(tmp_path, row, suffix):
    assert variant_of(tmp_path / f"{row.denoising_unet}{suffix}") == row.name
    assert variant_of(tmp_path / f"{row.reference_unet}{suffix}") is None
    assert variant_of(tmp_path / f"{row.denoising_unet}.txt") is None


def test_beside_a_chosen_unet_the_audio_encoder_may_be_absent(tmp_path):
    touch(tmp_path, *(name for name in OFFICIAL if "whisper" not in name))

    assert files_beside(tmp_path / "denoising_unet.pth").audio_encoder is None
    with pytest.raises(WeightsError, match="audio encoder of variant 'audio' is missing"):
        find_models([tmp_path], "audio")


def test_a_file_with_another_name_is_no_denoising_unet(tmp_path):
    touch(tmp_path, "model.pth")

    with pytest.raises(WeightsError, match=r"model\.pth is not named .* denoising_unet_pose_acc"):
        files_beside(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("component", "other"),
    [
        ("denoising_unet", "denoising_unet_acc.pth"),
        ("motion_module", "motion_module_pose.pth"),
        ("reference_unet", "reference_unet_pose.pth"),
        ("landmark_encoder", "face_locator_pose.pth"),
    ],
)
def test_files_of_different_variants_are_not_mixed(tmp_path, component, other):
    touch(tmp_path, *OFFICIAL)
    paths = vars(find_models([tmp_path], "audio")) | {component: tmp_path / other}

    with pytest.raises(WeightsError, match=rf"{other} belongs to another variant than 'audio'"):
        ModelFiles(**paths)


def test_an_unrelated_config_file_changes_nothing(tmp_path):
    touch(tmp_path, *OFFICIAL)
    (tmp_path / "config.json").write_text(json.dumps({"format": "diffusers", "x": 1}))

    assert find_models([tmp_path], "audio").vae.is_file()

"""The networks against tensors of the official code (goldens a, b, c, d, manifests, probes)."""

import pytest
import torch
from support import (
    GOLDEN,
    fill_from_recipe,
    fold,
    golden_config,
    golden_info,
    golden_json,
    golden_landmark_encoder_config,
    golden_tensors,
    golden_unet_config,
)

from echomimic.config import LandmarkEncoderConfig, UNetConfig
from echomimic.models.attention import Context
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.layers import sinusoid
from echomimic.models.unet import UNet


@pytest.fixture(scope="module")
def denoising_unet():
    return fill_from_recipe(UNet(golden_unet_config()), "denoising_unet")


@pytest.fixture(scope="module")
def reference_unet():
    return fill_from_recipe(UNet(golden_unet_config().as_reference()), "reference_unet")


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


REFERENCE = "tiny/a_reference_unet.safetensors"


@torch.no_grad()
def test_reference_unet_returns_the_official_features_and_output(reference_unet):
    stored, names = golden_tensors(REFERENCE)[0], golden_info(REFERENCE)["bank_names"]
    features, output = reference_unet.reference_features(stored["latents"], 0, full_output=True)
    assert sorted(names) == sorted(features)
    for index, name in enumerate(names):
        close(features[name], stored[f"bank.{index:02}"], 5e-5)
    close(output, stored["out_hidden"], 5e-5)


@torch.no_grad()
def test_stopping_after_the_last_feature_changes_no_feature(reference_unet):
    stored, _ = golden_tensors(REFERENCE)
    full, _ = reference_unet.reference_features(stored["latents"], full_output=True)
    early, output = reference_unet.reference_features(stored["latents"])
    assert output is None
    for name, feature in full.items():
        torch.testing.assert_close(early[name], feature, atol=0, rtol=0)


def stored_reference(unet, half):
    stored, names = golden_tensors(REFERENCE)[0], golden_info(REFERENCE)["bank_names"]
    features = {name: stored[f"bank.{index:02}"] for index, name in enumerate(names)}
    if half:
        features = {name: feature.half().float() for name, feature in features.items()}
    return unet.project_reference(features)


OUTPUTS = [
    f"out_{guidance}{face}{bank}"
    for guidance in ("nocfg", "cfg")
    for face in ("", "_pose")
    for bank in ("", "_bank16")
] + ["out_nocfg_nobank"]


@torch.no_grad()
@pytest.mark.parametrize("name", OUTPUTS)
def test_denoising_unet_predicts_the_official_velocity(denoising_unet, name):
    stored, _ = golden_tensors("tiny/b_denoising_unet.safetensors")
    if name not in stored:
        pytest.skip(f"{name} is not in this golden file")
    latents = fold(stored["latents"])
    num_frames = len(latents)
    guided = "_cfg" in name
    reference = None if "nobank" in name else stored_reference(denoising_unet, "bank16" in name)
    predicted = denoising_unet(
        latents.repeat(2, 1, 1, 1) if guided else latents,
        stored["timestep"],
        num_frames=num_frames,
        conditional=(False, True) if guided else None,
        reference=reference,
        audio=denoising_unet.project_audio(stored["audio"][0]),
        face=fold(stored["face_pose" if "_pose" in name else "face"]),
    )
    close(predicted, fold(stored[name]), 5e-5 if "bank16" in name else 2e-5)


@torch.no_grad()
def test_conditional_rows_are_told_by_flag_not_by_position(denoising_unet):
    stored, _ = golden_tensors("tiny/b_denoising_unet.safetensors")
    latents = fold(stored["latents"])
    predicted = denoising_unet(
        latents.repeat(3, 1, 1, 1),
        stored["timestep"],
        num_frames=len(latents),
        conditional=(True, False, True),
        reference=stored_reference(denoising_unet, False),
        audio=denoising_unet.project_audio(stored["audio"][0].repeat(2, 1, 1)),
        face=fold(stored["face"]),
    )
    unconditional, conditional = stored["out_cfg"].split(1)
    close(predicted, torch.cat([fold(x) for x in (conditional, unconditional, conditional)]), 2e-5)


@torch.no_grad()
def test_every_stage_of_the_denoising_unet_matches(denoising_unet):
    stored, _ = golden_tensors("tiny/b_denoising_unet.safetensors")
    seen = {}

    def watch(name):
        def hook(module, inputs, output):
            seen[name] = output[-1] if isinstance(output, list) else output

        return hook

    stages = [key.removeprefix("inter.") for key in stored if key.startswith("inter.")]
    if not stages:
        pytest.skip("this golden file holds no intermediate results")
    hooks = [
        denoising_unet.get_submodule(name).register_forward_hook(watch(name)) for name in stages
    ]
    latents = fold(stored["latents"])
    denoising_unet(
        latents,
        stored["timestep"],
        num_frames=len(latents),
        reference=stored_reference(denoising_unet, False),
        audio=denoising_unet.project_audio(stored["audio"][0]),
        face=fold(stored["face"]),
    )
    for hook in hooks:
        hook.remove()
    for name in stages:
        expected = stored[f"inter.{name}"]
        close(seen[name], expected if expected.ndim == 2 else fold(expected), 1e-4)


class TestBlocks:
    """Parts of the first level."""

    @pytest.fixture(autouse=True)
    def inference(self):
        with torch.no_grad():
            yield

    @pytest.fixture()
    def stored(self):
        return golden_tensors("tiny/c_blocks.safetensors")[0]

    @staticmethod
    def context(unet, stored, free_clips=0):
        num_frames = stored["x"].shape[2]
        block = unet.down_blocks[0].attentions[0].transformer_blocks[0]
        return Context(
            time=torch.nn.functional.silu(stored["temb"]),
            num_frames=num_frames,
            attention=unet.attention,
            free_rows=free_clips * num_frames,
            unreferenced_rows=free_clips * num_frames,
            reference={block.name: block.attn1.keys_values(stored["bank"])},
            audio={block.name: block.attn2.keys_values(stored["audio"][0])},
        )

    def test_resnet(self, denoising_unet, stored):
        context = self.context(denoising_unet, stored)
        output = denoising_unet.down_blocks[0].resnets[0](fold(stored["x"]), context.time)
        close(output, fold(stored["resnet_out"]), 2e-5)

    def test_transformer(self, denoising_unet, stored):
        context = self.context(denoising_unet, stored)
        output = denoising_unet.down_blocks[0].attentions[0](fold(stored["x"]), context)
        close(output, fold(stored["attn_out"]), 2e-5)

    def test_transformer_with_guidance(self, denoising_unet, stored):
        context = self.context(denoising_unet, stored, free_clips=1)
        rows = fold(stored["x"]).repeat(2, 1, 1, 1)
        output = denoising_unet.down_blocks[0].attentions[0](rows, context)
        close(output, fold(stored["attn_out_cfg"]), 2e-5)

    def test_transformer_block(self, denoising_unet, stored):
        block = denoising_unet.down_blocks[0].attentions[0].transformer_blocks[0]
        output = block(stored["tokens"], self.context(denoising_unet, stored))
        close(output, stored["block_out"], 2e-5)

    def test_motion_module(self, denoising_unet, stored):
        context = self.context(denoising_unet, stored)
        output = denoising_unet.down_blocks[0].motion_modules[0](fold(stored["x"]), context)
        close(output, fold(stored["motion_out"]), 2e-5)

    def test_resampling(self, denoising_unet, stored):
        down = denoising_unet.down_blocks[0].downsamplers[0]
        close(down(fold(stored["x"])), fold(stored["down_out"]), 2e-5)
        up = denoising_unet.up_blocks[0].upsamplers[0]
        close(up(fold(stored["x_up"])), fold(stored["up_out"]), 2e-5)
        for key in stored:
            if key.startswith("up_out_size_"):
                size = tuple(map(int, key.removeprefix("up_out_size_").split("x")))
                close(up(fold(stored["x_up"]), size), fold(stored[key]), 2e-5)

    def test_time_and_position_codes(self, denoising_unet, stored):
        values = stored["t_values"]
        close(sinusoid(values, denoising_unet.config.channels[0]), stored["t_proj"], 2e-5)
        close(denoising_unet.time_embedding(values, torch.float32), stored["t_emb"], 2e-5)
        motion = denoising_unet.down_blocks[0].motion_modules[0].temporal_transformer
        position = motion.transformer_blocks[0].attention_blocks[0].pos_encoder
        close(position.pe, stored["pe"], 2e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("component", "images", "output"),
    [("face_locator", "mask", "out"), ("face_locator_pose", "pose", "out_pose")],
)
def test_landmark_encoder(component, images, output):
    stored, _ = golden_tensors("tiny/d_face_locator.safetensors")
    if images not in stored:
        pytest.skip(f"{images} is not in this golden file")
    config = golden_landmark_encoder_config(stored[images].shape[1])
    encoder = fill_from_recipe(LandmarkEncoder(config), component)
    close(encoder(fold(stored[images])), fold(stored[output]), 1e-6)


@pytest.mark.parametrize(
    ("manifest", "network"),
    [
        ("denoising_unet_full", lambda: UNet(UNetConfig(), device="meta")),
        ("denoising_unet_spatial", lambda: UNet(UNetConfig(motion=None), device="meta")),
        ("reference_unet", lambda: UNet(UNetConfig().as_reference(), device="meta")),
        ("face_locator", lambda: LandmarkEncoder(LandmarkEncoderConfig(1), device="meta")),
        ("face_locator_pose", lambda: LandmarkEncoder(LandmarkEncoderConfig(3), device="meta")),
    ],
)
def test_full_size_networks_have_exactly_the_official_names_and_shapes(manifest, network):
    expected = golden_json(f"manifests/{manifest}.json")["state_dict"]
    state = network().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == {
        name: shape for name, (shape, _) in expected.items()
    }
    assert all(value.is_meta for value in state.values())


def test_blocks_of_both_networks_pair_by_name_as_the_official_ones_do():
    pairs = golden_json("manifests/bank_pairs_full.json")["pairs"]
    reading = UNet(UNetConfig(), device="meta").transformer_blocks()
    writing = UNet(UNetConfig().as_reference(), device="meta").transformer_blocks()
    assert [block.name for block in reading] == [block.name for block in writing]
    assert {(a, b) for a, b, _ in pairs} == {(block.name, block.name) for block in reading}


@pytest.mark.parametrize("component", ["denoising_unet", "reference_unet", "face_locator_pose"])
def test_recipe_weights_match_the_stored_probes(component):
    if not (GOLDEN / "tiny/weight_probes.json").is_file():
        pytest.skip("weight probes are not at hand")
    networks = {
        "denoising_unet": lambda: UNet(golden_unet_config()),
        "reference_unet": lambda: UNet(golden_unet_config().as_reference()),
        "face_locator_pose": lambda: LandmarkEncoder(golden_landmark_encoder_config(3)),
    }
    network = fill_from_recipe(networks[component](), component, golden_config()["tag"])
    for name, probe in golden_json("tiny/weight_probes.json")[component].items():
        weight = network.get_parameter(name)
        assert list(weight.shape) == probe["shape"]
        close(weight.flatten()[:4], torch.tensor(probe["first"])[: weight.numel()], 0)
        assert float(weight.double().sum()) == pytest.approx(probe["sum"], abs=1e-6)

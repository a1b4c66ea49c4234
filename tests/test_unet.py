"""What the UNet promises beyond matching stored tensors."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from echomimic.bench import flops
from echomimic.config import LandmarkEncoderConfig, MotionConfig, UNetConfig
from echomimic.errors import OptionsError
from echomimic.models.attention import sdpa
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.layers import Builder, FeedForward
from echomimic.models.unet import UNet
from echomimic.train.trainable import read

CONFIG = UNetConfig(
    channels=(8, 16), attention=(True, False), layers_per_level=1, num_heads=2, norm_groups=4,
    audio_dim=6, motion=MotionConfig(num_heads=2, max_frames=8),
)  # fmt: skip
FRAMES = 3


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def make(config=CONFIG, **options):
    torch.manual_seed(0)
    return UNet(config, **options).eval()


@pytest.fixture()
def unet():
    return make()


@pytest.fixture()
def conditions(unet):
    torch.manual_seed(1)
    features, _ = make(CONFIG.as_reference()).reference_features(torch.randn(1, 4, 8, 8))
    return {
        "reference": unet.project_reference(features),
        "audio": unet.project_audio(torch.randn(FRAMES, 5, 6)),
        "face": torch.randn(1, 8, 8, 8),
    }


def latents(clips=1):
    torch.manual_seed(2)
    return torch.randn(clips * FRAMES, 4, 8, 8)


def test_rows_without_conditions_equal_a_call_without_conditions(unet, conditions):
    both = unet(
        latents().repeat(2, 1, 1, 1), 7, num_frames=FRAMES, conditional=(False, True), **conditions
    )
    alone = unet(latents(), 7, num_frames=FRAMES)
    torch.testing.assert_close(both[:FRAMES], alone)
    shown = unet(latents(), 7, num_frames=FRAMES, **conditions)
    torch.testing.assert_close(both[FRAMES:], shown)
    assert (shown - alone).abs().max() > 1e-3


def test_silence_is_the_same_as_zero_tokens(unet, conditions):
    silent = unet.project_audio(torch.zeros(FRAMES, 5, 6))
    with_zeros = unet(latents(), 7, num_frames=FRAMES, **conditions | {"audio": silent})
    without = unet(latents(), 7, num_frames=FRAMES, **conditions | {"audio": None})
    torch.testing.assert_close(with_zeros, without)


def test_audio_tokens_have_places_if_the_configuration_says_so_and_silence_stays_silent(conditions):
    placed = make(replace(CONFIG, audio_position_code=True))
    tokens = torch.randn(FRAMES, 5, 6)
    said, reversed_ = (
        placed(latents(), 7, num_frames=FRAMES, audio=placed.project_audio(order))
        for order in (tokens, tokens.flip(1))
    )
    assert (said - reversed_).abs().max() > 1e-4
    silent = placed.project_audio(torch.zeros(FRAMES, 5, 6))
    without = placed(latents(), 7, num_frames=FRAMES)
    torch.testing.assert_close(placed(latents(), 7, num_frames=FRAMES, audio=silent), without)


def test_audio_tokens_have_no_places_in_the_published_networks(unet, conditions):
    tokens = torch.randn(FRAMES, 5, 6)
    said, reversed_ = (
        unet(latents(), 7, num_frames=FRAMES, audio=unet.project_audio(order))
        for order in (tokens, tokens.flip(1))
    )
    torch.testing.assert_close(said, reversed_)


def test_only_motion_modules_mix_frames(unet, conditions):
    still = make(replace(CONFIG, motion=None))
    together = still(latents(), 7, num_frames=FRAMES)
    apart = torch.cat([still(frame, 7) for frame in latents().split(1)])
    torch.testing.assert_close(together, apart)
    mixed = unet(latents(), 7, num_frames=FRAMES)
    alone = torch.cat([unet(frame, 7) for frame in latents().split(1)])
    assert (mixed - alone).abs().max() > 1e-4


def test_clips_of_a_batch_may_have_timesteps_and_portraits_of_their_own(unet, conditions):
    reference = {
        name: tuple(torch.cat([x, x + 1]) for x in pair)
        for name, pair in conditions["reference"].items()
    }
    both = unet(latents(2), torch.tensor([3, 900]), num_frames=FRAMES, reference=reference)
    for clip, t in enumerate((3, 900)):
        own = {name: tuple(x[clip : clip + 1] for x in pair) for name, pair in reference.items()}
        rows = slice(clip * FRAMES, (clip + 1) * FRAMES)
        alone = unet(latents(2)[rows], t, num_frames=FRAMES, reference=own)
        torch.testing.assert_close(both[rows], alone)


def test_attention_can_be_exchanged(conditions):
    calls = []

    def counting(q, k, v, heads):
        calls.append(q.shape)
        return sdpa(q, k, v, heads)

    expected = make()(latents(), 7, num_frames=FRAMES, **conditions)
    unet = make(attention=counting)
    torch.testing.assert_close(unet(latents(), 7, num_frames=FRAMES, **conditions), expected)
    by_constructor, calls[:] = len(calls), []
    make()(latents(), 7, num_frames=FRAMES, attention=counting, **conditions)
    blocks = len(unet.transformer_blocks())
    temporal = sum(len(level.motion_modules) for level in [*unet.down_blocks, unet.mid_block])
    temporal += sum(len(level.motion_modules) for level in unet.up_blocks)
    assert by_constructor == len(calls) == 2 * blocks + 2 * temporal


def test_every_layer_with_weights_comes_from_operations():
    class Operations:
        class Linear(torch.nn.Linear): ...

        class Conv2d(torch.nn.Conv2d): ...

        class GroupNorm(torch.nn.GroupNorm): ...

        class LayerNorm(torch.nn.LayerNorm): ...

    networks = [
        make(operations=Operations),
        LandmarkEncoder(LandmarkEncoderConfig(), operations=Operations),
    ]
    for network in networks:
        owners = {type(m) for m in network.modules() if list(m.parameters(recurse=False))}
        assert owners <= {
            Operations.Linear, Operations.Conv2d, Operations.GroupNorm, Operations.LayerNorm
        }  # fmt: skip


def test_dtype_and_device_reach_every_tensor():
    state = make(device="meta", dtype=torch.bfloat16).state_dict()
    assert {(x.device.type, x.dtype) for x in state.values()} == {("meta", torch.bfloat16)}


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 12)])
def test_any_latent_size_comes_back(unet, size):
    assert unet(torch.randn(FRAMES, 4, *size), 7, num_frames=FRAMES).shape[-2:] == size


def test_a_single_frame_works(unet, conditions):
    audio = unet.project_audio(torch.randn(1, 5, 6))
    output = unet(latents()[:1], 7, num_frames=1, **conditions | {"audio": audio})
    assert output.shape == (1, 4, 8, 8)


def test_known_keys_and_values_are_not_projected_again(unet, conditions):
    projected = []  # tokens that were given to a layer for keys or values
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: projected.append(inputs[0]))
        for block in unet.transformer_blocks()
        for layer in (block.attn1.to_k, block.attn1.to_v, block.attn2.to_k, block.attn2.to_v)
    ]
    unet(latents(), 7, num_frames=FRAMES, **conditions)
    for hook in hooks:
        hook.remove()
    assert len(projected) == 2 * len(unet.transformer_blocks())  # the rows' own, nothing else
    assert {len(tokens) for tokens in projected} == {FRAMES}
    assert {tokens.shape[1] for tokens in projected} == {64, 16}


def test_unconditional_rows_cost_no_attention_to_reference_or_audio(unet, conditions):
    def work(conditional):
        rows = latents(len(conditional))
        with FlopCounterMode(display=False) as counter:
            unet(rows, 7, num_frames=FRAMES, conditional=conditional, **conditions)
        return counter.get_total_flops()

    def alone():
        with FlopCounterMode(display=False) as counter:
            unet(latents(), 7, num_frames=FRAMES)
        return counter.get_total_flops()

    time = 2 * sum(p.numel() for n, p in unet.named_parameters() if _runs_once(n))
    assert work((False, True)) - work((True,)) == alone() - time


def _runs_once(name):
    is_time = name.startswith("time_embedding.") or ".time_emb_proj." in name
    return is_time and name.endswith("weight")


def test_a_window_of_the_full_model_costs_no_more_than_it_must():
    figures = flops((512, 512), 12)
    assert figures["tflop_per_guided_window"] <= 27.8  # official: 32.17
    assert figures["tflop_per_window"] <= 14.8  # official: 15.05
    assert figures["tflop_per_reference"] <= 0.74  # official: 0.77, for it computes all


def test_impossible_widths_are_explained():
    with pytest.raises(OptionsError, match="divisible by norm_groups=4"):
        replace(CONFIG, channels=(10, 16))
    with pytest.raises(OptionsError, match="one attention flag per level"):
        replace(CONFIG, channels=(8, 16, 16))


def test_configuration_survives_json():
    assert UNetConfig.from_dict(CONFIG.to_dict()) == CONFIG
    assert UNetConfig.from_dict(CONFIG.as_reference().to_dict()) == CONFIG.as_reference()


def test_transformers_stand_where_the_configuration_counts_them():
    config = replace(CONFIG, layers_per_level=2, attention=(False, True), up_transformers=(1, 2))
    names = [block.name for block in make(config).transformer_blocks()]
    assert [name.removesuffix(".transformer_blocks.0") for name in names] == [
        "down_blocks.1.attentions.0", "down_blocks.1.attentions.1",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0", "up_blocks.0.attentions.1",
        "up_blocks.1.attentions.0",
    ]  # fmt: skip
    assert UNetConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("counts", [(1,), (1, 4), (-1, 1), (True, 1)])
def test_impossible_counts_of_transformers_are_explained(counts):
    with pytest.raises(OptionsError, match="one number per level, of 0 to 2 layers"):
        replace(CONFIG, up_transformers=counts)


@pytest.mark.parametrize("counts", [None, (0, 1), (1, 2), (2, 0)])
def test_a_trimmed_reference_has_the_same_features_and_nothing_unread(counts):
    config = replace(CONFIG, attention=(False, True), up_transformers=counts)
    whole = make(config.as_reference())
    trimmed = make(replace(config, trimmed_reference=True).as_reference())
    state = trimmed.state_dict()
    trimmed.load_state_dict({name: whole.state_dict()[name] for name in state})
    picture = torch.randn(1, 4, 8, 8)

    features, _ = trimmed.reference_features(picture)

    expected, _ = whole.reference_features(picture)
    assert features.keys() == expected.keys()
    for name, feature in expected.items():
        assert torch.equal(features[name], feature)
    with torch.inference_mode(False), torch.enable_grad():
        assert set(state) == read(trimmed) < set(whole.state_dict())
    with pytest.raises(ValueError, match="features only"):
        trimmed.reference_features(picture, full_output=True)


def test_trimming_needs_a_feature_to_end_at():
    with pytest.raises(OptionsError, match="trimmed_reference needs a transformer on the way up"):
        replace(CONFIG, up_transformers=(0, 0), trimmed_reference=True)


def test_the_denoising_unet_of_a_trimmed_reference_is_whole():
    names = make(replace(CONFIG, trimmed_reference=True)).state_dict()
    assert names.keys() == make().state_dict().keys()


def test_feed_forward_gives_the_same_in_parts(monkeypatch):
    layer, x = FeedForward(8, Builder()), torch.randn(10, 5, 8)
    whole = layer(x)
    monkeypatch.setattr("echomimic.models.layers.MAX_HIDDEN", 3 * 5 * 64)
    torch.testing.assert_close(layer(x), whole)


def test_large_attention_batches_are_split(monkeypatch):
    monkeypatch.setattr("echomimic.models.attention.MAX_ATTENTION_BATCH", 4)
    q, k, v = torch.randn(3, 10, 5, 8).unbind()
    whole = torch.nn.functional.scaled_dot_product_attention(
        *(x.unflatten(-1, (2, 4)).transpose(1, 2) for x in (q, k, v))
    )
    torch.testing.assert_close(sdpa(q, k, v, 2), whole.transpose(1, 2).flatten(-2))


@torch.inference_mode(False)
@torch.enable_grad()
def test_gradients_are_the_same_when_activations_are_computed_again():
    config = UNetConfig(channels=(32, 32), attention=(False, True), layers_per_level=1,
                        num_heads=4, norm_groups=8, audio_dim=16)  # fmt: skip
    torch.manual_seed(0)
    unet, reference = UNet(config), UNet(config.as_reference())
    latents, picture = torch.randn(4, 4, 8, 8), torch.randn(2, 4, 8, 8)

    def gradients(again):
        unet.gradient_checkpointing = reference.gradient_checkpointing = again
        features, _ = reference.reference_features(picture)
        v = unet(latents, 500, num_frames=2, reference=unet.project_reference(features),
                 audio=unet.project_audio(torch.ones(4, 3, 16)))  # fmt: skip
        parameters = [reference.conv_in.weight, *unet.parameters()]
        return torch.autograd.grad(v.square().mean(), parameters, allow_unused=True)

    for kept, computed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(kept, computed)


def test_the_reference_alone_can_be_left_out():
    config = UNetConfig(channels=(32, 32), attention=(False, True), layers_per_level=1,
                        num_heads=4, norm_groups=8, audio_dim=16)  # fmt: skip
    torch.manual_seed(0)
    unet = UNet(config).eval()
    latents, tokens = torch.randn(3, 4, 8, 8), torch.randn(3, 5, 16)
    bank = {b.name: torch.randn(2, 16, 32) for b in unet.transformer_blocks()}
    with torch.no_grad():
        known, audio = unet.project_reference(bank), unet.project_audio(tokens)
        face = torch.randn(3, 32, 8, 8)
        mixed = unet(latents, 5, with_reference=[True, False, True], reference=known, audio=audio,
                     face=face)  # fmt: skip
        without = unet(latents[1:2], 5, audio=unet.project_audio(tokens[1:2]), face=face[1:2])
        first = {name: tuple(part[:1] for part in parts) for name, parts in known.items()}
        with_it = unet(latents[:1], 5, reference=first, audio=unet.project_audio(tokens[:1]),
                       face=face[:1])  # fmt: skip
    torch.testing.assert_close(mixed[1:2], without, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[:1], with_it, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(without, unet(latents[1:2], 5), atol=1e-3)

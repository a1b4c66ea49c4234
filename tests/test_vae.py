"""Frames are decoded a few at a time, whatever the memory allows, and old weight names are read."""

import weakref

import pytest
import torch

from echomimic.bench import vae_flops
from echomimic.errors import OptionsError, SamplingError
from echomimic.models import vae as vae_module
from echomimic.models.vae import (
    MAX_CHUNK,
    DiffusersVAE,
    decode_chunk,
    decode_frames,
    make_vae,
    rename_deprecated_attention,
    rename_single_file,
)

TINY = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 8, 16, 16],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "_class_name": "AutoencoderKL",  # as in a config.json
}


class FakeVAE:
    """Enlarges latents eightfold; runs out of memory beyond `limit` frames."""

    def __init__(self, limit: int = 1000, error: type[Exception] = MemoryError) -> None:
        self.device = torch.device("cpu")
        self.limit = limit
        self.error = error
        self.calls: list[int] = []

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(latents))
        if len(latents) > self.limit:
            raise self.error("out of memory")
        return latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)

    def frame_bytes(self, height: int, width: int) -> int:
        return 1000 * height * width


@pytest.fixture(scope="module")
def tiny_vae():
    torch.manual_seed(0)
    return DiffusersVAE(make_vae(TINY))


def numbered_latents(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 4, 2, 2)


def frame_numbers(chunks) -> list[int]:
    return [int(image[0, 0, 0]) for chunk in chunks for image in chunk]


def test_pictures_and_latents_have_the_promised_shapes(tiny_vae):
    images = torch.rand(2, 3, 40, 24) * 2 - 1

    latents = tiny_vae.encode(images)

    assert latents.shape == (2, 4, 5, 3)
    assert tiny_vae.decode(latents).shape == images.shape


def test_encoding_draws_no_random_numbers(tiny_vae):
    images = torch.rand(1, 3, 16, 16)

    assert torch.equal(tiny_vae.encode(images), tiny_vae.encode(images))


def test_inputs_follow_the_type_of_the_weights_and_frames_come_back_as_float32():
    half = DiffusersVAE(make_vae(TINY).to(torch.bfloat16))

    (frames,) = decode_frames(half, torch.randn(2, 4, 2, 2))

    assert half.encode(torch.rand(1, 3, 16, 16)).dtype == torch.bfloat16
    assert frames.dtype == torch.float32


def test_decoding_keeps_no_gradients(tiny_vae):
    (frames,) = decode_frames(tiny_vae, torch.randn(1, 4, 2, 2, requires_grad=True))

    assert not frames.requires_grad


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_every_frame_comes_once_and_in_order(chunk):
    assert frame_numbers(decode_frames(FakeVAE(), numbered_latents(7), chunk=chunk)) == list(
        range(7)
    )


def test_chunks_do_not_change_the_pictures(tiny_vae):
    latents = torch.randn(5, 4, 3, 2, generator=torch.Generator().manual_seed(0))

    together = tiny_vae.decode(latents)

    for chunk in (1, 2, 5):
        frames = torch.cat(list(decode_frames(tiny_vae, latents, chunk=chunk)))
        torch.testing.assert_close(frames, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("free", "expected"), [(0, 1), (10, 5), (12, 6), (10**9, MAX_CHUNK)])
def test_a_chunk_takes_half_of_the_free_memory_within_limits(monkeypatch, free, expected):
    vae = FakeVAE()
    monkeypatch.setattr(vae_module, "free_memory", lambda device: free * vae.frame_bytes(64, 48))

    assert decode_chunk(vae, 64, 48) == expected


def test_a_cpu_decodes_large_frames_one_by_one_however_much_memory_it_has(monkeypatch):
    monkeypatch.setattr(vae_module, "free_memory", lambda device: 2**50)

    assert decode_chunk(FakeVAE(), 1024, 1024) == 1


@pytest.mark.parametrize("error", [MemoryError, torch.cuda.OutOfMemoryError, RuntimeError])
def test_running_out_of_memory_halves_the_chunk_and_loses_nothing(error):
    vae = FakeVAE(limit=3, error=error)

    assert frame_numbers(decode_frames(vae, numbered_latents(9), chunk=8)) == list(range(9))
    assert vae.calls == [8, 4, 2, 2, 2, 2, 1]


def test_a_frame_too_large_for_the_memory_is_one_sentence():
    with pytest.raises(OptionsError, match="not enough memory to decode a single frame of 16x16"):
        list(decode_frames(FakeVAE(limit=0), numbered_latents(9), chunk=8))


def test_other_errors_of_the_decoder_are_not_taken_for_lack_of_memory(tiny_vae):
    with pytest.raises(RuntimeError, match="channels"):
        list(decode_frames(tiny_vae, torch.randn(1, 5, 2, 2)))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_overflow_in_the_decoder_name_the_remedy(bad):
    with pytest.raises(SamplingError, match="choose float32 for the VAE"):
        list(decode_frames(FakeVAE(), torch.full((1, 4, 2, 2), bad)))


def test_progress_counts_frames_and_can_cancel():
    seen = []

    def stop_after_four(done, total):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(decode_frames(FakeVAE(), numbered_latents(9), chunk=2, on_progress=stop_after_four))

    assert seen == [(2, 9), (4, 9)]


def test_only_two_chunks_exist_at_a_time_however_long_the_clip():
    alive = weakref.WeakSet()
    most = 0

    class Tracking(FakeVAE):
        def decode(self, latents):
            nonlocal most
            images = super().decode(latents)
            alive.add(images)
            most = max(most, len(alive))
            return images

    for _ in decode_frames(Tracking(), numbered_latents(240), chunk=4):
        pass

    assert most <= 2


def test_attention_weights_of_old_files_find_their_place():
    current = make_vae(TINY).state_dict()
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in current.items():
        for new, deprecated in old_names.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{deprecated}.")
        old[name] = tensor
    assert old.keys() != current.keys()

    renamed = rename_deprecated_attention(old)

    assert renamed.keys() == current.keys()
    assert all(torch.equal(renamed[name], current[name]) for name in current)


def test_attention_weights_stored_as_convolutions_become_linear():
    current = make_vae(TINY).state_dict()
    as_convolutions = {
        name: tensor[:, :, None, None] if ".to_" in name and tensor.ndim == 2 else tensor
        for name, tensor in current.items()
    }
    assert any(as_convolutions[name].shape != current[name].shape for name in current)

    make_vae(TINY).load_state_dict(rename_deprecated_attention(as_convolutions))


def test_current_names_are_left_alone():
    current = make_vae(TINY).state_dict()

    assert rename_deprecated_attention(current).keys() == current.keys()
    assert rename_single_file(current).keys() == current.keys()


def test_single_files_are_read_as_diffusers_reads_them():
    """`single` has the names of vae-ft-mse-840000; diffusers' own converter is the judge."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    single = single_file_state(make_vae(TINY).state_dict())

    theirs = convert_ldm_vae_checkpoint(
        {f"first_stage_model.{k}": v for k, v in single.items()}, TINY
    )
    ours = rename_single_file(single)

    assert ours.keys() == make_vae(TINY).state_dict().keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k].reshape(ours[k].shape)) for k in ours)


def single_file_state(state):
    """Names by an independent, slower road: every module spelled out for the tiny VAE."""
    names = {"conv_norm_out": "norm_out"}
    for level in range(4):
        for half, ours, mirror in (("encoder", "down", level), ("decoder", "up", 3 - level)):
            for block in range(2):
                old = f"{half}.{ours}_blocks.{level}.resnets.{block}."
                names[old] = f"{half}.{ours}.{mirror}.block.{block}."
            old = f"{half}.{ours}_blocks.{level}.{ours}samplers.0."
            names[old] = f"{half}.{ours}.{mirror}.{ours}sample."
    names |= {"mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2"}
    attention = {
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }
    names |= {f"mid_block.attentions.0.{k}": f"mid.attn_1.{v}" for k, v in attention.items()}
    names["conv_shortcut"] = "nin_shortcut"

    single = {}
    for key, tensor in state.items():
        if ".to_" in key and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        for old, new in names.items():
            key = key.replace(old, new)
        single[key] = tensor
    return single


def test_the_work_of_the_official_vae_is_what_the_documentation_says():
    work = vae_flops((512, 512))
    assert work["tflop_per_encoded_frame"] == pytest.approx(1.12, abs=0.005)
    assert work["tflop_per_decoded_frame"] == pytest.approx(2.51, abs=0.005)

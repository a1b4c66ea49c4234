"""The Whisper encoder around transformers: its states, its key names, and long clips."""

import pytest
import torch

from echomimic.audio.mel import log_mel
from echomimic.audio.whisper import (
    AudioEncoder,
    config_from_state,
    encode_speech,
    encoder_state,
    openai_to_transformers,
)
from echomimic.config import AudioEncoderConfig
from echomimic.errors import WeightsError

SMALL = AudioEncoderConfig(num_mels=16, width=16, num_heads=2, num_layers=2, max_states=100)
REAL_LENGTH = AudioEncoderConfig(num_mels=16, width=16, num_heads=2, num_layers=1)


def make_encoder(config):
    torch.manual_seed(0)
    encoder = AudioEncoder(config)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim > 1 and "positions" not in name:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return encoder


def noise(seconds):
    return torch.randn(int(seconds * 16_000), generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.fixture(scope="module")
def encoder():
    return make_encoder(SMALL)


def test_states_are_those_of_every_block_before_the_final_norm(encoder):
    mel = torch.randn(2, 16, 200)
    states = encoder(mel)
    assert states.shape == (2, 100, 3, 16)
    expected = encoder.encoder(mel, output_hidden_states=True)
    torch.testing.assert_close(states[:, :, 0], expected.hidden_states[0])
    torch.testing.assert_close(states[:, :, 1], expected.hidden_states[1])
    final = encoder.encoder.layer_norm(states[:, :, 2])
    torch.testing.assert_close(final, expected.last_hidden_state)
    assert not torch.allclose(states[:, :, 2], final, atol=0.1)


def test_no_hook_is_left_behind(encoder):
    encoder(torch.zeros(1, 16, 200))
    assert not any(module._forward_pre_hooks for module in encoder.modules())


def test_an_encoder_can_be_built_without_memory_and_in_half_precision():
    encoder = AudioEncoder(AudioEncoderConfig(), device="meta", dtype=torch.float16)
    assert encoder.device.type == "meta"
    assert {p.dtype for p in encoder.parameters()} == {torch.float16}


def test_low_precision_gives_nearly_the_same_states(encoder):
    half = AudioEncoder(SMALL, dtype=torch.bfloat16)
    half.load_state_dict(encoder.state_dict())
    speech = noise(1)
    states = encode_speech(half, speech)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, encode_speech(encoder, speech), atol=0.1, rtol=0.05)


def test_short_clips_are_one_window_followed_by_zeros(encoder):
    speech = noise(1.5)
    mel = torch.zeros(1, 16, 200)
    mel[:, :, :150] = log_mel(speech, num_mels=16)
    assert torch.equal(encode_speech(encoder, speech), encoder(mel)[0, :75])


def test_an_odd_mel_frame_is_kept_by_default_and_lost_by_the_official_rule(encoder):
    speech = noise(1.01)  # 101 mel frames
    kept, lost = (encode_speech(encoder, speech, hard_windows=hard) for hard in (False, True))
    assert (len(kept), len(lost)) == (51, 50)
    assert torch.equal(kept[:50], lost)


@pytest.mark.parametrize("num_samples", [1, 319, 320])
def test_the_shortest_sounds_have_one_state(encoder, num_samples):
    speech = noise(1)[:num_samples]
    for hard in (False, True):
        states = encode_speech(encoder, speech, hard_windows=hard)
        assert states.shape == (1, 3, 16)
        assert states.isfinite().all()


def test_official_windows_know_nothing_of_each_other(encoder):
    speech = noise(5)
    mel = log_mel(speech, num_mels=16)
    parts = [encoder(mel[None, :, i : i + 200])[0] for i in (0, 200)]
    states = encode_speech(encoder, speech, hard_windows=True)
    torch.testing.assert_close(states[:200], torch.cat(parts))
    assert len(states) == 250


@pytest.mark.parametrize("seconds", [2.01, 2.3, 3.34, 4.0, 7.77])
def test_both_ends_of_a_long_clip_are_those_of_full_windows(encoder, seconds):
    speech = noise(seconds)
    mel = log_mel(speech, num_mels=16)
    states = encode_speech(encoder, speech)
    num_states = -(-mel.shape[1] // 2)
    assert states.shape == (num_states, 3, 16)
    mel = torch.nn.functional.pad(mel, (0, mel.shape[1] % 2))
    torch.testing.assert_close(states[:40], encoder(mel[None, :, :200])[0, :40])
    torch.testing.assert_close(states[-40:], encoder(mel[None, :, -200:])[0, -40:])


def jumps(states):
    """Distance of each state to the next, over all layers: (n - 1,)."""
    return states.diff(dim=0).flatten(1).norm(dim=1)


def test_long_clips_have_no_seam():
    """A sound that repeats itself every state: any jump is made by the windows."""
    encoder = make_encoder(REAL_LENGTH)
    time = torch.arange(70 * 16_000) / 16_000
    speech = sum(0.2 * torch.sin(2 * torch.pi * f * time) for f in (100, 250, 1500))
    smooth, cut = (jumps(encode_speech(encoder, speech, hard_windows=h)) for h in (False, True))

    calm = smooth[50:700].max()  # well inside the first window
    assert smooth[50:-50].max() < 1.05 * calm
    assert cut[1499] > 2 * calm
    assert cut[2999] > 2 * calm


def test_progress_counts_windows_and_can_cancel(encoder):
    seen = []
    encode_speech(encoder, noise(5), on_progress=lambda *progress: seen.append(progress))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert len(seen) > 2

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_speech(encoder, noise(5), on_progress=cancel)


def openai_names(state):
    """What OpenAI calls these keys (the inverse of our map, written out)."""
    names = {
        "embed_positions.weight": "positional_embedding",
        "encoder.layer_norm": "encoder.ln_post",
        "layers": "blocks",
        "self_attn_layer_norm": "attn_ln",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.out",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
        "final_layer_norm": "mlp_ln",
    }
    renamed = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        renamed[key] = value
    return renamed


DECODER = {"decoder.ln.weight": torch.ones(16), "decoder.token_embedding.weight": torch.ones(4, 16)}


@pytest.mark.parametrize("layout", ["openai", "checkpoint", "transformers", "bare", "ours"])
def test_every_layout_of_the_weights_is_understood(encoder, layout):
    ours = encoder.state_dict()
    openai = openai_names(ours) | DECODER
    transformers = {f"model.{key}": value for key, value in (ours | DECODER).items()}
    state = {
        "openai": openai,
        "checkpoint": {"dims": {}, "model_state_dict": openai},
        "transformers": transformers | {"proj_out.weight": torch.ones(4, 16)},
        "bare": ours | DECODER,
        "ours": ours,
    }[layout]
    found = encoder_state(state)
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[key], ours[key]) for key in ours)
    if layout in ("openai", "checkpoint"):
        assert openai_to_transformers(state).keys() == ours.keys()


def test_the_shape_is_read_from_dims():
    dims = {
        "n_mels": 16,
        "n_audio_ctx": 100,
        "n_audio_state": 16,
        "n_audio_head": 2,
        "n_audio_layer": 2,
        "n_vocab": 3,
    }
    assert config_from_state({"dims": dims, "model_state_dict": {}}) == SMALL


@pytest.mark.parametrize("renamed", [dict, openai_names])
def test_the_shape_of_a_published_encoder_is_read_from_its_tensors(renamed):
    state = AudioEncoder(AudioEncoderConfig(), device="meta").state_dict()
    assert config_from_state(renamed(state)) == AudioEncoderConfig()


def test_an_unknown_width_asks_for_its_configuration(encoder):
    with pytest.raises(WeightsError, match=r"put its config\.json beside them"):
        config_from_state(encoder.state_dict())


def test_weights_of_something_else_are_no_audio_encoder():
    with pytest.raises(WeightsError, match=r"whisper_tiny\.pt"):
        config_from_state({"conv_in.weight": torch.zeros(1)})

"""Audio against stored tensors of the official code (goldens e, h_audio_chunks, manifest)."""

import re

import pytest
import torch
from support import (
    golden_config,
    golden_json,
    golden_tensors,
    inputs_dir,
    recipe_tensor,
)

from echomimic.audio.mel import log_mel
from echomimic.audio.tokens import AudioTrack, official_num_frames, token_index
from echomimic.audio.whisper import (
    AudioEncoder,
    config_from_state,
    encode_speech,
    openai_to_transformers,
)
from echomimic.media.audio import read_speech

MEL, FEATURES = 1e-4, 2e-4

KINDS = ("weight", "bias")
WAVES = "tiny/e_audio.safetensors"


@pytest.fixture(scope="module")
def golden():
    return golden_tensors(WAVES)[0]


def stored_names(pattern: str, name: str = WAVES) -> list[tuple[str, ...]]:
    """What the groups of `pattern` match in the stored tensors' names."""
    try:
        names = golden_tensors(name)[0]
    except pytest.skip.Exception:
        return []
    return [match.groups() for match in map(re.compile(pattern).fullmatch, names) if match]


def openai_shapes(dims: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes of OpenAI's encoder (spec 5.4)."""
    width = dims["n_audio_state"]
    shapes = {
        "positional_embedding": (dims["n_audio_ctx"], width),
        "conv1.weight": (width, dims["n_mels"], 3),
        "conv1.bias": (width,),
        "conv2.weight": (width, width, 3),
        "conv2.bias": (width,),
        "ln_post.weight": (width,),
        "ln_post.bias": (width,),
    }
    block = {f"attn.{part}.weight": (width, width) for part in ("query", "key", "value", "out")}
    block |= {f"attn.{part}.bias": (width,) for part in ("query", "value", "out")}
    block |= {f"{norm}.{kind}": (width,) for norm in ("attn_ln", "mlp_ln") for kind in KINDS}
    block |= {"mlp.0.weight": (4 * width, width), "mlp.0.bias": (4 * width,)}
    block |= {"mlp.2.weight": (width, 4 * width), "mlp.2.bias": (width,)}
    for i in range(dims["n_audio_layer"]):
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return {f"encoder.{name}": shape for name, shape in shapes.items()}


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Whisper's position table: sines, then cosines, of wavelengths up to 2 pi * 10,000."""
    rate = 10_000 ** -(torch.arange(width // 2).double() / (width // 2 - 1))
    angle = torch.arange(length).double()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def official_encoder(component: str) -> AudioEncoder:
    """An encoder with the recipe's weights, loaded as OpenAI's checkpoint is."""
    config = golden_config()
    dims = config[component]
    state = {
        name: recipe_tensor(config["tag"], component, name, shape)
        for name, shape in openai_shapes(dims).items()
    }
    state["encoder.positional_embedding"] = sinusoids(dims["n_audio_ctx"], dims["n_audio_state"])
    encoder = AudioEncoder(config_from_state({"dims": dims}), device="meta")
    encoder.load_state_dict(openai_to_transformers(state), assign=True)
    return encoder


@pytest.fixture(scope="module")
def encoder():
    return official_encoder("whisper")


@pytest.fixture(scope="module")
def small_encoder():
    return official_encoder("whisper_small")


def test_every_official_key_has_its_place():
    manifest = golden_json("manifests/whisper_tiny.json")["state_dict"]
    official = {name: torch.empty(shape, device="meta") for name, (shape, _) in manifest.items()}
    ours = AudioEncoder(config_from_state(official), device="meta").state_dict()
    renamed = openai_to_transformers(official)
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}
    left_over = len(official) - len(renamed)
    assert left_over == sum(name.startswith("decoder.") for name in official)


def wave(golden, name: str) -> torch.Tensor:
    return golden[f"{name}.wave_i16"].float() / 32768


@pytest.mark.parametrize(("name",), stored_names(r"(\w+)\.mel"))
def test_mel(golden, name):
    torch.testing.assert_close(log_mel(wave(golden, name)), golden[f"{name}.mel"], atol=MEL, rtol=0)


@pytest.mark.parametrize(("name",), stored_names(r"(\w+)\.features"))
def test_features(golden, encoder, name):
    states = encode_speech(encoder, wave(golden, name), hard_windows=True)
    torch.testing.assert_close(states, golden[f"{name}.features"], atol=FEATURES, rtol=0)


@pytest.mark.parametrize(("name", "fps"), stored_names(r"(\w+)\.chunk_idx_fps([\d.]+)"))
def test_rows_of_each_frame(golden, name, fps):
    num_states = golden[f"{name}.mel"].shape[1] // 2
    assert_indices(golden[f"{name}.chunk_idx_fps{fps}"], num_states, fps)


@pytest.mark.parametrize(("rows", "fps"), stored_names(r"idx\.L(\d+)_fps([\d.]+)"))
def test_rows_of_each_frame_for_any_length(golden, rows, fps):
    assert_indices(golden[f"idx.L{rows}_fps{fps}"], int(rows), fps)


def assert_indices(stored, num_states, fps):
    count = official_num_frames(num_states, float(fps))
    index = token_index(torch.arange(count), num_states, float(fps))
    assert torch.equal(index, stored.long())


@pytest.mark.parametrize(("name", "fps"), stored_names(r"(\w+)\.chunks_fps([\d.]+)_sel"))
def test_tokens_of_the_first_middle_and_last_frame(golden, encoder, name, fps):
    states = encode_speech(encoder, wave(golden, name), hard_windows=True)
    count = official_num_frames(len(states), float(fps))
    tokens = AudioTrack(states, float(fps), count).tokens([0, count // 2, count - 1])
    stored = golden[f"{name}.chunks_fps{fps}_sel"]
    torch.testing.assert_close(tokens, stored, atol=FEATURES, rtol=0)


@pytest.mark.parametrize(("name",), stored_names(r"(small)\.embeddings"))
def test_states_of_the_small_encoder_and_its_final_norm(golden, small_encoder, name):
    mel = log_mel(wave(golden, "synth"))
    size = 2 * small_encoder.config.max_states
    states = small_encoder(torch.nn.functional.pad(mel, (0, size - mel.shape[1]))[None])
    states = states[:, golden[f"{name}.rows"].long()]  # (1, rows, layer, d)
    stored = golden[f"{name}.embeddings"].movedim(1, 2)
    torch.testing.assert_close(states, stored, atol=FEATURES, rtol=0)
    normed = small_encoder.encoder.layer_norm(states[:, :, -1])
    torch.testing.assert_close(normed, golden[f"{name}.ln_post"], atol=FEATURES, rtol=0)


@pytest.mark.parametrize(("name",), stored_names(r"(\w+)\.features_tail"))
def test_official_windows_of_a_long_clip(golden, small_encoder, name):
    states = encode_speech(small_encoder, wave(golden, name), hard_windows=True)
    assert list(states.shape) == golden[f"{name}.shape"].tolist()
    tail = golden[f"{name}.features_tail"]
    torch.testing.assert_close(states[-len(tail) :], tail, atol=FEATURES, rtol=0)
    for first, last in stored_names(rf"{name}\.features_(\d+)_(\d+)"):
        stored = golden[f"{name}.features_{first}_{last}"]
        found = states[int(first) : int(last)]
        torch.testing.assert_close(found, stored, atol=FEATURES, rtol=0)


def real_sound(name: str):
    """The real input that a golden's name speaks of, whatever kind of file it is."""
    folder = inputs_dir()
    found = sorted((folder / "test_audios").glob(f"{name}.*")) if folder else []
    return found[0] if found else pytest.skip(f"{name} is not at hand (set ECHOMIMIC_INPUTS)")


CHUNKS = "tiny/h_audio_chunks.safetensors"


@pytest.mark.parametrize(("name",), stored_names(r"features\.(.+)", CHUNKS))
def test_what_the_pipelines_heard(encoder, name):
    stored, _ = golden_tensors(CHUNKS)
    speech = read_speech(real_sound(name), int16=True)
    states = encode_speech(encoder, speech, hard_windows=True)
    features = stored[f"features.{name}"]
    torch.testing.assert_close(states[: len(features)], features, atol=FEATURES, rtol=0)
    pattern = rf"idx\.{re.escape(name)}\.fps([\d.]+?)\.first(\d+)"
    for fps, count in stored_names(pattern, CHUNKS):
        index = stored[f"idx.{name}.fps{fps}.first{count}"].long()
        assert torch.equal(token_index(torch.arange(len(index)), len(states), float(fps)), index)
        tokens = AudioTrack(states, float(fps), len(index)).tokens(range(len(index)))
        torch.testing.assert_close(tokens, features[index].flatten(1, 2), atol=FEATURES, rtol=0)

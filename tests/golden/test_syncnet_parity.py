"""SyncNet, what it hears, and its scores against the original's code with equal weights."""

import numpy as np
import pytest
import torch
from support import eval_json, eval_tensors, recipe_tensor

from echomimic.evaluation.mfcc import mel_filterbank, mfcc
from echomimic.evaluation.sync import frame_confidence, smoothed, sync_distances, sync_score
from echomimic.evaluation.syncnet import SyncNet, embed, num_windows

TOLERANCE = 2e-3  # of scores


@pytest.fixture(scope="module")
def model():
    stored, network = eval_json("syncnet.json"), SyncNet()
    state = network.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(recipe_tensor(stored["tag"], stored["component"], name, tensor.shape))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embedded(model):
    """Lips and sounds of the whole clip; those of shorter ones are their beginnings."""
    tensors = eval_tensors("syncnet.safetensors", "frames_small_u8", "wave_i16")
    faces = tensors["frames_small_u8"].numpy()[..., ::-1].repeat(8, axis=1).repeat(8, axis=2)
    return embed(model, np.ascontiguousarray(faces), tensors["wave_i16"].numpy())


def stored(*names):
    tensors = eval_tensors("syncnet.safetensors", *names)
    return [tensors[name] for name in names]


def close(ours, expected, tolerance):
    torch.testing.assert_close(torch.as_tensor(ours), expected, atol=tolerance, rtol=0)


def test_what_is_heard():
    wave, expected = stored("wave_i16", "mfcc")
    close(mfcc(wave.numpy()), expected, 1e-6)
    close(mfcc(np.zeros(1600, np.int16)), stored("mfcc_silence")[0], 1e-6)
    close(mfcc(wave.numpy()[4000:4300]), stored("mfcc_short300")[0], 1e-6)


def test_filters_of_the_spectrum():
    close(mel_filterbank().astype(np.float32), stored("mel_filterbank")[0], 1e-7)


def test_how_many_columns_are_heard():
    for samples, columns in eval_json("syncnet.json")["results"]["mfcc_frames"].items():
        assert len(mfcc(np.zeros(int(samples), np.int16))) == columns


def test_network_has_the_original_names_and_sizes():
    with torch.device("meta"):
        state = SyncNet().state_dict()
    assert len(state) == 102
    parameters = sum(
        t.numel() for n, t in state.items() if "running" not in n and "num_batches" not in n
    )
    assert parameters == 13_631_616
    weights = eval_json("syncnet.json").get("weights") or pytest.skip("no list of the weights")
    assert {n: list(t.shape) for n, t in state.items() if n in weights} == {
        n: entry["shape"] for n, entry in weights.items()
    }


def test_embeddings_of_lips(embedded):
    close(embedded[0].norm(dim=1), stored("lip_emb_norm")[0], 1e-2)
    chosen, expected = stored("sel", "lip_emb")
    close(embedded[0][chosen], expected, 1e-2)


def test_embeddings_of_sounds(embedded):
    close(embedded[1], stored("aud_emb_all")[0], 2e-3)


def test_distances_of_all_shifts(embedded):
    distances = sync_distances(*embedded)
    close(distances, stored("dists")[0], 5e-3)
    close(distances.mean(dim=0), stored("mdist")[0], 2e-3)
    close(frame_confidence(distances), stored("frame_conf")[0], 1e-2)
    close(smoothed(frame_confidence(distances)), stored("frame_conf_medfilt9")[0], 1e-2)


@pytest.mark.parametrize(
    ("name", "shift"),
    [("full", 15), ("short_video", 15), ("short_audio", 15), ("vshift5_30frames", 5)],
)
def test_scores_of_clips(embedded, name, shift):
    expected = eval_json("syncnet.json")["results"][name]
    frames, samples = expected.get("frames", 50), expected.get("samples", 32_000)
    count = num_windows(frames, samples)
    lips, sounds = (part[:count] for part in embedded)
    agrees(sync_score(sync_distances(lips, sounds, shift)), expected)
    assert count == expected["windows"]


@pytest.mark.parametrize("name", ["toy0", "toy1", "toy2"])
def test_planted_lags_have_the_sign_of_the_original(name):
    lips, sounds, means = stored(f"{name}.lip", f"{name}.aud", f"{name}.mdist")
    distances = sync_distances(lips, sounds)
    close(distances.mean(dim=0), means, 1e-5)
    agrees(sync_score(distances), eval_json("syncnet.json")["results"][name])


def agrees(score, expected):
    assert score.offset == expected["offset"]
    assert score.confidence == pytest.approx(expected["sync_c"], abs=TOLERANCE)
    assert score.distance == pytest.approx(expected["sync_d"], abs=TOLERANCE)

"""The built-in model and its puppets as nodes: a first run that needs no file."""

import json

import pytest
import torch
from comfy_server import api_graph, ids, look_at
from support import ROOT

MINI = "mini (built in)"
WORKFLOWS = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
CHOICES = {
    "seed": 7, "steps": 1, "cfg": 1.0, "scheduler": "ddim", "windows": "open",
    "context_frames": 12, "context_overlap": 3, "overlap_weights": "flat", "window_batch": 0,
    "parity": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def mini(pack):
    """Outputs of the loaders, and the example inputs."""
    networks = pack["EchoMimicModelLoader"].execute(model=MINI, dtype="fp32").args
    (encoder,) = pack["EchoMimicAudioEncoderLoader"].execute(MINI).args
    return networks, encoder, pack["EchoMimicExampleInputs"].execute().args


def test_it_is_the_first_choice(pack):
    for node, name in (("EchoMimicModelLoader", "model"),
                       ("EchoMimicAudioEncoderLoader", "audio_encoder")):  # fmt: skip
        inputs = {item.id: item for item in pack[node].GET_SCHEMA().inputs}
        assert inputs[name].options[0] == MINI


@torch.inference_mode()
@pytest.mark.parametrize("driven_by", ["voice", "landmarks", "both"])
def test_it_is_driven_by_voice_by_landmarks_and_by_both(pack, mini, driven_by):
    networks, encoder, (image, box, audio, landmarks, _, fps, length) = mini
    portrait = pack["EchoMimicPortrait"].execute(
        image, 128, 128, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=box
    )[0]
    torch.testing.assert_close(portrait.image.movedim(0, -1) / 2 + 0.5, image[0], atol=1e-2, rtol=0)
    track = pack["EchoMimicAudioEncode"].execute(encoder, audio, fps, 0, parity=False)[0]
    assert abs(track.num_frames - length) <= 1
    given = {"voice": (track, None), "landmarks": (None, landmarks), "both": (track, landmarks)}
    voice, moved = given[driven_by]
    latent = pack["EchoMimicSampler"].execute(
        *networks, portrait, voice, landmarks=moved, **CHOICES
    )[0]
    assert latent["samples"].shape[1:] == (4, 16, 16)
    pictures = networks[3].decode(latent["samples"][:2])
    assert pictures.shape == (2, 128, 128, 3)
    truth = image[0]
    assert (pictures[0] - truth).abs().mean() < 0.12  # this person, not noise


def test_a_puppet_is_its_seed_and_says_what_it_is_given(pack):
    puppet = pack["EchoMimicPuppet"]
    first = puppet.execute(seed=3, motion="lively", length=10, size=64).args
    again = puppet.execute(seed=3, motion="lively", length=10, size=64).args
    other = puppet.execute(seed=4, motion="lively", length=10, size=64).args
    assert torch.equal(first[4], again[4])
    assert not torch.equal(first[0], other[0])
    assert first[4].shape == (10, 64, 64, 3)
    assert first[3].num_frames == first[6] == 10
    sound = {"waveform": torch.zeros(1, 1, 16_000), "sample_rate": 16_000}
    silent = puppet.execute(seed=3, motion="still", length=10, size=64, audio=sound).args
    assert (silent[4] - silent[4][:1]).abs().max() == 0


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_runs_as_it_is_shipped(server, name):
    workflow = json.loads((ROOT / f"workflows/{name}.json").read_text())
    graph = api_graph(workflow, server.get("/object_info"))
    (sampler,) = ids(graph, "EchoMimicSampler", "EchoMimicLongRender", "KSampler")
    graph[sampler]["inputs"]["steps"] = 1
    run = server.run(graph)
    assert run.error() is None
    (last,) = ids(graph, "EchoMimicDecodeVideo", "EchoMimicPasteBack", "EchoMimicLongRender")
    video = look_at(server.file(run, last))
    assert (video["size"], video["rate"]) == ((128, 128), 25)
    assert abs(video["frames"] - 88) <= 1 and video["codecs"] == ("h264", "aac")

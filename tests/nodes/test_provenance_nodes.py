"""Videos of the nodes tell their model, seed and graph, also after Save Video has copied them."""

import copy
import json

import numpy as np
import pytest
import torch
from comfy_server import (
    MINI,
    MINI_LOADER,
    STOCK_SEED,
    both_samplers_graph,
    complete_node,
    ids,
    of_type,
    own_files_graph,
)
from conftest import WHISPER
from support import ROOT
from test_nodes_in_process import module

from echomimic.media.provenance import read_provenance

WORKFLOW = {"nodes": [], "version": 0.4}


@pytest.fixture(scope="module")
def graph(server):
    """workflows/audio.json, made quick, with Save Video behind the decoder."""
    file = json.loads((ROOT / "workflows/audio.json").read_text())
    graph = own_files_graph(file, server.get("/object_info"))
    of_type(graph, "LoadImage")["image"] = "portrait.png"
    of_type(graph, "LoadAudio")["audio"] = "voice.wav"
    of_type(graph, "EchoMimicModelLoader")["model"] = "denoising_unet_acc.pth"
    of_type(graph, "EchoMimicAudioEncoderLoader")["audio_encoder"] = WHISPER
    of_type(graph, "EchoMimicAudioEncode").update(fps=10, length=4)
    of_type(graph, "EchoMimicPortrait").update(width=64, height=64, mask=["mask", 0])
    of_type(graph, "EchoMimicSampler").update(steps=1, seed=77)
    graph["mask"] = {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": 96, "height": 128},
    }
    (decoder,) = ids(graph, "EchoMimicDecodeVideo")
    graph["save"] = {
        "class_type": "SaveVideo",
        "inputs": {"video": [decoder, 0], "filename_prefix": "kept", "format": "auto"}
        | {"codec": "auto"},
    }
    return graph


def test_the_mark_and_the_graph_survive_our_node_and_save_video(server, graph):
    run = server.run(graph, extra={"extra_pnginfo": {"workflow": WORKFLOW}})

    assert run.error() is None
    (decoder,) = ids(graph, "EchoMimicDecodeVideo")
    for node in (decoder, "save"):
        said = read_provenance(server.file(run, node))
        assert (said["synthetic"], said["variant"], said["seed"]) == (True, "audio_acc", 77)
        assert said["model"] == "denoising_unet_acc.pth"
        assert "nodes" not in said  # all of it is in the settings
        assert said["settings"]["num_inference_steps"] == 1
        assert said["workflow"] == WORKFLOW
        kinds = {node["class_type"] for node in said["prompt"].values()}
        assert {"EchoMimicSampler", "SaveVideo"} <= kinds


def test_the_latent_remembers_through_stock_nodes(server, graph):
    changed = copy.deepcopy(graph)
    (sampler,) = ids(changed, "EchoMimicSampler")
    changed["flip"] = {
        "class_type": "LatentFlip",
        "inputs": {"samples": [sampler, 0], "flip_method": "y-axis: horizontally"},
    }
    of_type(changed, "EchoMimicDecodeVideo")["latent"] = ["flip", 0]

    run = server.run(changed)

    assert read_provenance(server.file(run, "save"))["seed"] == 77


def test_stock_samplers_are_told_with_variant_model_and_seed(server):
    """Through the latent the variant and the model, from the graph what its nodes were set to."""
    graph = both_samplers_graph(server.get("/object_info"), length=2, steps=1)
    graph["decode"] = mini_node(server, "VAEDecode", samples=["stock", 0], vae=[MINI_LOADER, 3])
    file = {"fps": 25.0, "vae": [MINI_LOADER, 3]}
    graph["video"] = mini_node(server, "EchoMimicDecodeVideo", latent=["stock", 0], **file)
    pasted = {"face": ["decode", 0], "original": ["3", 0], "crop": ["5", 0], "fps": 25.0}
    graph["pasted"] = mini_node(server, "EchoMimicPasteBack", **pasted)

    run = server.run(graph)

    assert run.error() is None
    for node in ("video", "pasted"):
        said = read_provenance(server.file(run, node))
        assert (said["model"], said["seed"]) == (MINI, STOCK_SEED)
        assert said["nodes"]["KSampler"].items() >= {"steps": 1, "sampler_name": "euler"}.items()
        assert said["nodes"]["EchoMimicContextWindows"]["context_frames"] == 12
        assert said.get("variant") == ("joint" if node == "video" else None)  # an IMAGE has none


def mini_node(server, kind, **inputs) -> dict:
    return complete_node(server.get("/object_info"), kind, **inputs)


@torch.inference_mode()
def test_a_lora_above_our_sampler_is_told(pack):
    provenance = module("nodes.provenance").provenance
    prompt = {
        "1": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "a.safetensors"}},
        "2": {"class_type": "EchoMimicSampler", "inputs": {"model": ["1", 0], "seed": 4}},
        "3": {"class_type": "EchoMimicDecodeVideo", "inputs": {"latent": ["2", 0]}},
    }
    hidden = type("Hidden", (), {"prompt": prompt, "extra_pnginfo": None, "unique_id": "3"})
    mark = {"variant": "audio", "seed": 3, "settings": {"num_inference_steps": 6}}

    said = provenance(hidden, latent={"echomimic": mark}).made_by

    assert said == mark | {"nodes": {"LoraLoaderModelOnly": {"lora_name": "a.safetensors"}}}


@torch.inference_mode()
def test_a_video_passes_its_mark_on(pack, tmp_path):
    from comfy_api.latest import InputImpl

    from echomimic.media.provenance import Provenance
    from echomimic.media.video import write_video

    provenance = module("nodes.provenance").provenance
    path = tmp_path / "a.mp4"
    black, size = np.zeros((2, 16, 16, 3), np.uint8), {"fps": 10, "num_frames": 2, "size": (16, 16)}
    write_video(path, black, **size, provenance=Provenance({"seed": 5}, {"prompt": "{}"}))
    other = InputImpl.VideoFromFile(str(ROOT / "none.mp4"))

    said = provenance(None, audio=other, face=InputImpl.VideoFromFile(str(path)))

    assert said.made_by["seed"] == 5
    assert said.tags == {}
    assert provenance(None, face=other).made_by == {}


@torch.inference_mode()
def test_without_metadata_the_graph_is_left_out_but_not_the_mark(pack, monkeypatch):
    provenance = module("nodes.provenance")
    monkeypatch.setattr(provenance.args, "disable_metadata", True)
    hidden = type("Hidden", (), {"prompt": {"1": {}}, "extra_pnginfo": {"workflow": {}}})

    tags = provenance.provenance(hidden, latent={"echomimic": {"seed": 3}}).container_tags()

    assert json.loads(tags["echomimic"])["seed"] == 3
    assert not {"prompt", "workflow"} & tags.keys()

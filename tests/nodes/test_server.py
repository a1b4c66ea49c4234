"""The workflow on a real server: queued, cancelled, cached, and its video looked at."""

import copy
import json

import numpy as np
import pytest
from comfy_server import ids, look_at, of_type, own_files_graph
from conftest import FPS, FRAMES, SIZE, WHISPER
from PIL import Image
from support import ROOT, inputs_dir


@pytest.fixture(scope="module")
def workflow(server):
    """workflows/audio.json for the small files of this test, in API format."""
    file = json.loads((ROOT / "workflows/audio.json").read_text())
    graph = own_files_graph(file, server.get("/object_info"))
    of_type(graph, "LoadImage")["image"] = "portrait.png"
    of_type(graph, "LoadAudio")["audio"] = "voice.wav"
    of_type(graph, "EchoMimicModelLoader")["model"] = "denoising_unet_acc.pth"
    of_type(graph, "EchoMimicAudioEncoderLoader")["audio_encoder"] = WHISPER
    of_type(graph, "EchoMimicAudioEncode")["fps"] = FPS
    of_type(graph, "EchoMimicPortrait").update(width=SIZE, height=SIZE)
    of_type(graph, "EchoMimicSampler").update(steps=2, cfg=2.5)
    # A mask stands in for the face detector, whose model file is not part of the repository.
    graph["mask"] = {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": 96, "height": 128},
    }
    of_type(graph, "EchoMimicPortrait")["mask"] = ["mask", 0]
    return graph


def test_the_pack_loads_without_complaint(server):
    complaints = ("IMPORT FAILED", "Error while calling comfy_entrypoint", "Cannot import")
    lines = server.log.read_text().splitlines()  # of other nodes too, which may lack libraries
    ours = [line for line in lines if "echomimic-nodes" in line]
    assert ours
    assert not [line for line in ours if any(words in line for words in complaints)]
    assert "EchoMimicSampler" in server.get("/object_info")


def test_the_workflow_makes_a_video_with_sound_and_previews(server, workflow):
    run = server.run(workflow)

    assert run.error() is None
    (decoder,) = ids(workflow, "EchoMimicDecodeVideo")
    video = look_at(server.file(run, decoder))
    assert video["codecs"] == ("h264", "aac")
    assert video["pixels"] == "yuv420p"
    assert video["size"] == (SIZE, SIZE)
    assert video["rate"] == FPS
    assert video["frames"] == FRAMES
    assert video["sound"] == pytest.approx(FRAMES / FPS, abs=0.05)  # AAC comes in packets
    assert run.previews >= of_type(workflow, "EchoMimicSampler")["steps"]


def test_a_second_run_is_served_from_the_cache(server, workflow):
    server.run(workflow)

    again = server.run(workflow)

    assert "execution_success" in again.names()
    assert again.executed() == set()


def test_another_seed_runs_the_sampler_and_no_encoder(server, workflow):
    server.run(workflow)
    changed = copy.deepcopy(workflow)
    of_type(changed, "EchoMimicSampler")["seed"] = 421

    run = server.run(changed)

    assert run.executed() == ids(workflow, "EchoMimicSampler", "EchoMimicDecodeVideo")


def test_cancelling_while_sampling_stops_and_leaves_no_file(server, workflow):
    (sampler,) = ids(workflow, "EchoMimicSampler")
    long = copy.deepcopy(workflow)
    of_type(long, "EchoMimicSampler").update(steps=100, seed=1)
    before = sorted((server.base / "output").rglob("*"))

    run = server.run(long, cancel_at=sampler)

    assert run.names()[-1] == "execution_interrupted"
    assert sorted((server.base / "output").rglob("*")) == before
    assert server.run(workflow).error() is None  # the server is well


def test_the_latent_goes_through_the_stock_nodes(server, workflow):
    (sampler,) = ids(workflow, "EchoMimicSampler")
    (loader,) = ids(workflow, "EchoMimicModelLoader")
    (voice,) = ids(workflow, "EchoMimicAudioEncode")
    graph = copy.deepcopy(workflow)
    for name in ids(graph, "EchoMimicDecodeVideo"):
        del graph[name]
    graph["decode"] = _node("VAEDecode", samples=[sampler, 0], vae=[loader, 3])
    graph["video"] = _node("CreateVideo", images=["decode", 0], fps=[voice, 3], audio=[voice, 1])
    graph["save"] = _node(
        "SaveVideo", video=["video", 0], filename_prefix="stock", format="mp4", codec="h264"
    )

    run = server.run(_completed(graph, server.get("/object_info")))

    assert run.error() is None
    video = look_at(server.file(run, "save"))
    assert video["size"] == (SIZE, SIZE)
    assert video["frames"] == FRAMES


def test_a_preview_can_be_made_without_keeping_it(server, workflow):
    graph = copy.deepcopy(workflow)
    of_type(graph, "EchoMimicDecodeVideo")["save_output"] = False
    (decoder,) = ids(graph, "EchoMimicDecodeVideo")

    path = server.file(server.run(graph), decoder)

    assert path.is_relative_to(server.base / "temp")
    assert look_at(path)["frames"] == FRAMES


@pytest.mark.parametrize(
    ("node", "change", "sentence"),
    [
        ("EchoMimicSampler", {"context_overlap": 12}, "must be smaller than context_frames"),
        ("EchoMimicSampler", {"cfg": 0.5}, "cfg must be 1 (no guidance) or more, not 0.5."),
        ("EchoMimicModelLoader", {"model": "denoising_unet_pose.pth"}, "put it there"),
        ("EchoMimicModelLoader", {"model": "../../etc/passwd"}, "put it there"),
        ("EchoMimicAudioEncoderLoader", {"audio_encoder": "none.pt"}, "put it there"),
    ],
)
def test_mistakes_are_explained_in_the_words_of_the_library(
    server, workflow, node, change, sentence
):
    graph = copy.deepcopy(workflow)
    of_type(graph, node).update(change)

    assert sentence in server.run(graph).error()


def test_the_face_is_found_by_mediapipe(server, workflow):
    pytest.importorskip("mediapipe")
    inputs = inputs_dir()
    pictures = sorted((inputs / "test_imgs").glob("*.png")) if inputs else []
    landmarkers = sorted((inputs / "models").glob("face_landmarker*.task")) if inputs else []
    if not pictures or not landmarkers:
        pytest.skip("no real portrait and face landmarker at hand (set ECHOMIMIC_INPUTS)")
    (server.base / "models/detection").mkdir(exist_ok=True)
    link = server.base / "models/detection" / landmarkers[0].name
    if not link.exists():
        link.symlink_to(landmarkers[0])
    (server.base / "input/real.png").write_bytes(pictures[0].read_bytes())
    graph = {
        "image": _node("LoadImage", image="real.png"),
        "portrait": _node("EchoMimicPortrait", image=["image", 0]),
        "mask": _node("MaskToImage", mask=["portrait", 2]),
        "save": _node("SaveImage", images=["mask", 0], filename_prefix="mask"),
    }

    run = server.run(_completed(graph, server.get("/object_info")))

    assert run.error() is None
    mask = np.asarray(Image.open(server.file(run, "save")).convert("L")) > 127
    assert 0.05 < mask.mean() < 0.6  # a face in the crop, neither nothing nor everything


def _node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def _completed(graph: dict, node_info: dict) -> dict:
    """Defaults for required inputs, which core nodes gain over time."""
    for node in graph.values():
        required = node_info[node["class_type"]]["input"].get("required", {})
        for name, (_, *options) in required.items():
            if name not in node["inputs"] and options and "default" in options[0]:
                node["inputs"][name] = options[0]["default"]
    return graph

"""Every video says that it was generated, with what, and `echomimic info` reads it."""

import json
import shutil

import av
import numpy as np
import pytest

from echomimic import cli
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.config import SamplingOptions, variant
from echomimic.errors import MediaError
from echomimic.media.provenance import Provenance, made_by, read_provenance
from echomimic.media.video import write_video

GRAPH = {
    "3": {"class_type": "EchoMimicSampler", "inputs": {"seed": 7, "steps": 6, "model": ["1", 0]}},
    "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0]}},
}


def write(path, **options):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    write_video(path, frames, fps=10, num_frames=3, size=(16, 16), **options)
    return path


def rewritten(source, path, metadata):
    """The same picture in a file of another program, which keeps the tags it is given."""
    flags = {"movflags": "use_metadata_tags"}
    with av.open(str(source)) as old, av.open(str(path), "w", container_options=flags) as new:
        new.metadata.update(metadata)
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_video_says_how_it_was_made(tmp_path, suffix):
    options = SamplingOptions(seed=7, guidance_scale=1.5)
    mark = made_by(variant("audio_acc"), options, model="denoising_unet_acc.pth")
    graph = {"prompt": json.dumps(GRAPH), "workflow": '{"nodes": []}'}

    said = read_provenance(write(tmp_path / f"a{suffix}", provenance=Provenance(mark, graph)))

    assert said["synthetic"] is True
    assert (said["variant"], said["seed"]) == ("audio_acc", 7)
    assert said["model"] == "denoising_unet_acc.pth"
    assert said["settings"]["guidance_scale"] == 1.5
    assert said["prompt"] == GRAPH
    assert said["workflow"] == {"nodes": []}


def test_a_video_without_known_settings_still_says_that_it_was_generated(tmp_path):
    assert read_provenance(write(tmp_path / "a.mp4"))["synthetic"] is True


def test_equal_runs_give_equal_files(tmp_path):
    first, second = (write(tmp_path / name) for name in ("a.mp4", "b.mp4"))

    assert first.read_bytes() == second.read_bytes()


def test_the_comment_alone_is_enough(tmp_path):
    """Programs that copy a video keep the comment more often than tags of others."""
    source = write(tmp_path / "a.mp4")
    with av.open(str(source)) as container:
        comment = container.metadata["comment"]

    copy = rewritten(source, tmp_path / "b.mp4", {"comment": comment})

    assert read_provenance(copy)["generator"] == "EchoMimic"


def test_the_stock_nodes_prompt_is_enough(tmp_path):
    source = write(tmp_path / "a.mp4")

    stock = rewritten(source, tmp_path / "b.mp4", {"prompt": json.dumps(GRAPH)})

    assert read_provenance(stock)["prompt"] == GRAPH


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"comment": "holidays"},
        {"echomimic": "no json", "prompt": '{"1": {"class_type": "A"}}'},
        {"echomimic": "[" * 100_000},
        {"echomimic": '{"a":' * 300 + "1" + "}" * 300},
    ],
    ids=["nothing", "comment", "no json", "too deep", "too deep to show"],
)
def test_a_video_of_others_says_nothing(tmp_path, metadata):
    other = rewritten(write(tmp_path / "a.mp4"), tmp_path / "b.mp4", metadata)

    with pytest.raises(MediaError, match=r"b\.mp4 does not say that EchoMimic made it"):
        read_provenance(other)


def test_files_that_are_no_videos_are_named(tmp_path, capsys):
    (tmp_path / "a.mp4").write_text("not a video")
    shutil.copy(VOICE, tmp_path / "b.wav")

    for name, complaint in (
        ("none.mp4", "There is no video file"),
        ("a.mp4", "a.mp4 is damaged or not a video file"),
        ("b.wav", "b.wav holds no picture"),
        ("", "There is no video file"),  # a folder
    ):
        assert cli.main(["info", str(tmp_path / name)]) == 1
        assert complaint in capsys.readouterr().err


def test_the_command_shows_what_animate_wrote(tiny_models, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    arguments = [
        "animate", "--models", tiny_models, "--portrait", PORTRAIT, "--audio", VOICE, "--out", out,
        "--face-box", *FACE_BOX, "--size", 32, "--length", 2, "--steps", 1, "--cfg", 1,
        "--seed", 99, "--device", "cpu",
    ]  # fmt: skip
    assert cli.main([*map(str, arguments)]) == 0
    capsys.readouterr()

    assert cli.main(["info", str(out)]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert cli.main(["info", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)

    assert shown["generated"] == "yes, this video is synthetic"
    assert (shown["variant"], shown["seed"]) == ("audio", "99")
    assert (shown["num_inference_steps"], shown["guidance_scale"]) == ("1", "1.0")
    assert said["settings"]["num_inference_steps"] == 1
    assert str(tmp_path) not in json.dumps(said)


def shown(path, capsys) -> dict[str, str]:
    """What `echomimic info` prints, by what it calls it."""
    assert cli.main(["info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: text for name, text in (line.split("  ", 1) for line in lines)}


def test_the_command_shows_the_settings_of_stock_nodes(tmp_path, capsys):
    graph = GRAPH | {
        "5": {"class_type": "KSampler", "inputs": {"seed": 8, "steps": 30, "cfg": 2.5}},
        "6": {"class_type": "EasyCache", "inputs": {"reuse_threshold": 0.2}},
        "7": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "a.safetensors"}},
        "8": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "b.safetensors"}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "a person"}},
    }
    stock = {"prompt": json.dumps(graph)}
    said = shown(rewritten(write(tmp_path / "a.mp4"), tmp_path / "b.mp4", stock), capsys)

    assert said["KSampler"].strip() == "seed 8, steps 30, cfg 2.5"
    assert said["EasyCache"].strip() == "reuse_threshold 0.2"
    assert said["LoraLoaderModelOnly 2"].strip() == "lora_name b.safetensors"
    assert "CLIPTextEncode" not in said


def test_without_the_graph_the_mark_tells_the_samplers(tmp_path, capsys):
    mark = {"variant": "audio", "model": "a.pth", "seed": 8, "nodes": {"KSampler": {"steps": 30}}}

    said = shown(write(tmp_path / "a.mp4", provenance=Provenance(mark)), capsys)

    assert (said["model"].strip(), said["KSampler"].strip()) == ("a.pth", "steps 30")


def test_files_of_anybody_do_nothing_to_the_terminal(tmp_path, capsys):
    mark = {"variant": "a\x1b[2J\nseed 5", "model": "\ud800", "seed": [1], "settings": {"\x07": 1}}
    graph = {"1": {"class_type": "EchoMimicSampler", "inputs": {"edits": "x" * 100_000}}}
    path = write(tmp_path / "a.mp4", provenance=Provenance(mark, {"prompt": json.dumps(graph)}))

    assert cli.main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert all(sign.isprintable() for sign in out.replace("\n", ""))
    assert max(map(len, out.splitlines())) < 300
    assert cli.main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == graph


def test_a_mark_from_any_file_can_be_passed_on_and_takes_nothing_back(tmp_path):
    mark = {
        "synthetic": False,
        "generator": "Other",
        "variant": "\ud800\0" + "x" * 9999,
        "seed": {},
    }

    path = write(tmp_path / "a.mp4", provenance=Provenance(mark))

    said = read_provenance(path)
    assert (said["synthetic"], said["generator"]) == (True, "EchoMimic")
    with av.open(str(path)) as container:
        assert container.metadata["comment"].startswith("Synthetic video, generated by EchoMimic")

"""Long renders in ComfyUI: what the sampler gives, and on from there after a killed server."""

import json
import shutil
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from comfy_server import Server, ids, of_type, own_files_graph
from conftest import COMFYUI, WHISPER, _write_voice
from PIL import Image
from support import ROOT
from test_nodes_in_process import FPS, FRAMES, inputs, loaded, module, sampled  # noqa: F401
from test_preview import tiles

from echomimic.config import LATENT_SCALE
from echomimic.media.frames import read_frames
from echomimic.media.provenance import read_provenance

CHOICES = {
    "seed": 7, "steps": 2, "cfg": 2.5, "scheduler": "ddim", "windows": "open",
    "context_frames": 6, "context_overlap": 2, "overlap_weights": "flat", "window_batch": 0,
    "parity": False, "landmarks_end": "hold", "filename_prefix": "long", "save_output": True,
    "crf": 18,
}  # fmt: skip


@pytest.fixture
def output(tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


@torch.inference_mode()
def rendered(pack, loaded, inputs, **changes):  # noqa: F811
    (portrait, *_), (track, audio, *_) = inputs
    given = {"segment_windows": 1, "keep_latents": False, "audio": audio} | CHOICES | changes
    node = pack["EchoMimicLongRender"]
    return node.execute(*loaded[:4], portrait, track, **given)[0]


def sampled_alike(pack, loaded, inputs):  # noqa: F811
    """The latent of EchoMimic Sampler with the same choices."""
    chosen = {name: CHOICES[name] for name in ("context_frames", "context_overlap")}
    return {"samples": sampled(pack, loaded, inputs, **chosen)}


def kept_render(pack, output):
    """The render folder that was left in the output folder."""
    (path,) = (output / "echomimic_renders").iterdir()
    manifest = json.loads((path / "manifest.json").read_text())
    segments = [module("echomimic.render_folder").Segment(**s) for s in manifest["segments"]]
    return module("echomimic.render_folder").RenderFolder(path, segments, manifest)


def test_one_segment_has_the_latents_of_the_sampler(pack, loaded, inputs, output):  # noqa: F811
    rendered(pack, loaded, inputs, segment_windows=100, keep_latents=True)
    (latents,) = kept_render(pack, output)
    samples = sampled_alike(pack, loaded, inputs)["samples"]
    assert torch.equal(latents / LATENT_SCALE, samples)


def test_one_segment_is_what_sampler_and_decoder_make(pack, loaded, inputs, output):  # noqa: F811
    video = rendered(pack, loaded, inputs, segment_windows=100)
    latent = sampled_alike(pack, loaded, inputs)
    file = {"filename_prefix": "short", "save_output": True, "crf": 18}
    decoder = pack["EchoMimicDecodeVideo"]
    short = decoder.execute(latent, loaded[3], fps=FPS, parity=False, audio=None, **file)[0]

    ours, theirs = (np.stack([*read_frames(v.get_stream_source())]) for v in (video, short))

    assert len(ours) == FRAMES
    assert np.array_equal(ours, theirs)
    assert read_provenance(video.get_stream_source())["seed"] == 7
    assert list((output / "echomimic_renders").iterdir()) == []


def test_kept_latents_serve_another_file(pack, loaded, inputs, output):  # noqa: F811
    first = rendered(pack, loaded, inputs, keep_latents=True)
    (folder,) = (output / "echomimic_renders").iterdir()
    saved = {path: path.stat().st_mtime_ns for path in folder.glob("segment-*")}
    assert len(saved) == 4

    second = rendered(pack, loaded, inputs, crf=40, keep_latents=True)

    assert {path: path.stat().st_mtime_ns for path in folder.glob("segment-*")} == saved
    assert second.get_stream_source() != first.get_stream_source()


def test_a_patched_model_is_another_model(loaded):  # noqa: F811
    import comfy.model_management

    digest = module("nodes.long_render")._weights_digest
    model = loaded[0].clone()
    plain = digest(model)
    key = "diffusion_model.conv_in.weight"
    model.add_patches({key: (torch.ones_like(model.model_state_dict()[key]),)}, 0.5)
    patched = digest(model)
    comfy.model_management.load_models_gpu([model])

    assert patched != plain
    assert digest(model) == patched  # whether the patch is applied already or not

    comfy.model_management.unload_all_models()
    assert digest(loaded[0]) == plain


class TestPreview:
    """The whole clip so far, while segment after segment is sampled."""

    @pytest.fixture
    def sent(self, pack, monkeypatch):
        """Messages with pictures instead of a page, drawn as ComfyUI draws them."""
        from comfy.cli_args import LatentPreviewMethod, args

        monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
        messages = []
        monkeypatch.setattr(
            module("nodes.preview"),
            "send",
            lambda stage, **facts: messages.append(facts) if stage == "sampling" else None,
        )
        return messages

    @pytest.fixture
    def render(self, pack, loaded, inputs):  # noqa: F811
        return partial(rendered, pack, loaded, inputs)

    @staticmethod
    def of_steps(messages):
        return [facts for facts in messages if "sheet" in facts]

    def test_finished_frames_are_shown_before_those_of_the_segment(
        self, pack, render, output, sent, monkeypatch
    ):
        drawn, preview = [], module("nodes.preview")
        draw = preview._coloured
        monkeypatch.setattr(preview, "ENOUGH", 2.0)  # of random networks nothing is known
        monkeypatch.setattr(
            preview,
            "_coloured",
            lambda clean, colours: drawn.append(colours) or draw(clean, colours),
        )
        render(keep_latents=True)
        folder, steps = kept_render(pack, output), self.of_steps(sent)
        assert [facts["num_frames"] for facts in steps] == [6, 6, 9, 9, 12, 12, 14, 14]
        for facts in steps:
            assert facts["shown"] == [*range(facts["num_frames"])]
        whole = draw(torch.cat([*folder]), drawn[0])
        last = folder.segments[-1]
        seen, expected = tiles(steps[-1]), tiles(steps[-1] | preview.sheet(whole))
        for number in range(last.start):
            apart = [np.abs(seen[number].astype(int) - tile).mean() for tile in expected]
            assert np.argmin(apart) == number
            assert apart[number] < 3  # of 255; JPEG, with other neighbours

    def test_a_render_that_goes_on_shows_what_was_finished_before(self, render, pack, output, sent):
        render(keep_latents=True)
        before = self.of_steps(sent)[6:]  # of the last segment
        kept_render(pack, output)._path(kept_render(pack, output).segments[-1]).unlink()
        sent.clear()
        render(filename_prefix="again")
        assert self.of_steps(sent)[0]["shown"] == before[0]["shown"]
        assert [f["sheet"] for f in self.of_steps(sent)] == [f["sheet"] for f in before]

    def test_it_does_not_grow_with_the_clip(self, pack):
        """Ten minutes: no message has more pictures than one of the sampler, none is kept more."""
        segment = module("echomimic.render_folder").Segment
        segments = [segment(n, 105 * n, 105 * n + 111, 6 * (n > 0)) for n in range(140)]
        shown, drawn = [], []

        class Folder:
            def pieces(self, number):
                for one in segments[number : now.number]:
                    yield one.start, torch.zeros(one.stop - one.start, 4, 2, 2)

        class Preview:
            most = 120

            def draw(self, latents):
                drawn.append(len(latents))
                return [Image.new("RGB", (16, 16)) for _ in latents]

            def show(self, clean, before, first):
                shown.append((dict(before), first, len(clean)))

        preview = module("nodes.segments_preview").SegmentsPreview(Preview(), Folder())
        for now in segments:
            for _ in range(2):
                preview.on_step(now, torch.zeros(111, 4, 2, 2))

        assert [first for _, first, _ in shown[::2]] == [s.start for s in segments]
        for before, first, _ in shown:
            numbers = list(before)
            assert len(numbers) <= 60
            assert numbers == list(range(0, first, numbers[1] if len(numbers) > 1 else 1))
        assert len(shown[-1][0]) > 30
        assert sum(drawn) < 600  # each finished frame at most once, most of them never


@pytest.fixture(scope="module")
def killed(models, tmp_path_factory):
    """A server of our own, to be killed."""
    base = tmp_path_factory.mktemp("killed")
    (base / "input").mkdir()
    (base / "models").mkdir()
    (base / "models/echo_mimic").symlink_to(models / "echo_mimic")
    Image.effect_noise((96, 128), 60).convert("RGB").save(base / "input/portrait.png")
    _write_voice(base / "input/voice.wav")
    with Server(COMFYUI, base, ROOT) as running:
        yield running


def long_graph(server):
    """workflows/audio.json with EchoMimic Long Render in the place of sampler and decoder."""
    file = json.loads((ROOT / "workflows/audio.json").read_text())
    graph = own_files_graph(file, server.get("/object_info"))
    of_type(graph, "LoadImage")["image"] = "portrait.png"
    of_type(graph, "LoadAudio")["audio"] = "voice.wav"
    of_type(graph, "EchoMimicModelLoader")["model"] = "denoising_unet_acc.pth"
    of_type(graph, "EchoMimicAudioEncoderLoader")["audio_encoder"] = WHISPER
    of_type(graph, "EchoMimicAudioEncode").update(fps=25, length=20)
    of_type(graph, "EchoMimicPortrait").update(width=64, height=64, mask=["mask", 0])
    graph["mask"] = {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": 96, "height": 128},
    }
    sampler, sound = of_type(graph, "EchoMimicSampler"), of_type(graph, "EchoMimicDecodeVideo")
    linked = {name: value for name, value in sampler.items() if isinstance(value, list)}
    for name in ids(graph, "EchoMimicSampler", "EchoMimicDecodeVideo"):
        del graph[name]
    widgets = CHOICES | {"segment_windows": 1, "keep_latents": True, "steps": 4}
    graph["long"] = {
        "class_type": "EchoMimicLongRender",
        "inputs": widgets | linked | {"audio": sound["audio"]},
    }
    return graph


def test_a_killed_server_goes_on_with_the_same_graph(killed):
    graph, folder = long_graph(killed), killed.base / "output/echomimic_renders"

    def finished():
        manifests = [json.loads(path.read_text()) for path in folder.glob("*/manifest.json")]
        return manifests[0]["finished"] if manifests else []

    def kill_when_some_are_finished():
        while len(finished()) < 2:
            time.sleep(0.002)
        killed.kill()

    assert killed.run(graph).error() is None
    expected = finished()
    shutil.rmtree(folder)
    graph["long"]["inputs"]["filename_prefix"] = "again"  # else it comes from ComfyUI's cache
    killer = threading.Thread(target=kill_when_some_are_finished, daemon=True)
    killer.start()
    with pytest.raises(Exception):  # noqa: B017 (the connection breaks in one way or another)
        killed.run(graph)
    killer.join(60)
    before = finished()
    assert 2 <= len(before) < len(expected)

    with killed:
        run = killed.run(graph)

    assert run.error() is None
    assert f"{len(before)} of {len(expected)} segments are finished" in killed.log.read_text()
    assert finished() == expected  # checksums of the latents
    assert read_provenance(killed.file(run, "long"))["variant"] == "audio_acc"

"""From files to a file: the library's and the command's whole way, on tiny random networks."""

import json
import math
import wave

import av
import numpy as np
import pytest
import torch
from PIL import Image
from support import real_input

from echomimic import cli, demo
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.config import VARIANTS, Compatibility, SamplingOptions
from echomimic.media.image import write_image
from echomimic.pipeline import STAGES, ClipOptions, EchoMimic, Networks

FRAMES = 3
CLIP = ClipOptions(size=(64, 48), fps=10.0, length=FRAMES, face_box=FACE_BOX)
VOICED = tuple(stage for stage in STAGES if stage != "landmarks")
QUICK = SamplingOptions(num_inference_steps=1, guidance_scale=1.0)


@pytest.fixture(scope="module")
def model(tiny_models):
    return EchoMimic.from_folder(tiny_models, device="cpu", keep_loaded=True)


def look(path):
    """Codec, size and frame count of the picture, codec and seconds of the sound."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio))
        return {
            "video": (video.codec_context.name, video.codec_context.pix_fmt),
            "size": (frames[0].shape[1], frames[0].shape[0]),
            "frames": frames,
            "audio": audio.codec_context.name,
            "audio_seconds": samples / audio.codec_context.sample_rate,
        }


def test_a_portrait_and_a_voice_become_a_video(model, tmp_path):
    events = []
    out = tmp_path / "out.mp4"
    model.animate(PORTRAIT, VOICE, out, CLIP, QUICK, lambda *event: events.append(event))
    seen = look(out)
    assert seen["video"] == ("h264", "yuv420p")
    assert seen["audio"] == "aac"
    assert seen["size"] == CLIP.size
    assert len(seen["frames"]) == FRAMES
    assert seen["audio_seconds"] == pytest.approx(FRAMES / CLIP.fps, abs=0.05)
    assert list(dict.fromkeys(stage for stage, *_ in events)) == list(VOICED)
    for stage in VOICED:
        done, total = [event[1:] for event in events if event[0] == stage][-1]
        assert done == total


def test_without_a_length_the_video_lasts_as_long_as_the_voice(model, tmp_path):
    out = tmp_path / "out.mp4"
    whole = ClipOptions(size=(32, 32), fps=3.0, face_box=FACE_BOX)
    model.animate(PORTRAIT, VOICE, out, whole, QUICK)
    with wave.open(str(VOICE)) as voice:
        seconds = voice.getnframes() / voice.getframerate()
    assert len(look(out)["frames"]) == math.ceil(seconds * 3)


def test_the_voice_and_the_portrait_both_matter(model):
    def latents(image, speech):
        portrait = model.prepare_portrait(image, (64, 64), FACE_BOX)
        track = model.encode_voice(speech, 10.0)
        return model.sample(model.encode_conditions(portrait, track), QUICK)

    torch.manual_seed(0)
    picture = np.array(Image.open(PORTRAIT).convert("RGB"))
    voice = 0.1 * torch.randn(8000)
    first = latents(picture, voice)
    assert (latents(picture, torch.zeros(8000)) - first).abs().max() > 1e-4
    assert (latents(255 - picture, voice) - first).abs().max() > 1e-4
    torch.testing.assert_close(latents(picture, voice), first, atol=0, rtol=0)


def test_cancelling_leaves_no_file(model, tmp_path):
    class Cancelled(Exception):
        pass

    for stage in VOICED:

        def cancel(name, done, total, stage=stage):
            if name == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            model.animate(PORTRAIT, VOICE, tmp_path / "out.mp4", CLIP, QUICK, cancel)
        assert list(tmp_path.iterdir()) == []


def test_networks_are_let_go_unless_they_are_to_be_kept(tiny_models):
    files = EchoMimic.from_folder(tiny_models, device="cpu").networks.files
    for keep in (False, True):
        networks = Networks(files, torch.device("cpu"), torch.float32, keep=keep)
        with networks.use("landmark_encoder") as first:
            pass
        with networks.use("landmark_encoder") as second:
            assert (first is second) == keep


def test_portraits_without_landmarker_are_taken_whole_and_said_so(model, caplog):
    image = np.zeros((40, 60, 3), np.uint8)
    portrait = model.prepare_portrait(image, (64, 64))
    assert bool((portrait.face_mask == 1).all())
    assert "face_landmarker" in caplog.text


class TestCommand:
    """The `echomimic` command; quick settings, tiny networks."""

    @pytest.fixture()
    def animate(self, tiny_models, tmp_path, capsys):
        def run(*more, portrait=PORTRAIT, audio=VOICE, out=tmp_path / "out.mp4"):
            status = cli.main(
                ["animate", "--portrait", str(portrait), "--audio", str(audio), "--out", str(out),
                 "--models", str(tiny_models), "--size", "64", "--length", "2", "--steps", "1",
                 "--device", "cpu", *map(str, more)]
            )  # fmt: skip
            return status, capsys.readouterr().err

        return run

    def test_makes_a_video(self, animate, tmp_path):
        status, shown = animate("--face-box", *FACE_BOX)
        assert status == 0
        assert len(look(tmp_path / "out.mp4")["frames"]) == 2
        assert "sampling" in shown and "step 1/1" in shown

    @pytest.mark.parametrize("variant", ["audio", "audio_acc"])
    def test_parity_runs(self, animate, variant):
        assert animate("--parity", "--variant", variant)[0] == 0

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_runs_in_every_dtype_of_the_cpu(self, animate, dtype):
        assert animate("--dtype", dtype)[0] == 0

    @pytest.mark.parametrize("scheduler", ["ddim", "euler"])
    def test_schedulers_can_be_chosen(self, animate, scheduler):
        assert animate("--scheduler", scheduler)[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--steps", 0], "steps must be between"),
            (["--cfg", 0.5], "cfg must be 1"),
            (["--seed", -1], "seed must be between"),
            (["--seed", 2**64], "seed must be between"),
            (["--context-overlap", 12], "must be smaller than context_frames"),
            (["--context-frames", 40], "context_frames"),
            (["--size", "60x64"], "multiple of 8"),
            (["--length", 0], "length must be 1 frame or more"),
            (["--fps", 0], "fps must be"),
            (["--window-batch", 0], "window_batch must be 1 or more"),
            (["--scheduler", "heun"], "scheduler"),
            (["--scheduler", "euler", "--parity"], "exists for ddim only"),
            (["--cfg", "inf"], "cfg must be 1"),
            (["--device", "meta"], "cannot be used"),
            (["--variant", "landmark"], "driven by landmarks"),
            (["--device", "cuda:99"], "cannot be used"),
            (["--face-box", 900, 900, 950, 950], "face box"),
        ],
    )
    def test_impossible_options_end_in_one_sentence(self, animate, tmp_path, arguments, sentence):
        status, shown = animate(*arguments)
        assert status == 1
        assert sentence in shown
        assert "Traceback" not in shown
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("missing.png", None),
            ("text.png", b"this is no picture"),
            ("empty.png", b""),
        ],
    )
    def test_unreadable_portraits_are_named(self, animate, tmp_path, name, content):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        status, shown = animate(portrait=path)
        assert status == 1 and name in shown and "Traceback" not in shown

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("missing.wav", None),
            ("text.wav", b"this is no sound"),
            ("empty.wav", b""),
        ],
    )
    def test_unreadable_voices_are_named(self, animate, tmp_path, name, content):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        status, shown = animate(audio=path)
        assert status == 1 and name in shown and "Traceback" not in shown

    @pytest.mark.parametrize("size", [(8, 8), (2000, 30)])
    def test_odd_portraits_work(self, animate, tmp_path, size):
        write_image(tmp_path / "odd.png", np.full((size[1], size[0], 3), 90, np.uint8))
        assert animate(portrait=tmp_path / "odd.png")[0] == 0

    def test_one_sample_of_sound_is_one_frame(self, animate, tmp_path):
        with wave.open(str(tmp_path / "click.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(b"\x00\x10")
        assert animate(audio=tmp_path / "click.wav")[0] == 0
        assert len(look(tmp_path / "out.mp4")["frames"]) == 1

    def test_outputs_that_cannot_be_written_are_named_before_the_work(self, animate, tmp_path):
        for out in (tmp_path / "nowhere" / "out.mp4", tmp_path / "out.xyz", tmp_path):
            status, shown = animate(out=out)
            assert status == 1 and str(out.parent) in shown and "sampling" not in shown

    def test_ctrl_c_leaves_no_half_written_file(self, animate, tmp_path, monkeypatch):
        def interrupted(self, stage, done, total):
            if stage == "decoding":
                raise KeyboardInterrupt

        monkeypatch.setattr(cli.Progress, "_show", interrupted)
        status, shown = animate()
        assert status == cli.CANCELLED and "cancelled" in shown
        assert list(tmp_path.iterdir()) == []

    def test_missing_models_are_listed(self, capsys, tmp_path):
        status = cli.main(
            ["animate", "--portrait", str(PORTRAIT), "--audio", str(VOICE),
             "--out", str(tmp_path / "out.mp4"), "--models", str(tmp_path)]
        )  # fmt: skip
        shown = capsys.readouterr().err
        assert status == 1 and "denoising_unet" in shown and str(tmp_path) in shown

    @pytest.mark.parametrize("frames", [0, 33])
    def test_bench_refuses_windows_that_cannot_be(self, frames, capsys):
        assert cli.main(["bench", "--flops-only", "--context-frames", str(frames)]) == 1
        assert "context_frames" in capsys.readouterr().err

    def test_running_out_of_memory_is_a_sentence(self, animate, monkeypatch):
        def out_of_memory(*arguments, **options):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(EchoMimic, "sample", out_of_memory)
        status, shown = animate()
        assert status == 1 and "the memory ran out" in shown and "Traceback" not in shown

    def test_bench_prints_a_table_and_writes_json(self, tiny_models, tmp_path, capsys):
        path = tmp_path / "bench.json"
        arguments = ["--models", tiny_models, "--size", 64, "--device", "cpu", "--json", path]
        assert cli.main(["bench", *map(str, arguments)]) == 0
        figures = json.loads(path.read_text())
        assert figures["seconds_per_guided_window"] > 0
        assert figures["peak_bytes"] > figures["weights_bytes"] > 0
        assert figures["seconds_to_sync_1000_frames_part_aware"] > 0
        assert figures["landmark_frames_drawn_per_second"] > 0
        assert "tflop_per_guided_window" in capsys.readouterr().out

    def test_models_can_be_made_converted_and_looked_at(self, tmp_path, capsys):
        random, converted = tmp_path / "random", tmp_path / "converted"
        assert cli.main(["models", "make-random", str(random), "--variant", "audio"]) == 0
        assert cli.main(["models", "convert", str(random), str(converted)]) == 0
        assert (converted / "denoising_unet.safetensors").is_file()
        capsys.readouterr()
        assert cli.main(["models", "status", "--models", str(random)]) == 0
        assert "missing" in capsys.readouterr().out  # the other variants


def test_demo_needs_no_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "NUM_FRAMES", 12)  # .ci/run makes the whole of it
    assert cli.main(["demo"]) == 0
    assert len(look(tmp_path / "echomimic-demo/demo.mp4")["frames"]) == 12


def test_parity_is_every_switch():
    ours, official = Compatibility(), Compatibility.parity()
    assert all(getattr(ours, name) != getattr(official, name) for name in vars(ours))


@pytest.mark.parametrize(
    "switch",
    [
        "reference_dtype",
        "hard_audio_windows",
        "int16_audio",
        "official_num_frames",
        "bgr_detector",
        "official_crop",
        "truncate_frames",
    ],
)
def test_every_switch_outside_the_sampler_does_something(switch, model, tmp_path, monkeypatch):
    """What reaches the sampler and the encoder differs (test_denoiser has the other switches)."""
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "portrait.png")
    with wave.open(str(tmp_path / "voice.wav"), "wb") as file:
        file.setparams((1, 4, 22050, 0, "NONE", ""))
        noise = np.random.default_rng(1).integers(-(2**24), 2**24, 22050 * 31 + 777, np.int32)
        file.writeframes(noise.tobytes())

    def box(image, landmarker, bgr=False):
        return (5.0, 5.0, 65.0, 75.0) if bgr else (40.0, 20.0, 90.0, 80.0)

    monkeypatch.setattr("echomimic.pipeline.find_face_box", box)
    monkeypatch.setattr(model, "landmarker", tmp_path)

    def trace(compatibility):
        seen = []

        def sample(self, conditions, options, **callbacks):
            seen.extend([conditions.audio.num_frames, conditions.audio.states, conditions.face])
            seen.extend(conditions.reference.values())
            return torch.zeros(conditions.num_frames, 4, *conditions.latent_size)

        def frames(self, latents, *, truncate):
            seen.append(truncate)
            yield np.zeros((len(latents), 48, 64, 3), np.uint8)

        monkeypatch.setattr(EchoMimic, "sample", sample)
        monkeypatch.setattr(EchoMimic, "frames", frames)
        options = SamplingOptions(compatibility=compatibility)
        clip = ClipOptions(size=(64, 48), fps=2.0)
        out = tmp_path / "out.mp4"
        model.animate(tmp_path / "portrait.png", tmp_path / "voice.wav", out, clip, options)
        return seen

    ours = trace(Compatibility())
    official = trace(Compatibility(**{switch: getattr(Compatibility.parity(), switch)}))
    assert len(ours) == len(official)
    assert any(
        not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b)
        for a, b in zip(ours, official, strict=True)
    )


def test_variants_bring_their_own_steps_and_guidance():
    for row in VARIANTS.values():
        options = SamplingOptions.for_variant(row, seed=None)
        assert options.num_inference_steps == row.num_inference_steps
        assert options.guidance_scale == row.guidance_scale
        assert options.seed == 420
    assert SamplingOptions.for_variant(VARIANTS["audio"], guidance_scale=1.5).guidance_scale == 1.5


def test_real_portrait_and_voice(model, tmp_path):
    portrait, voice = real_input("test_imgs/a.png"), real_input("test_audios/echomimic_en.wav")
    out = tmp_path / "out.mp4"
    model.animate(portrait, voice, out, ClipOptions(size=(64, 64), fps=4.0), QUICK)
    with av.open(str(voice)) as file:
        seconds = file.duration / av.time_base
    seen = look(out)
    assert len(seen["frames"]) == math.ceil(seconds * 4)
    assert seen["audio_seconds"] == pytest.approx(len(seen["frames"]) / 4, abs=0.05)

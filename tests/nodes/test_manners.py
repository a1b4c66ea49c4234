"""A whole clip, watched by Python's audit hook: no network, no programs, nothing unpickled."""

import os
import pickle
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from node_values import module

MINI = "mini (built in)"
FORBIDDEN = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
    "os.startfile", "urllib.Request", "http.client.connect", "webbrowser.open", "pickle.find_class",
}  # fmt: skip


class Watch:
    """Refuses what is forbidden while its context lasts. Audit hooks cannot be taken away again."""

    def __init__(self):
        self._on = False
        self.seen = []
        sys.addaudithook(self._hook)

    def _hook(self, event, args):
        if self._on and event in FORBIDDEN:
            self.seen.append(event)
            raise PermissionError(f"{event} {args!r:.200}")

    def __enter__(self):
        self._on, self.seen = True, []
        return self

    def __exit__(self, *_):
        self._on = False


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    import folder_paths

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize(
    "act",
    [
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: subprocess.run(["true"]),
        lambda: os.system("true"),
        lambda: pickle.loads(pickle.dumps(os.getcwd)),
    ],
)
def test_what_is_forbidden_is_noticed(watch, act):
    with watch, pytest.raises(PermissionError):
        act()


@torch.inference_mode()
def test_a_clip_is_made_without_network_programs_or_pickles(pack, watch, folders):
    def run(node, *args, **values):
        return pack[node].execute(*args, **values).args

    (folders / "input/poses").mkdir()
    frame = np.random.default_rng(0).uniform(100, 400, (478, 3))
    (folders / "input/poses/0.pkl").write_bytes(pickle.dumps(frame))
    with watch:
        image, box, audio, landmarks, _, fps, _ = run(
            "EchoMimicPuppet", seed=7, motion="lively", length=4, size=128
        )
        networks = run("EchoMimicModelLoader", model=MINI, dtype="fp32")
        run("EchoMimicModelLoader", model="denoising_unet.pth", dtype="fp32")  # not safetensors
        (encoder,) = run("EchoMimicAudioEncoderLoader", MINI)
        voice = run("EchoMimicAudioEncode", encoder, audio, fps, 4, parity=False)[0]
        portrait = run(
            "EchoMimicPortrait", image, 128, 128, crop_ratio=0.5, mask_ratio=0.1, parity=False,
            face_box=box,
        )[0]  # fmt: skip
        run("EchoMimicLandmarkLoad", "poses", fps=24.0, width=512, height=512)
        run("EchoMimicLandmarkSave", landmarks, "faces")
        run("EchoMimicLandmarkLoad", "faces_00001_.npz [output]", fps=24.0, width=512, height=512)
        latent = run(
            "EchoMimicSampler", *networks, portrait, voice, landmarks=landmarks, seed=7, steps=1,
            cfg=1.0, scheduler="ddim", windows="open", context_frames=12, context_overlap=3,
            overlap_weights="flat", window_batch=0, parity=False,
        )[0]  # fmt: skip
        video = run(
            "EchoMimicDecodeVideo", latent, networks[3], fps=fps, filename_prefix="clip",
            save_output=True, crf=18, parity=False, audio=audio,
        )[0]  # fmt: skip
    assert watch.seen == []
    assert video.get_dimensions() == (128, 128)
    assert sorted(os.listdir(folders / "output")) == ["clip_00001_.mp4", "faces_00001_.npz"]


@torch.inference_mode()
def test_plots_are_drawn_without_programs_where_no_font_is_known_yet(
    pack, watch, folders, monkeypatch
):
    (folders / "fonts").mkdir()
    monkeypatch.setenv("MPLCONFIGDIR", str(folders / "fonts"))  # where matplotlib keeps their list
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    _, _, audio, landmarks, frames, *_ = (
        pack["EchoMimicPuppet"].execute(seed=7, motion="lively", length=25, size=64).args
    )
    plot = {"width": 640, "height": 480}
    with watch:
        reported = pack["EchoMimicReport"].execute(
            landmarks, border_every=12, audio=audio, frames=frames, **plot
        )
        compared = pack["EchoMimicCompare"].execute(
            frames, frames * 0.9, fps=0.0, landmarks=landmarks, reference_landmarks=landmarks,
            **plot,
        )  # fmt: skip
    assert watch.seen == []
    for drawn in (reported, compared):
        assert drawn.args[0].shape == (1, 480, 640, 3)
        assert drawn.args[0].std() > 0.05


class Program:
    """Runs a command where it is unpickled without care."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_programs_in_files_are_refused_before_they_run(pack, watch, folders, models):
    errors, ran = module("echomimic.errors"), folders / "ran"
    program = pickle.dumps(Program(f"touch {ran}"))
    (folders / "input/poses").mkdir()
    (folders / "input/poses/0.pkl").write_bytes(program)
    weights = models / "echo_mimic/audio_processor/whisper_odd.pt"
    weights.write_bytes(program)
    try:
        with watch, pytest.raises(errors.WeightsError, match="executable pickle"):
            pack["EchoMimicAudioEncoderLoader"].execute(f"audio_processor/{weights.name}")
    finally:
        weights.unlink()
    with watch, pytest.raises(errors.LandmarkError, match="was not run"):
        pack["EchoMimicLandmarkLoad"].execute("poses", fps=24.0, width=512, height=512)
    assert not ran.exists() and watch.seen == []

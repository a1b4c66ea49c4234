"""The plan as a node: it counts what the sampler then does, and measures a window."""

import pytest
import torch
from test_mini_nodes import CHOICES, MINI

SETTINGS = {
    "steps": 2, "cfg": 1.0, "windows": "open", "context_frames": 12, "context_overlap": 3,
    "window_batch": 0, "measure": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(pack):
    """Networks of the built-in model, a portrait, a voice and landmarks of 30 frames."""
    networks = pack["EchoMimicModelLoader"].execute(model=MINI, dtype="fp32").args
    puppet = pack["EchoMimicPuppet"].execute(seed=3, motion="lively", length=30, size=128).args
    portrait = pack["EchoMimicPortrait"].execute(
        puppet[0], 128, 128, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=puppet[1]
    )[0]
    (encoder,) = pack["EchoMimicAudioEncoderLoader"].execute(MINI).args
    voice = pack["EchoMimicAudioEncode"].execute(encoder, puppet[2], 25.0, 0, parity=False)[0]
    return networks, portrait, voice, puppet[3]


@torch.inference_mode()
def test_it_counts_the_model_calls_of_the_sampler(pack, clip):
    networks, portrait, voice, _ = clip
    text, seconds, fits = (
        pack["EchoMimicPlan"]
        .execute(networks[0], portrait, audio_track=voice, vae=networks[3], **SETTINGS)
        .args
    )
    calls = []
    hook = networks[0].model.diffusion_model.register_forward_hook(lambda *_: calls.append(1))
    pack["EchoMimicSampler"].execute(*networks, portrait, voice, **CHOICES | {"steps": 2})
    hook.remove()
    assert f"in {len(calls)} model calls" in text
    assert fits
    assert seconds > 0


@torch.inference_mode()
def test_it_counts_the_model_calls_of_a_long_render(pack, clip, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    networks, portrait, voice, _ = clip
    settings = SETTINGS | {"measure": False, "segment_windows": 1}
    node = pack["EchoMimicPlan"]
    text = node.execute(networks[0], portrait, audio_track=voice, **settings)[0]
    calls = []
    hook = networks[0].model.diffusion_model.register_forward_hook(lambda *_: calls.append(1))
    file = {"filename_prefix": "long", "save_output": True, "crf": 30, "landmarks_end": "hold"}
    choices = CHOICES | {"steps": 2, "segment_windows": 1, "keep_latents": True} | file
    pack["EchoMimicLongRender"].execute(*networks, portrait, voice, **choices)
    hook.remove()
    stored = len([*tmp_path.glob("echomimic_renders/*/segment-*")])
    assert f"{stored} segments of up to 12 frames" in text
    assert f"in {len(calls)} model calls" in text


def test_graphs_saved_before_there_were_segments_still_run(pack, clip):
    settings = SETTINGS | {"measure": False}
    node, networks = pack["EchoMimicPlan"], clip[0]
    before = node.execute(networks[0], *clip[1:2], audio_track=clip[2], **settings)[0]
    now = node.execute(networks[0], *clip[1:2], audio_track=clip[2], segment_windows=0, **settings)[
        0
    ]
    assert now.splitlines()[:2] == before.splitlines()[:2]
    assert "segment" not in now + before


def test_landmarks_alone_say_the_length_and_nothing_is_run_unless_asked(pack, clip):
    networks, portrait, _, landmarks = clip
    text, seconds, _ = (
        pack["EchoMimicPlan"]
        .execute(networks[0], portrait, landmarks=landmarks, **SETTINGS | {"measure": False})
        .args
    )
    assert "30 frames of 128x128" in text
    assert seconds == 0


def test_without_a_length_it_says_what_to_connect(pack, clip):
    with pytest.raises(ValueError, match="connect an audio_track or landmarks"):
        pack["EchoMimicPlan"].execute(clip[0][0], clip[1], **SETTINGS)

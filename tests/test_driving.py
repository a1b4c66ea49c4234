"""Landmarks drive a portrait, alone and with a voice, from files to a file."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from faces import face, poses, track_of
from PIL import Image

from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.audio.tokens import AudioTrack
from echomimic.conditions import landmarks_of_clip
from echomimic.config import SamplingOptions
from echomimic.driving import Driving
from echomimic.errors import OptionsError
from echomimic.landmarks.track import LandmarkTrack
from echomimic.pipeline import ClipOptions, EchoMimic

CLIP = ClipOptions(size=(64, 48), fps=10.0, length=3, face_box=FACE_BOX)
QUICK = SamplingOptions(num_inference_steps=1, guidance_scale=1.0)


def face_track(num_frames, fps=10.0, size=(64, 64)):
    """Points that wander, as if they had been fitted to the portrait."""
    points = np.random.default_rng(1).uniform(0.3, 0.7, (num_frames, 478, 3))
    return LandmarkTrack(points, size, fps)


def look(path):
    """Frame rate and frames of a video."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
        return {"rate": float(video.average_rate), "frames": frames}


def test_landmark_variants_take_landmarks(tiny_models):
    pytest.importorskip("cv2")
    model = EchoMimic.from_folder(tiny_models, "landmark_acc", device="cpu")
    picture = np.array(Image.open(PORTRAIT).convert("RGB"))
    portrait = model.prepare_portrait(picture, (64, 64), FACE_BOX)
    track = model.encode_voice(torch.zeros(16000), 10.0)
    conditions = model.encode_conditions(portrait, track, face_track(4))
    assert model.sample(conditions, QUICK).shape[0] == 4  # the shorter of voice and landmarks
    with pytest.raises(OptionsError, match="driven by landmarks"):
        model.encode_conditions(portrait, track)


@pytest.fixture()
def animate(tiny_models, tmp_path):
    pytest.importorskip("cv2")
    model = EchoMimic.from_folder(tiny_models, "landmark_acc", device="cpu")

    def run(audio, driving, **clip):
        out = tmp_path / "out.mp4"
        clip = replace(CLIP, **{"length": None} | clip)
        model.animate(PORTRAIT, audio, out, clip, QUICK, driving=driving)
        return look(out)

    return run


def test_landmarks_alone_decide_length_and_rate(animate):
    video = animate(None, Driving(face_track(7, fps=10.0)))
    assert len(video["frames"]) == 7
    assert video["rate"] == 10


def test_a_voice_decides_length_and_rate_and_landmarks_go_on_as_told(animate):
    lengths = {
        end: len(animate(VOICE, Driving(face_track(3, fps=CLIP.fps), end=end))["frames"])
        for end in ("hold", "loop", "cut")
    }
    assert lengths["hold"] == lengths["loop"] > lengths["cut"] == 3


@pytest.mark.parametrize("seconds", [1, 3])
def test_landmarks_of_60_fps_are_brought_to_a_voice_of_25(seconds):
    """Whichever of the two is longer: frame k is what the driver did k / 25 s after the start."""
    voice = AudioTrack(torch.zeros(100, 5, 384), 25.0, 50)
    points = np.ones((60 * seconds, 478, 3)) * np.arange(60 * seconds)[:, None, None]

    track = landmarks_of_clip(voice, LandmarkTrack(points, (64, 64), 60.0))

    assert (track.fps, track.num_frames) == (25.0, 50)
    expected = np.minimum(np.arange(50) * 2.4, 60 * seconds - 1)
    np.testing.assert_allclose(track.points[:, 0, 0], expected, atol=1e-9)


def test_length_cuts_landmarks(animate):
    assert len(animate(None, Driving(face_track(7)), length=4)["frames"]) == 4


def test_the_mouth_is_drawn_only_without_a_voice(monkeypatch, tiny_models):
    model = EchoMimic.from_folder(tiny_models, "landmark_acc", device="cpu")
    picture = np.array(Image.open(PORTRAIT).convert("RGB"))
    portrait = model.prepare_portrait(picture, CLIP.size, FACE_BOX)
    clip = replace(CLIP, length=2)
    for audio, drawn in ((None, True), (VOICE, False)):
        _, track = model.drive(portrait, audio, clip, Driving(face_track(2)))
        assert ("mouth" in track.parts) == drawn


def test_pasting_back_shows_the_whole_picture(animate):
    picture = np.array(Image.open(PORTRAIT).convert("RGB"))
    video = animate(None, Driving(face_track(2)), paste_back=True)
    frame = video["frames"][0]
    assert frame.shape == picture.shape
    corner = np.abs(frame[:40, :40].astype(int) - picture[:40, :40])
    assert corner.mean() < 3  # far from the face nothing changed, but for the encoding


def test_landmarks_of_another_picture_are_warned_about(animate, caplog):
    driver = track_of(face(), poses((0, 0, 0), (0, 0, -40)), size=CLIP.size)
    for foreign in (face_track(1, size=(48, 64)), driver):
        animate(None, Driving(foreign))
        assert "not of the portrait's" in caplog.text
        caplog.clear()
    for own in (face_track(1, size=CLIP.size), replace(driver, neutral=driver.mesh[0])):
        animate(None, Driving(own))
        assert "not of the portrait's" not in caplog.text


def test_contradictions_are_explained_before_anything_is_loaded(tiny_models, tmp_path):
    audio = EchoMimic.from_folder(tiny_models, device="cpu")
    landmark = EchoMimic.from_folder(tiny_models, "landmark_acc", device="cpu")
    out = tmp_path / "out.mp4"
    with pytest.raises(OptionsError, match="takes no landmarks"):
        audio.animate(PORTRAIT, None, out, CLIP, QUICK, driving=Driving(face_track(2)))
    with pytest.raises(OptionsError, match="given none"):
        landmark.animate(PORTRAIT, VOICE, out, CLIP, QUICK)
    with pytest.raises(OptionsError, match="Nothing drives the face"):
        audio.animate(PORTRAIT, None, out, CLIP, QUICK)

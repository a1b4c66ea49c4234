"""The built-in model: each of its parts does what it is there for, measured on its pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

from echomimic.assets import MINI
from echomimic.config import SamplingOptions
from echomimic.landmarks.mesh import PARTS
from echomimic.pipeline import EchoMimic
from echomimic.puppets.clip import PuppetClip
from echomimic.puppets.identity import TEST_SEEDS
from echomimic.puppets.meter import measure, mouth_correlation
from echomimic.puppets.voice import speak

PERSON, OTHER = TEST_SEEDS.start + 2, TEST_SEEDS.start + 8
FRAMES, SIZE = 36, 128
MEGABYTE = 1_000_000
VOICED = speak(TEST_SEEDS.start + 900_000, FRAMES / 25 + 0.5)
ALL_PARTS = frozenset(PARTS) - {"contour"}


@pytest.fixture(scope="module")
def model():
    return EchoMimic.mini(device="cpu", keep_loaded=True)


@pytest.fixture(scope="module")
def truth():
    return PuppetClip(PERSON, FRAMES, motion="calm", spoken=VOICED)


@pytest.fixture(scope="module")
def conditions(model, truth):
    """By the voice alone."""
    return model.encode_conditions(portrait(model, truth), voice(model, truth))


@pytest.fixture(scope="module")
def spoken(model, conditions):
    return film(model, conditions)


def portrait(model, clip):
    return model.prepare_portrait(clip.portrait(SIZE), (SIZE, SIZE), (0, 0, SIZE, SIZE))


def voice(model, clip):
    return model.encode_voice(torch.from_numpy(clip.heard), clip.fps, clip.num_frames)


def film(model, conditions):
    options = SamplingOptions.for_variant(model.variant, num_inference_steps=6)
    return np.concatenate(list(model.frames(model.sample(conditions, options))))


def colour_error(frames, person):
    return np.linalg.norm(measure(frames, person).skin - np.array(person.skin))


def jitter(frames):
    return np.abs(np.diff(frames.astype(np.float32), n=2, axis=0)).mean()


def test_the_mouth_follows_the_voice_and_is_still_without_it(model, truth, conditions, spoken):
    opening = truth.performance.mouth_open
    heard = measure(spoken, truth.identity)
    assert mouth_correlation(heard, opening) > 0.6
    silence = model.encode_voice(torch.zeros(len(truth.heard)), truth.fps, FRAMES)
    silent = measure(film(model, replace(conditions, audio=silence)), truth.identity)
    assert silent.mouth.std() < 0.4 * heard.mouth.std()


def test_the_face_is_that_of_the_portrait(model, truth, conditions, spoken):
    other = replace(truth, seed=OTHER)
    theirs = model.encode_conditions(portrait(model, other), conditions.audio)
    frames = film(model, theirs)
    assert colour_error(spoken, truth.identity) < 10 < colour_error(spoken, other.identity)
    assert colour_error(frames, other.identity) < 10 < colour_error(frames, truth.identity)


def test_without_the_reference_it_is_nobody(model, truth, conditions):
    nobody = {name: torch.zeros_like(part) for name, part in conditions.reference.items()}
    frames = film(model, replace(conditions, reference=nobody))
    assert colour_error(frames, truth.identity) > 10


def test_motion_modules_make_the_film_smooth(truth, conditions, spoken):
    model = EchoMimic.mini(device="cpu", keep_loaded=True)
    with model.networks.use("denoising_unet") as unet, torch.no_grad():
        cut = [p for name, p in unet.named_parameters() if "temporal_transformer.proj_out" in name]
        for parameter in cut:
            parameter.zero_()
    assert cut
    assert jitter(film(model, conditions)) > 1.15 * jitter(spoken)


def test_landmarks_turn_the_head_and_open_the_mouth(model, truth, spoken):
    lively = replace(truth, motion="lively")
    track = replace(lively.track(SIZE), parts=ALL_PARTS)
    shown = film(model, model.encode_conditions(portrait(model, lively), None, track))
    right = lively.frames(SIZE).astype(np.float32)
    assert np.abs(shown - right).mean() < 0.8 * np.abs(spoken - right).mean()
    read = measure(shown, lively.identity)
    assert mouth_correlation(read, lively.performance.mouth_open) > 0.8


def test_its_files_are_small_and_say_how_they_came_about(model):
    assert sum(path.stat().st_size for path in MINI.rglob("*.safetensors")) <= 24 * MEGABYTE
    assert model.native.size == (SIZE, SIZE)
    card = (MINI / "README.md").read_text(encoding="utf-8")
    for said in ("echomimic train mini", "seed 1", "Apache-2.0", "echomimic quality"):
        assert said in card

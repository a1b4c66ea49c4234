"""The demo's portrait and voice are exactly what their scripts make."""

import wave

import numpy as np
import pytest
from PIL import Image

from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.assets.make_assets import make_assets
from echomimic.assets.speak import RATE


def samples(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    make_assets(folder)
    return folder


def test_the_script_draws_the_bundled_portrait(made):
    bundled, drawn = (np.asarray(Image.open(p), int) for p in (PORTRAIT, made / PORTRAIT.name))
    assert bundled.shape == (512, 512, 3)
    assert abs(bundled - drawn).max() <= 1


def test_the_script_speaks_the_bundled_voice(made):
    bundled, spoken = samples(VOICE), samples(made / VOICE.name)
    assert bundled.shape == spoken.shape
    assert abs(bundled - spoken).max() <= 2


def test_the_voice_speaks_and_pauses():
    loudness = np.sqrt(np.mean(samples(VOICE)[: 4 * RATE].reshape(-1, RATE // 20) ** 2.0, axis=1))
    assert 0.5 < np.mean(loudness > 1000) < 0.9
    assert np.mean(loudness < 50) > 0.1


def test_the_face_box_holds_skin_and_its_surroundings_do_not():
    picture = np.asarray(Image.open(PORTRAIT), int)
    x0, y0, x1, y1 = (round(v) for v in FACE_BOX)
    redness = picture[..., 0] - picture[..., 2]
    assert np.mean(redness[y0:y1, x0:x1] > 40) > 0.7
    assert np.mean(redness[:, : x0 - 35] > 40) < 0.2

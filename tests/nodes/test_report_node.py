"""The report as a node: plot, words and figures of a puppet whose truth is known."""

import pytest
import torch


@pytest.fixture(scope="module")
def puppet(pack):
    """Portrait, box, audio, landmarks, frames, fps, length of three seconds of talk."""
    return pack["EchoMimicPuppet"].execute(seed=11, motion="lively", length=75, size=64).args


def run(pack, puppet, **more):
    given = {"border_every": 0, "width": 640, "height": 480} | more
    return pack["EchoMimicReport"].execute(puppet[3], **given)


def test_a_puppet_follows_its_own_voice(pack, puppet):
    plot, text, correlation, lag = run(pack, puppet, audio=puppet[2]).args
    assert plot.shape == (1, 480, 640, 3)
    assert correlation > 0.5
    assert abs(lag) <= 2 / 25
    assert f"{correlation:.2f}" in text


def test_landmarks_alone_are_enough(pack, puppet):
    _, text, correlation, lag = run(pack, puppet).args
    assert (correlation, lag) == (0.0, 0.0)
    assert "no voice was given" in text


def test_frames_add_the_flicker_of_the_picture(pack, puppet):
    shaken = puppet[4].clone()
    shaken[::2] = (shaken[::2] + 0.1).clamp(0, 1)
    texts = [run(pack, puppet, frames=frames).args[1] for frames in (puppet[4], shaken)]
    still, shaking = (float(text.split("outside the face ")[1].split()[0]) for text in texts)
    assert shaking > still + 10


def test_frames_of_another_clip_are_refused(pack, puppet):
    with pytest.raises(ValueError, match="those of the same clip"):
        run(pack, puppet, frames=torch.zeros(5, 8, 8, 3))


def test_it_shows_the_plot_and_the_words(pack, puppet):
    shown = run(pack, puppet).ui
    assert len(shown["images"]) == 1
    assert "Sync-C" in shown["text"][0]

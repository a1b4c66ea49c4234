"""The report as a node: plot, words and figures of a puppet whose truth is known."""

import pytest
import torch
from node_values import module

NAME = "syncnet_v2.model"


@pytest.fixture(scope="module")
def puppet(pack):
    """Portrait, box, audio, landmarks, frames, fps, length of three seconds of talk."""
    return pack["EchoMimicPuppet"].execute(seed=11, motion="lively", length=75, size=64).args


def run(pack, puppet, **more):
    given = {"border_every": 0, "width": 640, "height": 480} | more
    return pack["EchoMimicReport"].execute(puppet[3], **given)


def test_a_puppet_follows_its_own_voice(pack, puppet):
    plot, text, correlation, lag, _ = run(pack, puppet, audio=puppet[2]).args
    assert plot.shape == (1, 480, 640, 3)
    assert correlation > 0.5
    assert abs(lag) <= 2 / 25
    assert f"{correlation:.2f}" in text


def test_landmarks_alone_are_enough(pack, puppet):
    _, text, *figures = run(pack, puppet).args
    assert figures == [0.0, 0.0, 0.0]
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


@pytest.fixture(scope="module")
def syncnet(pack, tmp_path_factory):
    """A folder with SyncNet of random weights, as it is published."""
    folder = tmp_path_factory.mktemp("syncnet")
    torch.manual_seed(3)
    state = module("echomimic.evaluation.syncnet").SyncNet().state_dict()
    torch.save(state, folder / NAME, _use_new_zipfile_serialization=False)
    return folder


@pytest.fixture
def installed(syncnet, monkeypatch):
    """All that ComfyUI knows of our models is SyncNet."""
    import folder_paths

    known = folder_paths.folder_names_and_paths
    _, suffixes = known["echo_mimic"]
    paths = known | {"echo_mimic": ([str(syncnet)], suffixes)}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", paths)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})


def choices(pack):
    (item,) = (i for i in pack["EchoMimicReport"].define_schema().inputs if i.id == "syncnet")
    return item.options


def test_syncnet_is_offered_where_its_file_is(pack, installed):
    assert choices(pack) == ["none", NAME]


def test_syncnet_is_not_offered_without_it(pack):
    assert choices(pack) == ["none"]


def test_with_syncnet_the_report_ends_with_its_scores(pack, puppet, syncnet, installed):
    library = module("echomimic.evaluation.sync")
    model = module("echomimic.evaluation.syncnet").read_syncnet(syncnet / NAME)
    sound = module("nodes.convert").audio_from_comfy(puppet[2])
    speech = module("echomimic.media.audio").speech_from_audio(sound, int16=True).numpy()
    frames = (puppet[4] * 255).round().to(torch.uint8).numpy()
    expected = library.score_film(model, frames, puppet[3], speech)

    _, text, *figures = run(pack, puppet, audio=puppet[2], frames=puppet[4], syncnet=NAME).args

    assert expected.text().startswith("SyncNet, own crop: Sync-C ")
    score, chance = text.split("\n")[-2:]
    assert score == expected.text()
    assert chance.startswith("with the voice of half a clip away, which is chance: SyncNet")
    assert figures[2] == pytest.approx(expected.confidence)


@pytest.mark.parametrize("given", [{}, {"audio"}, {"frames"}])
def test_syncnet_needs_pictures_and_voice(pack, puppet, installed, given):
    connected = {name: value for name, value in zip(("audio", "frames"), puppet[2:5:2], strict=True)
                 if name in given}  # fmt: skip
    with pytest.raises(module("echomimic.errors").OptionsError, match="connect audio and frames"):
        run(pack, puppet, syncnet=NAME, **connected)


def test_a_syncnet_file_that_is_gone_is_named(pack, puppet):
    with pytest.raises(module("echomimic.errors").WeightsError, match=f"{NAME} is not in"):
        run(pack, puppet, audio=puppet[2], frames=puppet[4], syncnet=NAME)


def test_what_syncnet_cannot_judge_is_one_sentence(pack, puppet, syncnet, installed):
    def judged(landmarks=puppet[3], audio=puppet[2], frames=puppet[4]):
        given = {"audio": audio, "frames": frames, "syncnet": NAME}
        return run(pack, (*puppet[:3], landmarks, *puppet[4:]), **given)

    track = module("echomimic.landmarks.track").LandmarkTrack
    slow = track(puppet[3].points, puppet[3].size, 24.0)
    silence = {"waveform": torch.zeros(1, 1, 16_000), "sample_rate": 16_000}
    with pytest.raises(Exception, match="the landmarks have 24; give EchoMimic Landmark Extract"):
        judged(landmarks=slow)
    with pytest.raises(Exception, match="74 images but landmarks of 75 frames"):
        judged(frames=puppet[4][:74])
    with pytest.raises(Exception, match="The audio is silent"):
        judged(audio=silence)

"""SyncNet's scores as a node: with random weights those of the library, without them a sentence."""

import pytest
import torch
from node_values import module
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def puppet(pack):
    """Portrait, box, audio, landmarks, frames, fps, length of a second of talk."""
    return pack["EchoMimicPuppet"].execute(seed=11, motion="lively", length=25, size=64).args


@pytest.fixture
def weights(pack, models):
    syncnet = module("echomimic.evaluation.syncnet").SyncNet
    torch.manual_seed(0)
    state, path = syncnet().state_dict(), models / "echo_mimic/syncnet_v2.safetensors"
    save_file({n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}, path)
    yield path
    path.unlink()


def run(pack, puppet, frames=None, landmarks=None, audio=None):
    given = (frames, landmarks, audio)
    usual = (puppet[4], puppet[3], puppet[2])
    values = [there if mine is None else mine for mine, there in zip(given, usual, strict=True)]
    return pack["EchoMimicSyncScore"].execute(*values)


def test_scores_are_those_of_the_library(pack, puppet, weights):
    text, confidence, distance, offset = run(pack, puppet).args
    convert, audio = module("nodes.convert"), module("echomimic.media.audio")
    speech = audio.speech_from_audio(convert.audio_from_comfy(puppet[2]), int16=True).numpy()
    expected = module("echomimic.evaluation.sync").score_film(
        module("echomimic.evaluation.syncnet").read_syncnet(weights),
        convert.frames_from_image(puppet[4]), puppet[3], speech,
    )  # fmt: skip
    assert (confidence, distance) == pytest.approx((expected.confidence, expected.distance))
    assert offset == expected.offset
    assert text == expected.text()  # too short for a wrong moment
    assert "SyncNet, own crop: Sync-C" in text


def test_without_weights_it_says_where_they_go(pack, puppet, models):
    with pytest.raises(Exception, match=r"put syncnet_v2\.model .* into .*echo_mimic") as raised:
        run(pack, puppet)
    assert str(models / "echo_mimic") in str(raised.value)


def test_other_weights_rates_lengths_and_silence_are_one_sentence(pack, puppet, weights):
    track = module("echomimic.landmarks.track").LandmarkTrack
    slow = track(puppet[3].points, puppet[3].size, 24.0)
    silence = {"waveform": torch.zeros(1, 1, 16_000), "sample_rate": 16_000}
    with pytest.raises(Exception, match="the landmarks have 24; give EchoMimic Landmark Extract"):
        run(pack, puppet, landmarks=slow)
    with pytest.raises(Exception, match="24 images but landmarks of 25 frames"):
        run(pack, puppet, frames=puppet[4][:24])
    with pytest.raises(Exception, match="The audio is silent"):
        run(pack, puppet, audio=silence)
    save_file({"x": torch.zeros(1)}, weights)
    with pytest.raises(Exception, match=r"syncnet_v2\.safetensors is not SyncNet"):
        run(pack, puppet)

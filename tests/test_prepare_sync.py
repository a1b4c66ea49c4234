"""SyncNet as the lip filter of `echomimic prepare`: what it rejects, and what is said of it."""

import json
import shutil

import numpy as np
import pytest
import torch
from face_tracks import posed
from faces import face
from safetensors.torch import save_file

from echomimic.cli import main
from echomimic.errors import OptionsError, WeightsError
from echomimic.evaluation.sync import score_film
from echomimic.evaluation.syncnet import SyncNet, read_syncnet
from echomimic.prepare import one_video, sync_meter
from echomimic.prepare.checks import first_failed
from echomimic.prepare.lip_sync import Candidate
from echomimic.prepare.one_video import _Rereader
from echomimic.prepare.options import Limits, PrepareOptions
from echomimic.prepare.planted import CLIP_SIZE, FPS, SIZE, film
from echomimic.prepare.sync_meter import SyncNetMeter, syncnet_meter
from echomimic.train.clips import Dataset

OPTIONS = PrepareOptions(size=CLIP_SIZE)
ALL_PASS = ("--limit", "sync_c=-9", "--limit", "sync_offset=99", "--limit", "silent=0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """SyncNet's file with random weights."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "syncnet.safetensors"
    state = SyncNet().state_dict()
    save_file({n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}, path)
    return path


class BrightnessNet(torch.nn.Module):
    """In place of SyncNet: brightness of the faces against loudness, scaled so
    that what belongs together has a Sync-C of about 5, and strangers have 1 to 2."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def lips(self, frames):
        return frames[..., 100:130, 100:130].mean(dim=(1, 3, 4)).diff(dim=1) / 15

    def sounds(self, cepstra):
        return cepstra[:, 0, 0].unflatten(1, (5, 4)).mean(dim=2).diff(dim=1) * 1.4


def candidate(late, num_frames=60):
    """A face that is as bright as its sound is loud, `late` frames after it."""
    level = np.random.default_rng(3).uniform(3, 9, num_frames)  # of the logarithm of the energy
    track = posed(np.repeat(face()[None], num_frames, axis=0))
    width, height = track.size
    shown = np.roll(level, late)[:, None, None, None] * 20
    frames = np.broadcast_to(shown, (num_frames, height, width, 3)).astype(np.uint8)
    carrier = np.random.default_rng(4).choice([-1.0, 1.0], num_frames * 640)
    speech = carrier * np.exp(np.repeat(level, 640) / 2) / 32768
    return Candidate(track, speech.astype(np.float32), lambda: iter(frames))


@pytest.fixture
def brightness(monkeypatch):
    network = BrightnessNet()
    monkeypatch.setattr(sync_meter, "_network", lambda weights, device: network)
    return SyncNetMeter(weights=None, name="SyncNet, own crop")


@pytest.mark.parametrize("late", [-5, -3, 0, 3, 5])
def test_lips_that_are_more_than_three_frames_late_are_rejected(brightness, late):
    checks = brightness(candidate(late), Limits())
    assert [check.value for check in checks][1] == late
    failed = first_failed(checks)
    if abs(late) <= 3:
        assert failed is None and checks[0].value > 3
    else:
        assert failed.reason == "sync_offset"
        assert f"the mouth is {late:+d} frames late, more than 3 (SyncNet" in failed.sentence


def test_lips_of_somebody_else_are_rejected(brightness):
    stranger = candidate(0)
    other = np.random.default_rng(8).permutation(stranger.speech.reshape(60, 640)).ravel()
    failed = first_failed(brightness(Candidate(stranger.track, other, stranger.frames), Limits()))
    assert failed.reason == "sync_c" and failed.value < failed.limit == 3
    assert "(SyncNet, own crop)" in failed.sentence and "proxy" not in failed.sentence


def test_the_meter_says_what_an_evaluation_says(weights):
    clip, meter = candidate(0, num_frames=24), syncnet_meter(weights, OPTIONS)
    expected = score_film(read_syncnet(weights), clip.frames(), clip.track, clip.speech)
    checks = {check.reason: check.value for check in meter(clip, Limits())}
    assert checks == {"sync_c": expected.confidence, "sync_offset": expected.offset}
    assert meter.name.startswith("SyncNet, own crop (sha256 ")
    assert tuple(checks) == meter.reasons


def test_another_file_is_refused_before_any_video_is_read(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors is not SyncNet: netcnn"):
        syncnet_meter(tmp_path / "other.safetensors", OPTIONS)
    with pytest.raises(WeightsError, match="There is no weight file"):
        syncnet_meter(tmp_path / "gone.model", OPTIONS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"fps": 30.0}, "sees 25 frames a second, not 30"), ({"shortest": 0.5}, "from 0.84 s on")],
)
def test_clips_that_syncnet_cannot_judge_are_refused(weights, options, sentence):
    with pytest.raises(OptionsError, match=sentence):
        syncnet_meter(weights, PrepareOptions(size=CLIP_SIZE, **options))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films") / "anna"
    folder.mkdir()
    film(2, num_frames=26).write(folder / "2.mp4")
    return folder.parent


def command(films, out, *more):
    return ["prepare", str(films), "--out", str(out), "--size", str(CLIP_SIZE), "--faces", "stored",
            "--workers", "1", "--shortest", "1", *map(str, more)]  # fmt: skip


def test_the_command_judges_by_syncnet_and_says_so(films, weights, tmp_path, capsys):
    shutil.copytree(films, tmp_path / "films")
    assert main(command(tmp_path / "films", tmp_path / "out", "--syncnet", weights, *ALL_PASS)) == 0
    said = capsys.readouterr().err
    assert "1 clips, 0 rejects" in said
    assert "lips against voice: SyncNet, own crop (sha256" in said
    (clip,) = Dataset(tmp_path / "out").all
    assert clip.meta["lip_sync"].startswith("SyncNet, own crop")
    assert {"sync_c", "sync_offset"} <= clip.meta["measured"].keys()
    assert "mouth_voice" not in clip.meta["measured"]
    assert clip.num_frames == 26  # the frames that SyncNet saw are read again
    begun = json.loads((tmp_path / "out/.prepare/settings.json").read_text())
    assert begun["lip_sync"] == clip.meta["lip_sync"]

    assert main(command(tmp_path / "films", tmp_path / "out")) == 1
    assert "begun with other settings (limits, lip_sync)" in capsys.readouterr().err


def test_limits_of_the_other_meter_are_refused_in_a_sentence(films, weights, tmp_path, capsys):
    cases = {
        "The limit 'sync_c' is not of the mouth-voice proxy": ["--limit", "sync_c=4"],
        "The limit 'mouth_late' is not of the SyncNet": [
            "--limit", "mouth_late=1", "--syncnet", weights,
        ],
        "The device 'meta' cannot be used here": ["--device", "meta"],
    }  # fmt: skip
    for sentence, more in cases.items():
        assert main(command(films, tmp_path / "out", *more)) == 1
        told = capsys.readouterr().err
        assert sentence in told and told.count("\n") == 1


def test_a_video_is_decoded_twice_however_many_clips_it_has(tmp_path, monkeypatch):
    """Measuring and writing take turns; neither may begin at the start again for every clip."""
    begun, numbers = [], np.arange(90)

    def read_frames(path, *, fps):
        begun.append(path)
        return iter(numbers)

    monkeypatch.setattr(one_video, "read_frames", read_frames)
    monkeypatch.setattr(one_video, "cropped_frame", lambda picture, crop: picture)
    again = _Rereader(tmp_path / "a.mp4", FPS)
    for first in (0, 30, 60):
        for _ in range(2):
            assert [*again.frames(first, first + 30, SIZE)] == [*range(first, first + 30)]
    assert len(begun) == 2

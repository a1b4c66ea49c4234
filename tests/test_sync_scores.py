"""SyncNet's scores: what shifts and padding mean, its crop, and files that are not SyncNet."""

import numpy as np
import pytest
import torch
from face_tracks import moving_face, posed
from faces import face
from safetensors.torch import save_file

from echomimic.cli import main
from echomimic.errors import EvaluationError, WeightsError
from echomimic.evaluation.faces import ALIGNED, aligned_faces, similarity, sync_faces
from echomimic.evaluation.mfcc import mfcc
from echomimic.evaluation.sync import score_film, sync_distances, sync_score, wrong_moment
from echomimic.evaluation.syncnet import SyncNet, embed, num_windows, read_syncnet
from echomimic.landmarks.track_file import save_track


def embeddings(lag, count=40):
    """Lips, and sounds that say the same `lag` windows later."""
    torch.manual_seed(0)
    steps = torch.randn(count + 40, 16)
    return steps[20 : 20 + count], steps[20 - lag : 20 - lag + count]


@pytest.mark.parametrize("lag", [0, 3, -5])
def test_a_sound_that_is_late_has_a_negative_offset(lag):
    for padding in (True, False):
        score = sync_score(sync_distances(*embeddings(lag)), padding=padding)
        assert score.offset == -lag
        assert score.confidence > 3
        assert score.windows == 40


def test_a_wrong_moment_is_never_as_sure():
    lips, sounds = embeddings(0, count=80)
    right, wrong = sync_score(sync_distances(lips, sounds)), wrong_moment(lips, sounds)
    assert wrong.confidence < right.confidence / 3
    assert wrong.distance > right.distance + 1
    assert wrong_moment(lips[:59], sounds[:59]) is None


def test_without_padding_nothing_is_compared_with_nothing():
    """Lips near zero would lie nearest to the zeros beyond the ends."""
    lips, sounds = embeddings(0, count=18)
    distances = sync_distances(lips * 0.01, sounds)
    assert abs(sync_score(distances).offset) == 15
    assert sync_score(distances, padding=False).distance > sync_score(distances).distance


def test_clips_shorter_than_the_shifts_have_a_score_too():
    score = sync_score(sync_distances(*embeddings(0, count=4)), padding=False)
    assert np.isfinite([score.confidence, score.distance]).all()


def test_the_shorter_of_picture_and_sound_counts():
    assert num_windows(30, 16_000) == 20
    assert num_windows(11, 16_000) == 6
    with pytest.raises(EvaluationError, match=r"needs 6 frames .* 5 frames and 1.00 s"):
        num_windows(5, 16_000)
    with pytest.raises(EvaluationError, match="0.04 s of sound"):
        num_windows(50, 640)


def test_sound_and_faces_of_another_form_are_refused():
    with pytest.raises(EvaluationError, match="16-bit samples"):
        mfcc(np.zeros(400))
    with pytest.raises(EvaluationError, match=r"uint8 \(f, 224, 224, 3\)"):
        embed(SyncNet(), np.zeros((20, 8, 8, 3), np.uint8), np.zeros(16_000, np.int16))


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(1)
    state = SyncNet().state_dict()
    return {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}


def test_published_and_converted_files_are_read(weights, tmp_path):
    torch.save(weights, tmp_path / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    save_file({n: t.half() for n, t in weights.items()}, tmp_path / "syncnet.safetensors")
    published = read_syncnet(tmp_path / "syncnet_v2.model").state_dict()
    assert all(torch.equal(published[name], tensor) for name, tensor in weights.items())
    converted = read_syncnet(tmp_path / "syncnet.safetensors")
    assert converted.netfcaud[0].weight.dtype == torch.float32
    assert not converted.training


def test_another_networks_file_is_refused(weights, tmp_path):
    state = {name: tensor for name, tensor in weights.items() if name != "netfcaud.3.bias"}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not SyncNet: netfcaud.3.bias is missing"):
        read_syncnet(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        read_syncnet(tmp_path / "gone.model")


def marked(track):
    """Frames in which each landmark's pixel is bright where points are, red above, blue below."""
    width, height = track.size
    frames = np.full((track.num_frames, height, width, 3), 60, np.uint8)
    for frame, points in zip(frames, track.points, strict=True):
        for index, colour in ((4, (255, 0, 0)), (152, (0, 0, 255))):  # nose tip, chin
            x, y = (points[index, :2] * (width, height)).astype(int)
            frame[y - 3 : y + 4, x - 3 : x + 4] = colour
    return frames


def middle_of(picture, channel):
    """x and y of what is of that colour."""
    others = [c for c in range(3) if c != channel]
    weight = picture[..., channel].astype(float) - picture[..., others].max(axis=-1)
    weight = weight.clip(min=0)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_the_square_follows_the_head():
    track = moving_face()
    cuts = list(sync_faces(marked(track), track))
    noses = np.array([middle_of(cut, 0) for cut in cuts])
    assert len(cuts) == track.num_frames
    assert cuts[0].shape == (224, 224, 3)
    assert (abs(noses - 112) < 45).all()
    assert (np.array([middle_of(cut, 2) for cut in cuts])[:, 1] < 215).all()


def test_aligned_faces_have_their_nose_where_it_belongs():
    track = moving_face()
    noses = [middle_of(cut, 0) for cut in aligned_faces(marked(track), track)]
    assert np.abs(np.array(noses) - ALIGNED[2]).max() < 12
    assert np.ptp(noses, axis=0).max() < 12  # the head moves much more


def test_a_similarity_is_found_again():
    points = np.random.default_rng(0).normal(size=(5, 2))
    matrix = np.array([[1.2, -0.7, 3.0], [0.7, 1.2, -2.0]])
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    assert similarity(points, moved) == pytest.approx(matrix)


class BrightnessNet(torch.nn.Module):
    """In place of SyncNet: how bright the middle of the faces is, how loud the sound."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def lips(self, frames):
        return frames[..., 100:130, 100:130].mean(dim=(1, 3, 4)).diff(dim=1)

    def sounds(self, cepstra):
        energy = cepstra[:, 0, 0].unflatten(1, (5, 4)).mean(dim=2)
        return energy.diff(dim=1)


@pytest.mark.parametrize("late", [0, 4])
def test_a_films_face_is_compared_with_its_sound(late):
    """The picture is as bright as the sound is loud, some frames earlier or later."""
    level = np.random.default_rng(3).uniform(3, 9, 60)  # of the logarithm of the energy
    track = posed(np.repeat(face()[None], 60, axis=0))
    width, height = track.size
    shown = np.roll(level, -late)[:, None, None, None] * 20
    frames = np.broadcast_to(shown, (60, height, width, 3)).astype(np.uint8)
    carrier = np.random.default_rng(4).choice([-1.0, 1.0], 60 * 640)
    speech = carrier * np.exp(np.repeat(level, 640) / 2) / 32768

    score = score_film(BrightnessNet(), frames, track, speech)

    assert score.offset == -late
    assert score.windows == 55
    assert ("in step" if not late else "the sound 4 frames after the lips") in score.text()


def test_films_of_another_rate_or_too_short_are_refused():
    track = posed(np.repeat(face()[None], 5, axis=0))
    frames = np.zeros((5, track.size[1], track.size[0], 3), np.uint8)
    with pytest.raises(EvaluationError, match="needs 6 frames"):
        score_film(BrightnessNet(), frames, track, np.zeros(16_000))
    with pytest.raises(EvaluationError, match="25 frames a second, not 24"):
        score_film(BrightnessNet(), frames, posed(track.mesh, fps=24.0), np.zeros(16_000))


def test_the_report_needs_pictures_for_syncnet(tmp_path, capsys):
    save_track(moving_face(), tmp_path / "clip.npz")
    assert main(["report", str(tmp_path / "clip.npz"), "--syncnet", "syncnet_v2.model"]) == 1
    assert "--syncnet needs a video's pictures and a voice" in capsys.readouterr().err

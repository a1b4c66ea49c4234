"""The report: what is put into a face and a voice is what it says."""

import json

import numpy as np
import pytest
from face_tracks import moving_face, posed, without_mesh
from faces import face

from echomimic.assets.make_assets import write_wav
from echomimic.cli import main
from echomimic.errors import OptionsError
from echomimic.landmarks.track_file import save_track
from echomimic.puppets.clip import PuppetClip
from echomimic.report import measures
from echomimic.report.motion_report import motion_report
from echomimic.report.plot import draw_report

FPS = 25.0
EYE_DISTANCE = 8.8  # centimetres between the outer corners of the drawn-up face
STEEPNESS = np.hypot(1, 6 / 16)  # its mouth lies on a slope


@pytest.fixture(scope="module")
def clip():
    """A puppet that speaks for six seconds."""
    return PuppetClip(11, 150, FPS, "lively")


@pytest.fixture(scope="module")
def track(clip):
    return clip.track(128)


@pytest.fixture(scope="module")
def report(clip, track):
    return motion_report(track, clip.heard)


def talking(opening, lids=None):
    """A still head whose mouth opens as told, in centimetres."""
    lids = np.ones(len(opening)) if lids is None else lids
    return posed(
        np.stack([face(gap=gap, lids=lid) for gap, lid in zip(opening, lids, strict=True)])
    )


def bursts(opening, late=0):
    """A voice that is loud where a mouth is open, the mouth `late` frames behind it."""
    samples = np.repeat(np.roll(opening, -late), round(16_000 / FPS))
    return 0.3 * samples * np.random.default_rng(0).standard_normal(len(samples))


def test_mouth_opening_is_the_gap_in_distances_between_the_eyes():
    opening = measures.mouth_opening(talking(np.array([0.0, 0.5, 1.0])))
    assert opening[0] == pytest.approx(0, abs=1e-6)
    assert opening[2] == pytest.approx(2 * opening[1], rel=1e-6)
    assert opening[2] == pytest.approx(STEEPNESS / EYE_DISTANCE, rel=1e-6)


def test_mouth_opening_does_not_depend_on_head_pose_or_on_a_mesh():
    track = moving_face()
    known, seen = measures.mouth_opening(track), measures.mouth_opening(without_mesh(track))
    assert np.corrcoef(known, seen)[0, 1] > 0.99
    assert known.max() > 1.5 * known.min()


@pytest.mark.parametrize("late", [-4, 0, 5])
def test_lag_of_a_mouth_is_found(late):
    opening = np.random.default_rng(late + 9).uniform(0, 1, 100)
    made = motion_report(talking(opening), bursts(opening, late))
    assert made.lag == pytest.approx(late / FPS)
    assert made.correlation > 0.7


def test_loudness_of_a_recording_does_not_matter():
    opening = np.random.default_rng(1).uniform(0, 1, 60)
    levels = [measures.voice_level(gain * bursts(opening), 60, FPS) for gain in (0.01, 1)]
    assert np.allclose(*levels)
    assert levels[0].max() == 0


def test_puppet_follows_its_voice_and_not_another(report, track):
    other = motion_report(track, PuppetClip(12, 150, FPS).heard)
    assert report.correlation > 0.5
    assert abs(report.lag) <= 2 / FPS
    assert report.correlation > report.chance + 0.15
    assert other.correlation < report.correlation


def test_blinks_are_counted_and_sleep_is_not():
    lids = np.ones(200)
    for start in (20, 80, 140):
        lids[start : start + 4] = 0.1
    lids[160:195] = 0.05  # longer than a blink
    made = motion_report(talking(np.zeros(200), lids))
    assert made.blinks.tolist() == [20, 80, 140]
    assert made.blinks_per_minute == pytest.approx(3 / 8 * 60)


def test_half_closed_eyes_are_no_blink():
    lids = np.where(np.arange(100) % 20 < 5, 0.75, 1.0)
    assert len(motion_report(talking(np.zeros(100), lids)).blinks) == 0


def test_blinks_of_a_puppet_are_those_it_performs(report, clip):
    closed = clip.performance.blink > 0.6
    performed = int((closed[1:] & ~closed[:-1]).sum())
    assert len(report.blinks) == performed


def test_seam_index_is_one_without_seams_and_shows_a_jump_at_borders():
    shift = np.cumsum(np.random.default_rng(0).normal(0, 0.05, 120))
    places = np.stack([shift, 0 * shift, 0 * shift], axis=1)
    mesh = np.repeat(face()[None], 120, axis=0)
    plain = motion_report(posed(mesh, shift=places), border_every=30)
    places[:, 0] += 2 * (np.arange(120) // 30)
    jumping = motion_report(posed(mesh, shift=places), border_every=30)
    assert 0.6 < plain.seam < 1.6
    assert jumping.seam > 5
    frame, times = measures.largest_jump(jumping.roughness)
    assert frame % 30 in (0, 29)
    assert times > 5


def test_even_motion_does_not_flicker_and_jitter_does():
    glide = np.linspace((0, 0, 0), (3, 0, 0), 60)
    mesh = np.repeat(face()[None], 60, axis=0)
    even = motion_report(posed(mesh, shift=glide)).roughness.mean()
    shaken = glide + np.random.default_rng(0).normal(0, 0.05, glide.shape)
    assert motion_report(posed(mesh, shift=shaken)).roughness.mean() > 20 * max(even, 0.05)


def test_picture_flicker_counts_the_background_only(track):
    pictures = np.full((150, 128, 128, 3), 100, np.uint8)
    pictures[::2] += 10  # brightness pumps
    box = track.points[..., :2].min(axis=(0, 1)) * 128, track.points[..., :2].max(axis=(0, 1)) * 128
    (x0, y0), (x1, y1) = box
    inside = pictures.copy()
    inside[:, int(y0) + 2 : int(y1) - 2, int(x0) + 2 : int(x1) - 2] = 0
    for frames in (pictures, inside):
        made = motion_report(track, frames=iter(frames))
        assert made.picture_roughness == pytest.approx(np.full(148, 20.0))


def test_pictures_of_another_clip_are_refused(track):
    with pytest.raises(OptionsError, match="150 frames but the pictures 10"):
        motion_report(track, frames=np.zeros((10, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(("num_frames", "border"), [(2, 0), (10, 2), (10, -1)])
def test_clips_that_are_too_short_are_refused(num_frames, border):
    with pytest.raises(OptionsError):
        motion_report(talking(np.zeros(num_frames)), border_every=border)


def test_a_face_that_never_moves_has_figures_too():
    made = motion_report(talking(np.zeros(60)), np.zeros(60 * 640), border_every=20)
    assert made.correlation == 0
    assert made.lag is None
    assert "does not follow" in made.text()
    assert draw_report(made).std() > 0


def test_plot_has_the_size_asked_for_and_shows_the_voice(report, track):
    with_voice, without = draw_report(report, (800, 600)), draw_report(motion_report(track))
    assert with_voice.shape == (600, 800, 3)
    assert with_voice.dtype == np.uint8
    assert without.shape == (768, 1024, 3)


def test_command_writes_figures_and_plot(track, clip, tmp_path, capsys):

    save_track(track, tmp_path / "clip.npz")
    write_wav(tmp_path / "voice.wav", (clip.heard * 32767).astype(np.int16))
    names = {"out": tmp_path / "plot.png", "json": tmp_path / "figures.json"}
    more = [f"--{name}={path}" for name, path in names.items()]
    sound = f"--audio={tmp_path / 'voice.wav'}"
    assert main(["report", str(tmp_path / "clip.npz"), sound, *more]) == 0
    figures = json.loads(names["json"].read_text())
    assert figures["mouth_correlation"] > 0.5
    assert names["out"].stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "Sync-C" in said
    assert f"correlation {figures['mouth_correlation']:.2f}" in said

"""An evaluation from files to report: figures, what is left out, and going on after a kill."""

import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from echomimic.cli import main
from echomimic.errors import EvaluationError, LandmarkError, OptionsError
from echomimic.evaluation import bootstrap, store
from echomimic.evaluation import evaluate as measure
from echomimic.evaluation.compare import compare, read_report
from echomimic.evaluation.evaluate import evaluate
from echomimic.evaluation.frechet import frechet_distance
from echomimic.evaluation.measure import Setup
from echomimic.evaluation.networks import Weights
from echomimic.evaluation.pairs import Pair, find_pairs, read_pair
from echomimic.evaluation.plot import draw_evaluation
from echomimic.evaluation.summary import summarise
from echomimic.evaluation.text import report_text
from echomimic.media.sound import Audio
from echomimic.media.video import write_video
from echomimic.puppets.clip import PuppetClip

FRAMES, SIZE, FPS = 40, 64, 25.0
SEEDS = {"anna": 21, "ben": 22}


class Colours:
    """A feature network that sees the mean colour of each third of a picture's height."""

    name, protocol = "colours", "mean colours of three stripes"
    weights = Weights("colours.pt", "c0ffee", "none")

    def features(self, frames):
        stripes = np.array_split(frames.astype(np.float32), 3, axis=1)
        return np.concatenate([stripe.mean(axis=(1, 2)) for stripe in stripes], axis=1)


def write(path, frames, speech=None):
    path.parent.mkdir(exist_ok=True)
    sound = None if speech is None else Audio(torch.from_numpy(speech)[None].float(), 16_000)
    size = frames.shape[2], frames.shape[1]
    write_video(path, frames, fps=FPS, num_frames=len(frames), size=size, soundtrack=sound, crf=10)


@pytest.fixture(scope="module")
def puppets():
    return {name: PuppetClip(seed, FRAMES, FPS, "lively") for name, seed in SEEDS.items()}


@pytest.fixture(scope="module")
def folders(puppets, tmp_path_factory):
    """Real clips, and generated ones that are a little darker and whose mouths are right."""
    root = tmp_path_factory.mktemp("evaluation")
    for name, clip in puppets.items():
        frames = clip.frames(SIZE)
        write(root / "real" / f"{name}.mp4", frames, clip.heard)
        write(root / "made" / f"{name}.mp4", (frames * 0.9).astype(np.uint8), clip.heard)
    return root


class Tracker:
    """Knows the puppets' faces by name, counts how often it is asked, and may be killed."""

    def __init__(self, puppets, dies_at=None):
        self.puppets, self.asked, self.dies_at = puppets, [], dies_at

    def __call__(self, frames, name):
        self.asked.append(name)
        if name == self.dies_at:
            raise KeyboardInterrupt
        track = self.puppets[name.split()[-1].split(".")[0]].track(SIZE)
        scores = np.random.default_rng(int(frames.sum())).random((track.num_frames, 52))
        return replace(track, blendshapes=scores, source=name)


def setup(puppets, **more):
    return Setup(tracker=Tracker(puppets), images=Colours(),
                 weights={"colours": Colours.weights}, **more)  # fmt: skip


@pytest.fixture(scope="module")
def found(folders, puppets, tmp_path_factory):
    pairs = find_pairs(folders / "real", folders / "made")
    numbers = np.random.default_rng(0).normal(size=(2, 50, 3))
    return evaluate(pairs, setup(puppets), tmp_path_factory.mktemp("out"),
                    tracked_by="truth", coefficients=tuple(numbers))  # fmt: skip


def row(found, title):
    return next(row for row in found.rows if row.title == title)


def test_figures_are_means_over_clips_with_an_interval(found):
    values = [one.figures["psnr"] for one in found.measured.values()]
    psnr = row(found, "PSNR")
    assert psnr.value == pytest.approx(np.mean(values))
    assert psnr.interval[0] <= psnr.value <= psnr.interval[1]
    assert (psnr.clips, psnr.samples) == (2, 2 * FRAMES)
    assert 15 < psnr.value < 40


def test_distances_are_of_all_frames_and_have_a_floor(found):
    features = [np.concatenate([one.features[name] for one in found.measured.values()])
                for name in ("fid", "fid real")]  # fmt: skip
    fid = row(found, "FID")
    assert fid.value == pytest.approx(frechet_distance(*features), rel=1e-4)
    assert fid.floor > 0
    assert fid.interval[0] <= fid.value <= fid.interval[1]
    kid = row(found, "KID")  # few samples
    assert kid.interval[0] <= kid.value <= kid.interval[1]
    assert kid.floor is not None
    assert row(found, "BS-FD, mouth").samples == 2 * FRAMES
    assert "biased upwards" not in fid.note


def test_generated_lips_move_as_the_real_ones_and_follow_the_voice(found):
    assert row(found, "mouth and real mouth, r").value == pytest.approx(1)
    assert row(found, "landmark error, mouth").value == 0
    voice = row(found, "mouth and loudness, r")
    assert voice.value > 0.3
    assert voice.real == pytest.approx(voice.value, abs=0.05)


class MouthNet(torch.nn.Module):
    """In place of SyncNet, to see that its figures arrive."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def lips(self, frames):
        return frames.mean(dim=(1, 3, 4))

    def sounds(self, cepstra):
        return cepstra[:, 0, 0, :5]


def test_lip_sync_of_generated_clips_stands_beside_that_of_real_ones(folders, puppets, tmp_path):
    pair = Pair("ben", folders / "real/ben.mp4", folders / "made/ben.mp4")
    found = evaluate([pair], setup(puppets, syncnet=MouthNet()), tmp_path)
    for title in ("Sync-C (SyncNet, own crop)", "Sync-D (SyncNet, own crop)"):
        assert row(found, title).value > 0
        assert row(found, title).real > 0
    with pytest.raises(EvaluationError, match="25 frames a second"):
        Setup(fps=30, syncnet=MouthNet())


def test_less_than_three_frames_are_refused_where_they_are_asked_for():
    with pytest.raises(EvaluationError, match=r"0.01 seconds at 25 fps .* at least 0.12 seconds"):
        Setup(seconds=0.01)


def test_what_has_no_weights_is_named_and_has_no_value(found):
    for title, needs in (("Sync-C (SyncNet, own crop)", "SyncNet"), ("FVD", "I3D"),
                         ("LPIPS", "LPIPS"), ("CSIM", "identity network")):  # fmt: skip
        assert row(found, title).value is None
        assert needs in row(found, title).note
        assert "absent" in row(found, title).note
    assert row(found, "E-FID").value is not None


def test_report_says_protocol_weights_and_what_is_absent(found):
    text, figures = report_text(found), json.loads(json.dumps(found.figures()))
    assert "| SSIM |" in text
    assert "- FVD: not computed (FVD's I3D absent)" in text
    assert "mean colours of three stripes" in text
    assert "sha256 c0ffee" in text
    assert figures["protocol"]["pairs"] == 2
    assert figures["protocol"]["sizes"] == f"{SIZE}x{SIZE}"
    assert "1000 draws of means, 100 of distances" in figures["protocol"]["intervals"]
    assert "E-FID | " in text and "no interval: the coefficients do not say" in text
    assert figures["protocol"]["landmarks"] == "truth"
    assert set(figures["clips"]) == set(SEEDS)


def test_plot_shows_every_measure_that_has_a_value(found):
    picture = draw_evaluation(found)
    known = sum(row.value is not None for row in found.rows)
    assert picture.shape == (-(-known // 4) * 220, 1200, 3)
    red = picture[..., 0].astype(int) - picture[..., 1] > 80
    for number in range(known):
        line, column = divmod(number, 4)
        assert red[220 * line : 220 * (line + 1), 300 * column : 300 * (column + 1)].any(), number


def test_two_methods_are_told_apart_on_the_same_clips(found, tmp_path):
    other = json.loads(json.dumps(found.figures()))
    for clip in other["clips"].values():
        clip["figures"]["psnr"] -= 3
    (tmp_path / "report.json").write_text(json.dumps(other))
    differences = {one.title: one for one in compare(found, read_report(tmp_path / "report.json"))}
    assert differences["PSNR"].value == pytest.approx(3)
    assert differences["PSNR"].differs
    assert not differences["SSIM"].differs
    assert differences["SSIM"].clips == 2
    assert "| PSNR | 3 | 3 to 3 | 2 | differs |" in report_text(found, [*differences.values()])


def test_evaluations_of_other_settings_or_clips_do_not_compare(found, tmp_path):
    other = json.loads(json.dumps(found.figures()))
    with pytest.raises(EvaluationError, match="differ in fps, weights, so their figures"):
        compare(found, other | {"protocol": other["protocol"] | {"fps": 24.0, "weights": {}}})
    with pytest.raises(EvaluationError, match="share no clip"):
        compare(found, other | {"clips": {}})
    for content in ("[]", "no json", '{"protocol": {}}'):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(EvaluationError, match="no report of an evaluation"):
            read_report(tmp_path / "report.json")


def test_evaluations_of_other_real_clips_or_sizes_do_not_compare(found):
    """Though the clips have the same names."""
    for change, sentence in (
        ({"size": [32, 32]}, "another size, anna for one"),
        ({"real_blake2b": "c0ffee"}, "other real clips, anna for one"),
    ):
        other = json.loads(json.dumps(found.figures()))
        other["clips"]["anna"] |= change
        with pytest.raises(EvaluationError, match=rf"{sentence} \(1 of 2\)"):
            compare(found, other)
    made = json.loads(json.dumps(found.figures()))
    made["clips"]["anna"]["generated_blake2b"] = "c0ffee"  # as another method's are
    assert compare(found, made)


def test_the_real_figure_is_of_the_clips_whose_value_it_stands_beside(found):
    anna, ben = found.measured.values()
    silent = replace(ben, figures={n: v for n, v in ben.figures.items() if n != "voice"})
    voice = next(row for row in summarise([anna, silent]) if row.name == "voice")
    assert voice.real == anna.figures["real voice"]
    assert voice.note == "of 1 of 2 clips"
    deaf = replace(ben, figures={n: v for n, v in ben.figures.items() if n != "real voice"})
    voice = next(row for row in summarise([anna, deaf]) if row.name == "voice")
    assert voice.note == "real clips: 1 of them"


def test_an_evaluation_goes_on_where_it_was_killed(folders, puppets, tmp_path):
    pairs = find_pairs(folders / "real", folders / "made")
    killed = Tracker(puppets, dies_at="The real ben.mp4")
    with pytest.raises(KeyboardInterrupt):
        evaluate(pairs, replace(setup(puppets), tracker=killed), tmp_path)
    again = setup(puppets)
    first = evaluate(pairs, again, tmp_path)
    assert again.tracker.asked == ["The real ben.mp4", "The generated ben.mp4"]
    third = setup(puppets)
    assert evaluate(pairs, third, tmp_path).rows == first.rows
    assert third.tracker.asked == []

    damaged = tmp_path / "clips/anna.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    other = setup(puppets)
    evaluate(pairs, other, tmp_path)
    assert other.tracker.asked == ["The real anna.mp4", "The generated anna.mp4"]
    changed = setup(puppets, border_every=10)
    evaluate(pairs, changed, tmp_path)
    assert len(changed.tracker.asked) == 4


def test_clips_that_cannot_be_measured_are_left_out_and_said(folders, puppets, tmp_path):
    frames = puppets["ben"].frames(SIZE)
    (tmp_path / "corrupt.mp4").write_bytes((folders / "made/ben.mp4").read_bytes()[:700])
    write(tmp_path / "short.mp4", frames[:10])
    write(tmp_path / "one.mp4", frames[:1])
    write(tmp_path / "wide.mp4", frames[:, :40])
    pairs = [Pair(name, folders / "real/ben.mp4", tmp_path / f"{name}.mp4")
             for name in ("corrupt", "short", "one", "wide")]  # fmt: skip
    pairs += [Pair("faceless", folders / "real/ben.mp4", folders / "made/ben.mp4"),
              Pair("anna", folders / "real/anna.mp4", folders / "made/anna.mp4")]  # fmt: skip

    def tracker(frames, name):
        if name == "The generated ben.mp4":
            raise LandmarkError(f"{name} shows no face in any of its {len(frames)} frames.")
        return Tracker(puppets)(frames, name)

    found = evaluate(pairs, Setup(tracker=tracker), tmp_path / "out")
    assert list(found.measured) == ["anna"]
    sentences = {
        "corrupt": "The generated corrupt.mp4 is damaged",
        "short": "The real ben.mp4 has 40 frames and the generated short.mp4 10; give clips of the",
        "one": "The generated one.mp4 has 1 frame at 25 fps, at least 3 are needed",
        "wide": "The real ben.mp4 is 64x64 and the generated wide.mp4 64x40, another shape",
        "faceless": "The generated ben.mp4 shows no face in any of its 40 frames",
    }
    assert set(found.left_out) == set(sentences)
    for name, sentence in sentences.items():
        assert sentence in found.left_out[name]
        assert found.left_out[name] in report_text(found)
    with pytest.raises(
        EvaluationError, match="None of the 4 pairs can be measured; corrupt: The gen"
    ):
        evaluate(pairs[:4], Setup(), tmp_path / "out")


def test_what_is_no_file_is_left_out_and_the_rest_goes_on(folders, puppets, tmp_path, monkeypatch):
    """A link to nowhere, a folder with the name of a video, a file that only others may read."""
    made = tmp_path / "made"
    (made / "folder.mp4").mkdir(parents=True)
    (made / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    (made / "locked.mp4").touch()
    shutil.copy(folders / "made/anna.mp4", made / "zoe.mp4")
    real = folders / "real/anna.mp4"
    pairs = [Pair(path.stem, real, path) for path in sorted(made.iterdir())]
    digest = store.file_digest

    def locked(path):
        if path.name == "locked.mp4":
            raise PermissionError(13, "Permission denied")
        return digest(path)

    monkeypatch.setattr(store, "file_digest", locked)
    found = evaluate(pairs, Setup(), tmp_path / "out")
    assert list(found.measured) == ["zoe"]
    reasons = {"folder": "Is a directory", "link": "No such file", "locked": "Permission denied"}
    assert found.left_out.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert found.left_out[name].startswith(f"The generated {name}.mp4 cannot be read ({reason}")


def test_damage_within_a_video_is_found_and_the_clip_left_out(folders, puppets, tmp_path):
    """FFmpeg makes up what cannot be decoded of a frame, and goes on."""
    whole = (folders / "made/anna.mp4").read_bytes()
    with av.open(str(folders / "made/anna.mp4")) as container:
        packet = next(container.demux(video=0))
    start, end = packet.pos + packet.size // 2, packet.pos + packet.size
    (tmp_path / "hole.mp4").write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.mp4").write_bytes(whole)
    pairs = [Pair(name, folders / "real/anna.mp4", tmp_path / f"{name}.mp4")
             for name in ("hole", "half", "whole")]  # fmt: skip
    found = evaluate(pairs, Setup(), tmp_path / "out")
    assert list(found.measured) == ["whole"]
    assert "The generated hole.mp4 is damaged: 1 of its packets" in found.left_out["hole"]
    assert "The pictures of the generated half.mp4 end early: " in found.left_out["half"]


def test_why_no_clip_has_a_measure_is_said(folders, puppets, tmp_path):
    """Its network was given: the clip is silent, too short, or shows too little of a face."""

    class Short(Colours):
        def features(self, frames):
            raise EvaluationError("FVD needs clips of at least 16 frames; this one has 10.")

    def tracker(frames, name):
        track = Tracker(puppets)(frames, name)
        return replace(track, valid=np.arange(track.num_frames) < 5)

    write(tmp_path / "anna.mp4", puppets["anna"].frames(SIZE))
    pair = Pair("anna", folders / "real/anna.mp4", tmp_path / "anna.mp4")
    given = Setup(tracker=tracker, clips=Short(), syncnet=MouthNet())
    found = evaluate([pair], given, tmp_path / "out")
    silent, faceless = "The generated anna.mp4 is silent", "no face in 88% of its frames, too many"
    reasons = {
        "FVD": "this one has 10", "mouth after voice": silent, "BS-FD": faceless,
        "landmark error": faceless, "mouth and real mouth, r": faceless,
        "Sync-C (SyncNet, own crop)": silent, "seam index of the head": "--border-every",
    }  # fmt: skip
    for title, reason in reasons.items():
        assert reason in row(found, title).note
        assert "absent" not in row(found, title).note
    assert (
        found.measured["anna"].notes.count(row(found, "BS-FD").note[len("not computed: ") :]) == 1
    )
    blind = evaluate([pair], replace(given, tracker=None), tmp_path / "blind")
    assert "there is no face landmarker" in row(blind, "SyncNet's offset").note
    assert "fewer than 65 frames" in row(
        evaluate([Pair("ben", folders / "real/ben.mp4", folders / "made/ben.mp4")],
                 replace(given, tracker=Tracker(puppets)), tmp_path / "ben"),
        "Sync-C of a wrong moment").note  # fmt: skip


def test_silent_clips_are_measured_but_not_heard(folders, puppets, tmp_path):
    frames = puppets["anna"].frames(SIZE)
    write(tmp_path / "anna.mp4", frames, np.zeros(len(puppets["anna"].heard)))
    write(tmp_path / "anna.mkv", frames)
    for name in ("anna.mp4", "anna.mkv"):
        pair = Pair("anna", folders / "real/anna.mp4", tmp_path / name)
        found = evaluate([pair], setup(puppets), tmp_path / name[-3:])
        figures = found.measured["anna"].figures
        assert "voice" not in figures
        assert figures["real voice"] > 0
        assert figures["ssim"] > 0.9
        assert (
            f"The generated {name} is silent, so nothing is said of its lips and voice"
            in report_text(found)
        )


def test_larger_real_clips_are_shrunk_to_the_generated_size(folders, puppets, tmp_path):
    write(tmp_path / "large.mp4", puppets["anna"].frames(2 * SIZE))
    pair = Pair("anna", tmp_path / "large.mp4", folders / "real/anna.mp4")
    real, made = read_pair(pair, fps=FPS, seconds=1, tracker=None)
    assert real.frames.shape == made.frames.shape == (25, SIZE, SIZE, 3)
    assert np.abs(real.frames.astype(int) - made.frames).mean() < 8


def test_too_few_samples_are_no_distance_but_a_sentence(found):
    one = next(iter(found.measured.values()))
    lonely = replace(one, features={n: array[:1] for n, array in one.features.items()})
    fid = next(row for row in summarise([lonely]) if row.name == "fid")
    assert fid.value is None
    assert "1 sample has no covariance" in fid.note
    few = replace(one, features={n: array[:5] for n, array in one.features.items()})
    fid = next(row for row in summarise([few]) if row.name == "fid")
    assert "5 samples of 9 features: biased upwards" in fid.note
    assert fid.interval is None  # of a single clip nothing is known


def test_clips_without_a_counterpart_are_named(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionsError, match="holds no videos"):
        find_pairs(folders / "real", tmp_path / "empty")
    with pytest.raises(OptionsError, match="gone is no folder of videos"):
        find_pairs(folders / "real", tmp_path / "gone")
    (tmp_path / "carl.mp4").touch()
    with pytest.raises(OptionsError, match=r"empty is a folder and .*carl.mp4 a file; give two"):
        find_pairs(tmp_path / "carl.mp4", tmp_path / "empty")
    with pytest.raises(OptionsError, match=r"has no video named (anna|ben)"):
        find_pairs(folders / "real", tmp_path)
    assert [pair.name for pair in find_pairs(folders / "real/ben.mp4", folders / "made/ben.mp4")]


def test_intervals_hold_what_they_should():
    """Of 200 samples of a known mean, about 95 % of the intervals hold it."""
    source = np.random.default_rng(0)
    held = 0
    for number in range(200):
        low, high = bootstrap.mean_interval(source.normal(3, 1, 30), seed=number)
        held += low <= 3 <= high
    assert 178 <= held <= 198
    assert bootstrap.mean_interval([1.0]) is None
    worse = source.normal(0, 1, 30)
    low, high = bootstrap.difference_interval(worse + 0.5, worse)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)


def test_command_writes_a_report_and_refuses_wrong_files(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where there is no folder of models
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.model").write_text("no network")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces/face_landmarker.task").write_text("no model")
    np.save(tmp_path / "curves.npy", np.zeros(5))
    np.save(tmp_path / "six.npy", np.random.default_rng(0).normal(size=(30, 6)))
    np.save(tmp_path / "five.npy", np.ones((30, 5)))
    np.save(tmp_path / "lost.npy", np.where(np.arange(30)[:, None] == 7, np.nan, np.ones((30, 6))))
    base = ["evaluate", "--real", str(folders / "real"), "--generated", str(folders / "made"),
            "--out", str(tmp_path / "out"), "--seconds", "0.4"]  # fmt: skip
    assert main(base) == 0
    said = capsys.readouterr()
    assert "No face landmarker was found" in said.err
    assert (tmp_path / "out/report.md").read_text() == said.out
    figures = json.loads((tmp_path / "out/report.json").read_text())
    assert figures["protocol"]["device"] == "cpu"
    assert (tmp_path / "out/report.png").stat().st_size > 5_000
    assert {name: one["frames"] for name, one in figures["clips"].items()} == dict.fromkeys(
        SEEDS, 10
    )
    wrong = {
        "--syncnet other.safetensors": "other.safetensors is not SyncNet",
        "--inception other.safetensors": "instead of 6726825d",
        "--i3d other.safetensors": "give the sha256",
        "--lpips other.safetensors": "the backbone AlexNet is missing",
        "--syncnet gone.model": "There is no weight file gone.model",
        "--syncnet text.model": "text.model is no file of PyTorch",
        "--expressions text.model six.npy": "no .npy file of numpy",
        "--models faces": "face_landmarker.task is not a face landmarker, or damaged",
        "--out text.model": "The folder text.model/clips cannot be made",
        "--seconds 0.01": "give at least 0.12 seconds",
        "--expressions curves.npy curves.npy": "not numbers (frames, coefficients)",
        "--expressions six.npy five.npy": "six.npy has 6 coefficients a frame and five.npy 5",
        "--expressions six.npy lost.npy": "lost.npy holds coefficients that are not numbers, of "
        "the frame 7 first",
        "--device meta": "The device 'meta' cannot be used here",
        "--fps 0": "Give --fps",
        "--fps nan": "Give --fps",
        "--seconds inf": "Give --fps",
    }
    monkeypatch.setattr(measure, "read_pair", lambda *_, **__: pytest.fail("read before checks"))
    for options, sentence in wrong.items():
        assert main([*base, "--out", "elsewhere", *options.split()]) == 1
        told = capsys.readouterr().err
        assert sentence in told and "Traceback" not in told


def test_e_fid_is_of_the_coefficients_that_are_given_and_names_their_files(
    folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    real, made = np.random.default_rng(0).normal(size=(2, 30, 6))
    np.save("real.npy", real)
    np.save("made.npy", made + 1)
    np.save("one.npy", made[:1])
    base = ["evaluate", "--real", str(folders / "real"), "--generated", str(folders / "made"),
            "--out", "out", "--seconds", "0.2", "--expressions", "real.npy"]  # fmt: skip
    assert main([*base, "made.npy"]) == 0
    figures = json.loads((tmp_path / "out/report.json").read_text())
    efid = next(row for row in figures["measures"] if row["name"] == "efid")
    assert efid["value"] == pytest.approx(frechet_distance(made + 1, real))
    assert efid["floor"] > 0
    assert "made.npy (30 frames), sha256 " in figures["protocol"]["expressions"]["generated"]
    assert "expressions, real: real.npy (30 frames), sha256 " in capsys.readouterr().out
    assert main([*base, "one.npy"]) == 0  # what other measures say is not lost
    assert "E-FID: not computed: 1 sample has no covariance" in capsys.readouterr().out

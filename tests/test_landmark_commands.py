"""`echomimic landmarks` and the options of `animate` that drive by landmarks."""

import av
import numpy as np
import pytest
from faces import face, poses, track_of
from PIL import Image
from support import real_input

from echomimic import cli
from echomimic.assets import FACE_BOX, PORTRAIT, VOICE
from echomimic.landmarks.track_file import load_track, save_track

LANDMARKER = "models/face_landmarker_v2_with_blendshapes.task"
FRAMES, RATE = 4, 10.0


@pytest.fixture()
def track(tmp_path):
    """A file with a face that turns its head."""
    turns = np.stack([np.zeros(FRAMES), np.linspace(-5, 5, FRAMES), np.zeros(FRAMES)], axis=1)
    save_track(track_of(face(), poses(turns, (0, 0, -40)), fps=RATE), tmp_path / "turning.npz")
    return tmp_path / "turning.npz"


@pytest.fixture()
def run(capsys):
    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return run


@pytest.fixture()
def models(tmp_path):
    """A folder that holds the landmarker and nothing else."""
    pytest.importorskip("mediapipe")
    source = real_input(LANDMARKER)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / source.name).symlink_to(source)
    return folder


def test_info_says_what_is_in_a_file(run, track):
    status, shown = run("landmarks", "info", track)
    assert status == 0
    assert f"{FRAMES}" in shown and "0.40 at 10 fps" in shown and "mesh" in shown


def test_draw_makes_a_video_or_a_sheet(run, track, tmp_path):
    pytest.importorskip("cv2")
    assert run("landmarks", "draw", track, tmp_path / "d.mp4", "--size", "64x48")[0] == 0
    with av.open(str(tmp_path / "d.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, float(video.average_rate)) == (64, 48, RATE)
        assert sum(1 for _ in container.decode(video)) == FRAMES
    assert run("landmarks", "draw", track, tmp_path / "d.png", "--size", "64")[0] == 0
    with Image.open(tmp_path / "d.png") as sheet:
        assert sheet.width > FRAMES * 64 and sheet.height == 64


def test_only_the_parts_asked_for_are_drawn(run, track, tmp_path):
    pytest.importorskip("cv2")
    amounts = []
    for parts in ("nose", "eyes-and-brows", "all"):
        out = tmp_path / f"{parts}.png"
        assert run("landmarks", "draw", track, out, "--parts", parts, "--size", "64")[0] == 0
        amounts.append((np.array(Image.open(out)) != 0).sum())
    assert amounts == sorted(set(amounts))


def test_import_turns_arrays_into_a_file(run, tmp_path):
    points = np.random.default_rng(0).uniform(100, 400, (3, 478, 3))
    np.save(tmp_path / "poses.npy", points)
    out = tmp_path / "poses.npz"
    assert run("landmarks", "import", tmp_path / "poses.npy", out, "--fps", "30")[0] == 0
    imported = load_track(out)
    assert (imported.num_frames, imported.fps, imported.size) == (3, 30.0, (512, 512))
    np.testing.assert_allclose(imported.points[..., :2] * 512, points[..., :2], atol=0.01)


def test_extract_and_sync_fit_a_driver_to_a_portrait(run, models, tmp_path):
    out, synced = tmp_path / "portrait.npz", tmp_path / "synced.npz"
    assert run("landmarks", "extract", PORTRAIT, out, "--models", models)[0] == 0
    assert load_track(out).num_frames == 1

    status, shown = run("landmarks", "sync", out, PORTRAIT, synced, "--models", models)

    assert status == 0, shown
    fitted = load_track(synced)
    assert fitted.size == (512, 512) and fitted.neutral is not None


def test_portrait_points_replace_the_detector(run, models, track, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("RGB", (128, 128), (90, 120, 90)).save(blank)
    sync = ["landmarks", "sync", track, blank, tmp_path / "s.npz", "--models", models]

    status, shown = run(*sync)
    assert status == 1 and "face" in shown and "by hand" in shown

    points = [45, 54, 83, 54, 64, 74, 49, 92, 79, 92]
    assert run(*sync, "--portrait-points", *points)[0] == 0
    eyes = load_track(tmp_path / "s.npz").points[:, [468, 473], :2].mean(axis=(0, 1))
    np.testing.assert_allclose(eyes, [0.5, 54 / 128], atol=0.05)


class TestAnimate:
    @pytest.fixture()
    def animate(self, run, tiny_models, tmp_path):
        pytest.importorskip("cv2")

        def animate(*more):
            return run(
                "animate", "--portrait", PORTRAIT, "--out", tmp_path / "out.mp4", "--models",
                tiny_models, "--size", "64", "--steps", "1", "--cfg", "1", "--device", "cpu",
                "--face-box", *FACE_BOX, *more,
            )  # fmt: skip

        return animate

    def test_landmarks_choose_their_variant(self, animate, track, tmp_path):
        assert animate("--landmarks", track)[0] == 0
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == FRAMES

    def test_parity_needs_no_variant(self, animate, track):
        assert animate("--landmarks", track, "--parity")[0] == 0

    def test_a_voice_with_selected_parts_is_pasted_back(self, animate, track, tmp_path):
        more = ("--parts", "eyes-and-brows", "--paste-back", "--length", "2")
        status, shown = animate("--landmarks", track, "--audio", VOICE, *more)
        assert status == 0, shown
        with av.open(str(tmp_path / "out.mp4")) as container, Image.open(PORTRAIT) as picture:
            video = container.streams.video[0]
            assert (video.width, video.height) == picture.size

    def test_points_by_hand_say_where_the_face_is_for_a_voice_too(
        self, run, tiny_models, models, tmp_path, caplog
    ):
        blank = tmp_path / "blank.png"
        Image.new("RGB", (128, 128), (90, 120, 90)).save(blank)
        points = [45, 54, 83, 54, 64, 74, 49, 92, 79, 92]
        status, shown = run(
            "animate", "--portrait", blank, "--audio", VOICE, "--out", tmp_path / "out.mp4",
            "--models", tiny_models, "--models", models, "--size", "64", "--length", "2",
            "--steps", "1", "--portrait-points", *points,
        )  # fmt: skip
        assert status == 0, shown
        assert "No face box is known" not in caplog.text

    def test_a_missing_voice_is_noticed_before_the_driving_video_is_searched(self, animate, models):
        driven = ("--driving", PORTRAIT, "--models", models)
        status, shown = animate(*driven, "--audio", "nowhere.wav")
        assert status == 1
        assert "nowhere.wav" in shown and "landmarks:" not in shown

    def test_a_selection_file_gives_gains(self, animate, track, tmp_path):
        (tmp_path / "s.json").write_text('{"on": ["nose"], "gains": {"nose": 0.5}}')
        assert animate("--landmarks", track, "--selection", tmp_path / "s.json")[0] == 0
        (tmp_path / "s.json").write_text('{"gains": {"ear": 1}}')
        status, shown = animate("--landmarks", track, "--selection", tmp_path / "s.json")
        assert status == 1 and "no part 'ear'" in shown

    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            ((), "give --audio, --driving or --landmarks"),
            (("--audio", VOICE, "--parts", "nose"), "--parts needs landmarks"),
            (("--audio", VOICE, "--sync", "official"), "--sync needs landmarks"),
            (("--landmarks", "TRACK", "--variant", "audio"), "takes no landmarks"),
            (("--audio", VOICE, "--variant", "landmark"), "was given none"),
            (("--landmarks", "nowhere.npz"), "nowhere.npz"),
        ],
    )
    def test_contradictions_are_one_sentence(self, animate, track, more, sentence):
        status, shown = animate(*(track if value == "TRACK" else value for value in more))
        assert status == 1
        assert sentence in shown and "Traceback" not in shown

    def test_a_driving_video_moves_the_portrait(self, animate, models, tmp_path):
        clip = tmp_path / "drive.mp4"
        picture = np.array(Image.open(PORTRAIT).convert("RGB").resize((256, 256)))
        with av.open(str(clip), "w") as container:
            stream = container.add_stream("libx264", rate=8)
            stream.width = stream.height = 256
            for shift in range(3):
                frame = np.roll(picture, 4 * shift, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode(None))

        status, shown = animate("--driving", clip, "--models", models, "--size", "256")

        assert status == 0, shown
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3

        status, shown = animate("--driving", clip, "--models", models, "--length", "2")
        assert status == 0 and "2/2" in shown  # no more of the video is searched than is used

"""Videos → clips: planted defects are caught, clean films are kept, kills are survived."""

import csv
import json
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest
from support import ROOT, real_input

from echomimic.cli import main
from echomimic.errors import DatasetError, OptionsError, WeightsError
from echomimic.landmarks.extract import track_from_faces
from echomimic.landmarks.face_box import box_over_time, crop_face
from echomimic.media.frame_zip import FrameZip
from echomimic.media.frames import read_frames
from echomimic.media.sound import Audio
from echomimic.media.sound_delay import sound_delay
from echomimic.media.video import write_video
from echomimic.prepare import run
from echomimic.prepare.faces import MediaPipeFaces, StoredFaces
from echomimic.prepare.lip_sync import MouthVoiceProxy
from echomimic.prepare.measures import pixel_boxes
from echomimic.prepare.one_video import Video
from echomimic.prepare.options import Limits, PrepareOptions
from echomimic.prepare.planted import CLIP_SIZE, DEFECTS, FPS, SIZE, film
from echomimic.prepare.run import find_videos, prepare
from echomimic.prepare.write_clip import cropped_frame, heard
from echomimic.train.clips import Dataset, held_out

OPTIONS = PrepareOptions(size=CLIP_SIZE)
SEEDS = {"none": (2, 3), "sound 5 frames off": (2, 3)}  # others: 2
FRAMES = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of people: each defect is a person, and there are a silent and a damaged film."""
    root = tmp_path_factory.mktemp("videos")
    for defect in DEFECTS:
        folder = root / defect
        folder.mkdir()
        for seed in SEEDS.get(defect, (2,)):
            film(seed, defect, num_frames=FRAMES).write(folder / f"{seed}.mp4")
    mute = film(2).frames[:10]
    (root / "others").mkdir()
    write_video(root / "others/mute.mp4", mute, fps=FPS, num_frames=10, size=SIZE)
    (root / "others/damaged.mp4").write_bytes(b"no video at all")
    return root


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """The folder of clips, and what came of all videos."""
    out = tmp_path_factory.mktemp("clips")
    return out, prepare([root], out, StoredFaces(), OPTIONS, workers=1)


def rejected(made):
    """Name of the defect → its rejects."""
    found = {}
    for reject in made[1].rejects:
        found.setdefault(reject.video.split("/")[1], []).append(reject)
    return found


@pytest.mark.parametrize("defect", [name for name in DEFECTS if name != "none"])
def test_every_planted_defect_is_caught_for_its_reason(made, defect):
    rejects = rejected(made)[defect]
    assert len(rejects) == len(SEEDS.get(defect, (2,)))
    assert {reject.reason for reject in rejects} <= set(DEFECTS[defect])


def test_no_clean_film_is_lost(made):
    assert "none" not in rejected(made)
    assert len(made[1].kept) == len(SEEDS["none"])


def test_the_sound_is_as_late_as_it_was_made(made):
    late = {r.video.split("/")[-1]: r.value for r in rejected(made)["sound 5 frames off"]}
    assert 4 <= late["3.mp4"] <= 6
    assert -6 <= late["2.mp4"] <= -4


def test_videos_without_sound_or_without_a_picture_are_listed(made):
    reasons = {r.video.split("/")[-1]: r for r in rejected(made)["others"]}
    assert reasons["mute.mp4"].reason == "no_sound"
    assert reasons["damaged.mp4"].reason == "unreadable"
    assert "damaged.mp4" in reasons["damaged.mp4"].sentence


def test_the_table_of_rejects_has_number_limit_and_reason(made):
    with (made[0] / "rejects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(made[1].rejects)
    tiny = next(row for row in rows if row["reason"] == "small_face")
    assert 10 < float(tiny["value"]) < 25 == float(tiny["limit"])
    assert "the face has" in tiny["sentence"] and float(tiny["seconds"]) == FRAMES / FPS


def test_clips_are_what_training_reads(made, root):
    dataset = Dataset(made[0])
    dataset.check()
    clips = dataset.clips("train") + dataset.clips("validate")
    assert len(clips) == 2
    clip = clips[0]
    assert (clip.num_frames, clip.size, clip.fps) == (FRAMES, (CLIP_SIZE, CLIP_SIZE), FPS)
    assert clip.pictures().shape == (FRAMES, CLIP_SIZE, CLIP_SIZE, 3)
    assert np.array_equal(clip.frame(7), clip.pictures()[7])
    measured = clip.meta["measured"]
    assert set(measured) == {"short", *vars(Limits())} - {"sync_c", "sync_offset"}
    assert clip.meta["lip_sync"] == "mouth-voice proxy"


def test_landmarks_lie_on_the_cropped_face(made):
    """Where the inner lips are, an open mouth is dark red or white, and the skin is not."""
    clip = Dataset(made[0]).all[0]
    opening = np.linalg.norm(clip.track.points[:, 13, :2] - clip.track.points[:, 14, :2], axis=1)
    number = int(opening.argmax())
    x, y = clip.track.points[number, [13, 14], :2].mean(axis=0) * CLIP_SIZE
    inside = clip.frame(number)[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].astype(int)
    nose = clip.track.points[number, 6, :2] * CLIP_SIZE
    skin = clip.frame(number)[int(nose[1]), int(nose[0])].astype(int)
    assert np.abs(inside - skin).sum(axis=-1).min() > 60
    assert 0.3 < np.ptp(clip.track.points[number, :, 0]) < 0.8


def test_the_clips_voice_is_the_films(made):
    clip = next(c for c in Dataset(made[0]).all if c.meta["source"].endswith("none/2.mp4"))
    voice, heard_there = film(2, num_frames=FRAMES).speech, clip.speech().numpy()
    first = round(clip.start * 16000)
    part = heard_there[first : first + len(voice)]
    assert np.corrcoef(part, voice)[0, 1] > 0.95  # AAC changes it a little


def test_a_person_is_a_folder_or_a_video(root):
    video = Video(root / "none/2.mp4", root)
    assert video.identity("folder") == f"{root.name}/none"
    assert video.identity("video") == f"{root.name}/none/2.mp4"
    assert Video(root / "a.mp4", root).identity("folder") == f"{root.name}/a.mp4"


def test_one_person_in_ten_is_held_out_whoever_else_is_there():
    share = np.mean([held_out(f"person {number}") for number in range(4000)])
    assert share == pytest.approx(0.1, abs=0.02)


def test_what_is_finished_is_not_done_again(made, root, monkeypatch):
    out, first = made
    monkeypatch.setattr(run, "prepare_video", lambda task: pytest.fail("done again"))
    again = prepare([root], out, StoredFaces(), OPTIONS, workers=1)
    assert again.kept == first.kept
    assert [r.reason for r in again.rejects] == [r.reason for r in first.rejects]


def test_a_killed_run_goes_on_and_makes_the_same_clips(made, root, tmp_path, monkeypatch):
    """It dies while the second clean film is written; its clip must not be taken for finished."""
    clean, original = tmp_path / root.name / "none", run.prepare_video
    shutil.copytree(root / "none", clean)

    def dies(task):
        if task.video.path.name == "3.mp4":
            (task.out / ".unfinished-3").mkdir()
            (task.out / ".unfinished-3/meta.json").write_text("{}")
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(run, "prepare_video", dies)
    out = tmp_path / "clips"
    with pytest.raises(KeyboardInterrupt):
        prepare([clean.parent], out, StoredFaces(), OPTIONS, workers=1)
    assert len([*out.glob("*/frames.zip")]) == 1
    seen = []
    monkeypatch.setattr(
        run, "prepare_video", lambda task: seen.append(task.video.path.name) or original(task)
    )
    prepare([clean.parent], out, StoredFaces(), OPTIONS, workers=1)
    assert seen == ["3.mp4"]
    assert not [*out.glob(".unfinished*")]
    for name in made[1].kept:
        for file in ("frames.zip", "speech.wav", "meta.json"):
            assert (out / name / file).read_bytes() == (made[0] / name / file).read_bytes()


def test_workers_end_when_their_run_is_killed():
    """Else they would write clips while the same command is begun again."""
    code = (
        "import os, sys, time; from concurrent.futures import ProcessPoolExecutor as Pool\n"
        "from multiprocessing import get_context; from echomimic.prepare.run import _start_worker\n"
        "pool = Pool(1, get_context('spawn'), _start_worker, (1,))\n"
        "print(pool.submit(os.getpid).result(), flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert int(run.stdout.readline()) != run.pid
    run.kill()
    run.communicate(timeout=30)  # returns when nobody holds the pipe any more, workers included


def test_two_workers_make_what_one_makes(made, root, tmp_path):
    folder = tmp_path / root.name
    shutil.copytree(root / "none", folder / "none")
    shutil.copytree(root / "tiny face", folder / "tiny face")
    told = []
    summary = prepare(
        [folder], tmp_path / "clips", StoredFaces(), OPTIONS, workers=2,
        on_progress=lambda *progress: told.append(progress),
    )  # fmt: skip
    assert sorted(summary.kept) == sorted(made[1].kept)
    assert [reject.reason for reject in summary.rejects] == ["small_face"]
    assert told[-1] == (3, 3, "2 clips, 1 rejects")


def test_a_video_that_changed_is_done_again_and_its_old_clips_go(root, tmp_path):
    folder, out = tmp_path / "v", tmp_path / "clips"
    folder.mkdir()
    for suffix in (".mp4", ".faces.npz"):
        shutil.copy(root / f"none/2{suffix}", folder / f"2{suffix}")
    (name,) = prepare([folder], out, StoredFaces(), OPTIONS, workers=1).kept
    encoded = out / f".cache/latents-0/{name}.npy"
    encoded.parent.mkdir(parents=True)
    encoded.touch()
    for suffix in (".mp4", ".faces.npz"):
        shutil.copy(root / f"tiny face/2{suffix}", folder / f"2{suffix}")
    summary = prepare([folder], out, StoredFaces(), OPTIONS, workers=1)
    assert not summary.kept and not (out / name).exists() and not encoded.exists()


def test_what_is_no_file_is_listed_and_the_rest_goes_on(root, tmp_path):
    folder, out = tmp_path / "v", tmp_path / "clips"
    (folder / "folder.mp4").mkdir(parents=True)
    (folder / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    for suffix in (".mp4", ".faces.npz"):
        shutil.copy(root / f"none/2{suffix}", folder / f"z{suffix}")
    summary = prepare([folder], out, StoredFaces(), OPTIONS, workers=1)
    assert len(summary.kept) == 1
    assert [(r.video, r.reason) for r in summary.rejects] == [
        ("v/folder.mp4", "unreadable"), ("v/link.mp4", "unreadable")
    ]  # fmt: skip
    shutil.copy(root / "none/3.mp4", tmp_path / "gone.mp4")
    shutil.copy(root / "none/3.faces.npz", folder / "link.faces.npz")
    assert len(prepare([folder], out, StoredFaces(), OPTIONS, workers=1).kept) == 2


def test_other_settings_need_another_folder(made, root):
    with pytest.raises(DatasetError, match="begun with other settings \\(quality\\)"):
        prepare([root], made[0], StoredFaces(), PrepareOptions(size=CLIP_SIZE, quality=80))


def test_long_shots_are_cut_and_what_is_left_is_too_short(root, tmp_path):
    """4 s in pieces of 3 s; the frames of a clip are read again from where it begins."""
    folder, out = tmp_path / "v", tmp_path / "clips"
    folder.mkdir()
    for suffix in (".mp4", ".faces.npz"):
        shutil.copy(root / f"none/3{suffix}", folder / f"3{suffix}")
    limits = Limits.with_changes({"mouth_voice": -1, "mouth_late": 99, "silent": 0})
    options = PrepareOptions(size=CLIP_SIZE, shortest=1.5, longest=1.6, frames="png", limits=limits)
    summary = prepare([folder], out, StoredFaces(), options, workers=1)
    assert [(r.reason, round(r.start, 2), round(r.seconds, 2)) for r in summary.rejects] == [
        ("short", 3.2, 0.8)
    ]
    second = Dataset(out).all[1]
    assert second.name.endswith("-000040") and second.meta["source_start"] == 1.6
    assert second.start == 1.0  # a second of the voice before it is kept
    assert FrameZip(second.folder / "frames.zip").names[0] == "000000.png"
    track = track_from_faces(film(3, num_frames=FRAMES).faces[40:80], size=SIZE, fps=FPS)
    crop = crop_face(box_over_time(pixel_boxes(track)), SIZE, (CLIP_SIZE, CLIP_SIZE))
    source = list(read_frames(folder / "3.mp4"))[45]
    assert np.array_equal(second.frame(5), cropped_frame(source, crop))


def test_sound_that_begins_later_is_put_where_it_is_heard():
    speech = np.arange(1, 16001, dtype=np.float32)
    assert heard(speech, -0.5, 1.0)[8000] == 1 and not heard(speech, -0.5, 1.0)[:8000].any()
    assert heard(speech, 0.75, 0.5)[:4000].tolist() == speech[12000:].tolist()
    assert not heard(speech, 0.75, 0.5)[4000:].any()
    assert len(heard(speech, 5.0, 1.0)) == len(heard(speech, -5.0, 1.0)) == 16000


def test_picture_and_sound_of_our_own_videos_begin_together(root):
    assert abs(sound_delay(root / "none/2.mp4")) < 0.001


def test_a_sound_track_that_begins_half_a_second_later_is_noticed(tmp_path):
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width = picture.height = 64
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(picture.encode(frame))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 16000, 8000
        container.mux(sound.encode(frame))
        container.mux([*picture.encode(None), *sound.encode(None)])
    assert sound_delay(tmp_path / "late.mkv") == pytest.approx(0.5, abs=0.002)


def test_the_command_says_in_one_sentence_what_is_wrong(root, tmp_path, capsys):
    cases = {
        "There is no folder of videos": [str(tmp_path / "nowhere")],
        "holds no videos": [str(tmp_path)],
        "There is no limit 'wobble'": [str(root), "--limit", "wobble=1"],
        "The face landmarker": [str(root), "--models", str(tmp_path)],
        "There is nothing to do": [],
    }
    for sentence, arguments in cases.items():
        assert main(["prepare", *arguments, "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
        told = capsys.readouterr().err
        assert sentence in told and "Traceback" not in told


def test_the_command_prepares_and_packs(root, tmp_path, capsys):
    out, shards = tmp_path / "clips", tmp_path / "shards"
    arguments = [
        "prepare", str(root / "none"), "--out", str(out), "--size", str(CLIP_SIZE), "--faces",
        "stored", "--workers", "1", "--shards", str(shards), "--identity", "video",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert "2 clips, 0 rejects" in capsys.readouterr().err
    assert json.loads((shards / "index.json").read_text())["shards"][0]["clips"] == 2


def test_same_names_and_bad_numbers_are_refused(root, tmp_path):
    shutil.copytree(root / "none", tmp_path / "none")
    with pytest.raises(DatasetError, match="Two folders hold a video none/2.mp4"):
        find_videos([root / "none", tmp_path / "none"])
    with pytest.raises(OptionsError, match="workers must be at least 1"):
        prepare([root], tmp_path / "out", StoredFaces(), OPTIONS, workers=0)


def test_a_missing_landmarker_stops_the_run(root, tmp_path):
    with pytest.raises(WeightsError, match="--faces stored"):
        prepare([root / "none"], tmp_path, MediaPipeFaces(None), OPTIONS, workers=1)


def test_a_real_person_is_kept_and_a_foreign_voice_is_heard(tmp_path):
    """MediaPipe on the official driving video, with the voice of somebody else."""
    video = real_input("driven_videos/a.mp4")
    landmarker = real_input("models/face_landmarker_v2_with_blendshapes.task")
    voice = real_input("test_audios/echomimic_en.wav")
    pytest.importorskip("mediapipe")
    from itertools import islice

    from echomimic.media.audio import read_speech

    folder = tmp_path / "videos"
    folder.mkdir()
    frames = list(islice(read_frames(video, fps=FPS), FRAMES))
    write_video(
        folder / "a.mp4", frames, fps=FPS, num_frames=FRAMES, size=(512, 512),
        soundtrack=Audio(read_speech(voice)[None], 16000),
    )  # fmt: skip
    faces, size = MediaPipeFaces(landmarker), PrepareOptions(size=256)
    summary = prepare([folder], tmp_path / "strict", faces, size, workers=1)
    assert {r.reason for r in summary.rejects} <= {"mouth_voice", "mouth_chance", "mouth_late"}
    assert len(summary.rejects) == 1
    limits = Limits.with_changes({"mouth_voice": -1, "mouth_chance": -2, "mouth_late": 99})
    lenient = PrepareOptions(size=256, limits=limits)
    summary = prepare([folder], tmp_path / "lenient", faces, lenient, workers=1)
    assert len(summary.kept) == 1
    clip = Dataset(tmp_path / "lenient").all[0]
    clip.check()
    assert clip.num_frames == FRAMES and clip.track.valid.mean() > 0.98
    assert clip.track.blendshapes is not None
    assert clip.meta["measured"]["face_share"] > 0.35


def test_another_meter_of_lips_plugs_in(root, tmp_path):
    """A meter sees the cropped frames, the track and the voice, and its name is recorded."""
    shown = {}

    class Meter(MouthVoiceProxy):
        name = "another"

        def __call__(self, clip, limits):
            shown.update(frames=list(clip.frames()), samples=len(clip.speech))
            return []

    folder = tmp_path / "v"
    folder.mkdir()
    for suffix in (".mp4", ".faces.npz"):
        shutil.copy(root / f"none/2{suffix}", folder / f"2{suffix}")
    meter = Meter("another")
    prepare([folder], tmp_path / "c", StoredFaces(), OPTIONS, lip_sync=meter, workers=1)
    clip = Dataset(tmp_path / "c").all[0]
    assert clip.meta["lip_sync"] == "another"
    assert shown["samples"] == FRAMES / FPS * 16000
    assert len(shown["frames"]) == FRAMES
    assert np.abs(shown["frames"][3].astype(int) - clip.frame(3)).mean() < 4  # as JPEG keeps it

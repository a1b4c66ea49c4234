"""The landmark workflows on a real server, with a made-up face or the real inputs."""

import json

import av
import numpy as np
import pytest
from comfy_server import ids, look_at, of_type, own_files_graph
from conftest import FPS, FRAMES, SIZE, WHISPER
from faces import face, poses, track_of
from support import ROOT, inputs_dir

from echomimic.landmarks.track_file import save_track

DRIVEN = 9  # frames of the driving clip, fewer than the voice has
RATE = 12
FILMED = 2 * SIZE  # pixels of a side of the driving clip
LEVEL = 20  # by which each frame of the driving clip is brighter than the last


@pytest.fixture(scope="module")
def driver(server):
    """A landmark file and a video, as the driving clip, and the landmarks of the portrait."""
    turns = np.stack([np.zeros(DRIVEN), np.linspace(-8, 8, DRIVEN), np.zeros(DRIVEN)], axis=1)
    moving = track_of(face(), poses(turns, (0, 0, -40)), fps=RATE)
    save_track(moving, server.base / "input/driving.npz")
    still = track_of(face(wide=1.1), poses((0, 0, 0), (0, 0, -35)), size=(SIZE, SIZE))
    save_track(still, server.base / "input/still.npz")
    _write_video(server.base / "input/driving.mp4")
    return server


def _write_video(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width = stream.height = FILMED
        for level in range(DRIVEN):
            pixels = np.full((FILMED, FILMED, 3), LEVEL * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))


def load(server, name):
    """A workflow of the pack for the small files of these tests, in API format."""
    file = json.loads((ROOT / f"workflows/{name}.json").read_text())
    graph = own_files_graph(file, server.get("/object_info"))
    if ids(graph, "LoadImage"):
        of_type(graph, "LoadImage")["image"] = "portrait.png"
    of_type(graph, "LoadVideo")["file"] = "driving.mp4"
    if ids(graph, "LoadAudio"):
        of_type(graph, "LoadAudio")["audio"] = "voice.wav"
        of_type(graph, "EchoMimicAudioEncoderLoader")["audio_encoder"] = WHISPER
        of_type(graph, "EchoMimicAudioEncode")["fps"] = FPS
    of_type(graph, "EchoMimicModelLoader")["model"] = "denoising_unet_pose_acc.pth"
    of_type(graph, "EchoMimicPortrait").update(width=SIZE, height=SIZE)
    of_type(graph, "EchoMimicSampler").update(steps=1)
    return graph


def without_detector(graph):
    """Landmark files and a mask stand in for MediaPipe, whose model file is not in the project."""
    (extract,) = ids(graph, "EchoMimicLandmarkExtract")
    load_file = {"fps": 24.0, "width": 512, "height": 512}
    graph[extract] = {
        "class_type": "EchoMimicLandmarkLoad",
        "inputs": {"file": "driving.npz", **load_file},
    }
    graph["still"] = {
        "class_type": "EchoMimicLandmarkLoad",
        "inputs": {"file": "still.npz", **load_file},
    }
    graph["mask"] = {
        "class_type": "SolidMask",
        "inputs": {"value": 1.0, "width": 96, "height": 128},
    }
    of_type(graph, "EchoMimicMotionSync")["portrait_landmarks"] = ["still", 0]
    of_type(graph, "EchoMimicPortrait")["mask"] = ["mask", 0]
    return graph


def video_of(server, graph, kind):
    run = server.run(graph)
    assert run.error() is None
    (node,) = ids(graph, kind)
    return server.file(run, node)


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_landmarks_alone_decide_length_and_rate(driver):
    graph = without_detector(load(driver, "landmark"))
    path = video_of(driver, graph, "EchoMimicDecodeVideo")
    assert len(pictures(path)) == DRIVEN
    with av.open(str(path)) as container:
        assert float(container.streams.video[0].average_rate) == RATE


@pytest.mark.parametrize(("end", "frames"), [("hold", FRAMES), ("cut", DRIVEN * FPS // RATE)])
def test_a_voice_decides_length_and_rate_and_landmarks_go_on_as_told(driver, end, frames):
    graph = without_detector(load(driver, "audio_landmark"))
    of_type(graph, "EchoMimicSampler")["landmarks_end"] = end
    video = look_at(video_of(driver, graph, "EchoMimicDecodeVideo"))
    assert (video["frames"], video["rate"]) == (frames, FPS)
    assert video["codecs"] == ("h264", "aac")


def test_pasting_back_gives_the_video_with_what_is_around_the_face(driver):
    graph = without_detector(load(driver, "paste_back"))
    box = {"seed": 1, "motion": "still", "length": 1, "size": SIZE}  # the quarter at the top left
    graph["box"] = {"class_type": "EchoMimicPuppet", "inputs": box}
    portrait = of_type(graph, "EchoMimicPortrait")
    portrait["face_box"] = ["box", 1]
    del portrait["mask"]
    path = video_of(driver, graph, "EchoMimicPasteBack")
    assert look_at(path)["codecs"] == ("h264", "aac")
    frames = pictures(path)
    corners = [float(frame[-3:, -3:].mean()) for frame in frames]
    filmed = [LEVEL * min(number * RATE // FPS, DRIVEN - 1) for number in range(FRAMES)]
    assert corners == pytest.approx(filmed, abs=6)
    centre = slice(SIZE // 2 - 4, SIZE // 2 + 4)
    assert any(frame[centre, centre].std() > 6 for frame in frames)  # it was one colour


def test_switching_a_part_off_changes_what_is_drawn(driver):
    drawn = {}
    for nose in (True, False):
        graph = without_detector(load(driver, "landmark"))
        of_type(graph, "EchoMimicPartSelection").update(preset="custom", nose=nose)
        (preview,) = ids(graph, "EchoMimicLandmarkPreview")
        (shown,) = ids(graph, "PreviewImage")
        wanted = {preview, shown}
        run = driver.run(graph)
        assert run.error() is None and wanted <= {*graph}
        drawn[nose] = driver.file(run, shown).read_bytes()
    assert drawn[True] != drawn[False]


def test_contradictions_are_explained(driver):
    graph = without_detector(load(driver, "landmark"))
    of_type(graph, "EchoMimicModelLoader")["model"] = "denoising_unet_acc.pth"
    assert "takes no landmarks" in driver.run(graph).error()

    graph = without_detector(load(driver, "audio_landmark"))
    del of_type(graph, "EchoMimicSampler")["landmarks"]
    assert "driven by landmarks and was given none" in driver.run(graph).error()


@pytest.mark.parametrize("name", ["landmark", "audio_landmark", "paste_back"])
def test_real_faces_are_found_and_driven(driver, name):
    pytest.importorskip("mediapipe")
    inputs = inputs_dir()
    found = {
        kind: sorted(inputs.glob(pattern)) if inputs else []
        for kind, pattern in (
            ("picture", "test_imgs/*.png"),
            ("video", "driven_videos/*.mp4"),
            ("model", "models/face_landmarker*.task"),
        )
    }
    if not all(found.values()):
        pytest.skip("no real portrait, driving video and landmarker (set ECHOMIMIC_INPUTS)")
    detection = driver.base / "models/detection"
    detection.mkdir(exist_ok=True)
    if not (detection / found["model"][0].name).exists():
        (detection / found["model"][0].name).symlink_to(found["model"][0])
    (driver.base / "input/real.png").write_bytes(found["picture"][-1].read_bytes())
    (driver.base / "input/real.mp4").write_bytes(found["video"][0].read_bytes())
    graph = load(driver, name)
    if ids(graph, "LoadImage"):
        of_type(graph, "LoadImage")["image"] = "real.png"
    of_type(graph, "LoadVideo")["file"] = "real.mp4"
    of_type(graph, "EchoMimicPortrait").update(width=128, height=128)
    if name == "landmark":  # of the driving clip, its first frames
        (sync,) = ids(graph, "EchoMimicMotionSync")
        of_type(graph, "EchoMimicSampler")["landmarks"] = ["short", 0]
        graph["short"] = {
            "class_type": "EchoMimicLandmarkRetime",
            "inputs": {"landmarks": [sync, 0], "fps": 0.0, "length": 8, "speed": 1.0, "end": "cut"},
        }
    kind = "EchoMimicPasteBack" if name == "paste_back" else "EchoMimicDecodeVideo"

    frames = pictures(video_of(driver, graph, kind))

    assert len(frames) == (8 if name == "landmark" else FRAMES)

"""Landmarks over time: which face, what happens where there is none, and what is said then."""

import builtins
import logging
import weakref
from contextlib import nullcontext

import av
import numpy as np
import pytest
from faces import found_face
from PIL import Image
from support import inputs_dir, real_input

from echomimic.errors import LandmarkError, MediaError, OptionsError, WeightsError
from echomimic.landmarks import extract, search
from echomimic.landmarks.camera import project
from echomimic.landmarks.detect import find_face_box
from echomimic.landmarks.extract import extract_file, extract_track, track_from_faces
from echomimic.landmarks.face_box import crop_face
from echomimic.landmarks.mesh import NUM_VERTICES
from echomimic.media.image import read_image

SIZE = (640, 480)
FPS = 25.0


def middles(track):
    """Where the face of each frame is along the picture."""
    return track.points[:, :, 0].mean(axis=1) - found_face(0.0).landmarks[:, 0].mean()


def test_the_largest_face_is_taken_in_each_frame():
    frames = [
        [found_face(0.2, width=0.1), found_face(0.7, width=0.3)],
        [found_face(0.2, width=0.3), found_face(0.7)],
    ]

    track = track_from_faces(frames, size=SIZE, fps=FPS, face="largest")

    np.testing.assert_allclose(middles(track), [0.7, 0.2], atol=0.02)


def test_the_nearest_face_is_followed_even_when_another_grows():
    frames = [
        [found_face(0.2, width=0.3), found_face(0.7)],
        [found_face(0.25), found_face(0.7, width=0.4)],
        [found_face(0.3)],
    ]

    track = track_from_faces(frames, size=SIZE, fps=FPS)

    np.testing.assert_allclose(middles(track), [0.2, 0.25, 0.3], atol=0.02)


@pytest.mark.parametrize("number, expected", [(0, [0.2, 0.35, 0.5]), (1, [0.7, 0.55, 0.4])])
def test_a_number_counts_from_the_left_once_and_is_followed_when_faces_cross(number, expected):
    frames = [
        [found_face(0.7, 0.7), found_face(0.2, 0.3)],
        [found_face(0.35, 0.3), found_face(0.55, 0.7)],
        [found_face(0.4, 0.7), found_face(0.5, 0.3)],
    ]

    track = track_from_faces(frames, size=SIZE, fps=FPS, face=number)

    np.testing.assert_allclose(middles(track), expected, atol=0.02)


def test_a_lost_face_is_not_replaced_by_its_neighbour():
    both, neighbour = [found_face(0.2), found_face(0.7)], [found_face(0.7)]
    frames = [both, neighbour, neighbour, both]

    track = track_from_faces(frames, size=SIZE, fps=FPS, face=0)

    assert track.valid.tolist() == [True, False, False, True]
    np.testing.assert_allclose(middles(track), 0.2, atol=0.02)


def test_after_half_a_second_another_face_is_better_than_none():
    frames = [[found_face(0.2), found_face(0.7)]] + [[found_face(0.7)]] * 20

    track = track_from_faces(frames, size=SIZE, fps=FPS)

    assert track.valid.tolist() == [True] + [False] * 13 + [True] * 7
    assert middles(track)[-1] == pytest.approx(0.7, abs=0.02)


def test_a_face_that_is_always_alone_may_jump():
    track = track_from_faces([[found_face(0.2)], [found_face(0.8)]], size=SIZE, fps=FPS)

    assert track.valid.all()


@pytest.mark.parametrize(
    "missing, expected",
    [("interpolate", [0.2, 0.2, 0.3, 0.4, 0.5, 0.5]), ("hold", [0.2, 0.2, 0.2, 0.2, 0.5, 0.5])],
)
def test_frames_without_a_face_are_filled_and_reported(missing, expected, caplog):
    frames = [[], [found_face(0.2, score=0.0)], [], [], [found_face(0.5, score=0.9)], []]

    with caplog.at_level(logging.WARNING):
        track = track_from_faces(frames, size=SIZE, fps=FPS, missing=missing, source="a.mp4")

    assert track.num_frames == 6
    np.testing.assert_allclose(middles(track), expected, atol=1e-9)
    np.testing.assert_allclose(track.blendshapes[:, 0] / 3 + 0.2, expected, atol=1e-9)
    assert track.valid.tolist() == [False, True, False, False, True, False]
    assert len(caplog.records) == 1
    assert "a.mp4: no face in 4 of 6 frames, first in frame 0" in caplog.text


def test_blendshapes_are_known_in_all_frames_or_none():
    frames = [[found_face(0.2, score=0.5)], [found_face(0.2)]]

    assert track_from_faces(frames, size=SIZE, fps=FPS).blendshapes is None


@pytest.mark.parametrize(
    "frames, choice, message",
    [
        ([], "nearest", "a.mp4 has no frames"),
        ([[], []], "nearest", "a.mp4 shows no face in any of its 2 frames; choose one"),
        ([[found_face(0.5)]], 1, "a.mp4 shows at most 1 .* from 0; choose a lower number"),
    ],
)
def test_no_face_at_all_is_one_sentence(frames, choice, message):
    with pytest.raises(LandmarkError, match=message):
        track_from_faces(frames, size=SIZE, fps=FPS, face=choice, source="a.mp4")


@pytest.mark.parametrize("choice", [-1, "smallest", None])
def test_a_choice_that_is_none_is_refused(choice):
    with pytest.raises(OptionsError, match="nearest, largest or by a number"):
        track_from_faces([[found_face(0.5)]], size=SIZE, fps=FPS, face=choice)


@pytest.mark.parametrize(
    "option, words",
    [
        ({"fps": 0.0}, "fps must be above 0"),
        ({"fps": float("nan")}, "fps must be above 0"),
        ({"missing": "skip"}, "'skip'; choose interpolate or hold"),
        ({"face": -1}, "nearest, largest or by a number"),
    ],
)
def test_options_are_checked_before_the_first_frame_is_asked_for(option, words):
    frames = iter([np.zeros((8, 8, 3), np.uint8)])

    with pytest.raises(OptionsError, match=words):
        extract_track(frames, **{"fps": FPS, "landmarker": None} | option)

    assert next(frames) is not None


def test_of_many_faces_only_the_one_followed_is_kept(monkeypatch):
    """An hour of a crowd must not take the memory of all its faces."""
    frames = [np.full((8, 8, 3), i, np.uint8) for i in range(30)]
    found = []

    class Crowd:
        def __init__(self, _landmarker):
            pass

        def faces(self, _picture):
            alive = [ref for ref in found if ref() is not None]
            assert len(alive) <= len(found) / 2 + 4
            faces = [found_face(x) for x in (0.2, 0.4, 0.6, 0.8)]
            found.extend(weakref.ref(one.landmarks) for one in faces)
            return faces

    monkeypatch.setattr(extract, "FaceSearch", Crowd)
    monkeypatch.setattr(extract, "_landmarker", lambda _path: nullcontext())
    monkeypatch.setattr(extract, "read_canonical", lambda _path: None)

    assert extract_track(frames, fps=FPS, landmarker=None).num_frames == 30


def test_a_missing_model_offers_comfyuis_own_nodes():
    with pytest.raises(
        WeightsError, match=r"get https.*into the models folder.*Detect Face Landmarks"
    ):
        extract_track([np.zeros((8, 8, 3), np.uint8)], fps=FPS, landmarker=None)


def test_without_mediapipe_comfyuis_own_nodes_are_offered(tmp_path, monkeypatch):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"present")
    real_import = builtins.__import__

    def without_mediapipe(name, *args, **kwargs):
        if name.startswith("mediapipe"):
            raise ImportError("No module named 'mediapipe'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_mediapipe)
    with pytest.raises(LandmarkError, match=r"pip install .*Detect Face Landmarks"):
        extract_track([np.zeros((8, 8, 3), np.uint8)], fps=FPS, landmarker=path)


@pytest.fixture
def model():
    pytest.importorskip("mediapipe")
    return real_input("models/face_landmarker_v2_with_blendshapes.task")


@pytest.fixture
def portrait(model):
    """A real face that takes about half of 512x512 pixels."""
    folder = inputs_dir() / "test_imgs"
    pictures = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if not pictures:
        pytest.skip("no real portrait is at hand")
    picture = read_image(pictures[0])
    crop = crop_face(find_face_box(picture, model), picture.shape[1::-1], (512, 512))
    return Image.fromarray(picture).crop(crop.box).resize((512, 512))


def scene(portrait, size, *places):
    """Portraits pasted on grey, each at (x, y, width)."""
    canvas = Image.new("RGB", size, (128, 128, 128))
    for x, y, width in places:
        canvas.paste(portrait.resize((width, width)), (x, y))
    return np.array(canvas)


def test_a_track_has_everything_that_is_known_of_a_face(model, portrait):
    frames = [np.array(portrait), np.array(portrait)[:, ::-1]]

    track = extract_track(frames, fps=FPS, landmarker=model, source="a.mp4")

    assert (track.num_frames, track.size, track.fps) == (2, (512, 512), FPS)
    assert (track.blendshapes.shape, track.valid.tolist()) == ((2, 52), [True, True])
    points = project(track.mesh, track.transforms, track.size)
    np.testing.assert_allclose(
        points[:, :NUM_VERTICES], track.points[:, :NUM_VERTICES, :2], atol=1e-9
    )


def test_the_face_of_a_small_portrait_in_a_wide_frame_has_the_same_shape(model, portrait):
    near = extract_track([np.array(portrait)], fps=FPS, landmarker=model)
    wide = scene(portrait, (1280, 720), (300, 100, 512))
    far = extract_track([wide], fps=FPS, landmarker=model)

    moved = far.points[0, :, :2] * (1280, 720) - (300, 100)
    np.testing.assert_allclose(moved, near.points[0, :, :2] * 512, atol=8)
    assert np.abs(far.mesh - near.mesh).mean() < 0.5


def test_frames_are_searched_as_they_come(model, portrait):
    seen = []

    def frames():
        for i in range(3):
            assert len(seen) == i
            yield np.array(portrait)

    extract_track(
        frames(),
        fps=FPS,
        landmarker=model,
        num_frames=3,
        on_progress=lambda *progress: seen.append(progress),
    )

    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_face_that_disappears_leaves_frames_of_the_same_number(model, portrait):
    empty = np.full((512, 512, 3), 128, np.uint8)
    frames = [np.array(portrait), empty, np.array(portrait)]

    track = extract_track(frames, fps=FPS, landmarker=model)

    assert track.valid.tolist() == [True, False, True]
    np.testing.assert_allclose(track.points[1], track.points[0])


def test_small_faces_are_followed_where_they_were_last_seen(model, portrait, monkeypatch):
    thorough = []
    look = search.look_in_parts
    monkeypatch.setattr(search, "look_in_parts", lambda *a: thorough.append(1) or look(*a))
    frames = [scene(portrait, (2000, 1500), (600 + 20 * i, 350, 280)) for i in range(4)]

    track = extract_track(frames, fps=FPS, landmarker=model)

    assert track.valid.all()
    assert len(thorough) <= 1
    steps = np.diff(track.points[:, :, 0].mean(axis=1)) * 2000
    np.testing.assert_allclose(steps, 20, atol=3)


def test_a_long_video_without_a_face_is_not_searched_thoroughly_in_every_frame(model, monkeypatch):
    thorough = []
    monkeypatch.setattr(search, "look_in_parts", lambda *a: thorough.append(1) or [])
    frames = (np.full((64, 64, 3), i, np.uint8) for i in range(50))

    with pytest.raises(LandmarkError, match="no face in any of its 50 frames"):
        extract_track(frames, fps=FPS, landmarker=model)

    assert len(thorough) == 3


def test_of_two_faces_each_can_be_chosen(model, portrait):
    frames = [scene(portrait, (1024, 512), (0, 100, 300), (512, 0, 512))]

    def middle(choice):
        track = extract_track(frames, fps=FPS, landmarker=model, face=choice)
        return track.points[0, :, 0].mean()

    assert middle(0) < 0.5 < middle(1)
    assert middle("largest") == middle("nearest") == middle(1)


@pytest.mark.parametrize(
    "second, words",
    [
        (np.zeros((16, 8, 3), np.uint8), "Frame 1 has 8x16 pixels and those before it 8x8"),
        (np.zeros((8, 8, 4), np.uint8), r"Frame 1 is an array \(8, 8, 4\) of uint8"),
        (np.zeros((8, 8, 3)), "Frame 1 is an array .* of float64"),
    ],
)
def test_frames_that_do_not_fit_are_named(model, second, words):
    with pytest.raises(LandmarkError, match=words):
        extract_track([np.zeros((8, 8, 3), np.uint8), second], fps=FPS, landmarker=model)


def test_a_frame_of_4k_is_searched_on_a_reduced_copy(model, portrait):
    frame = np.zeros((2160, 3840, 3), np.uint8)
    frame[:2048, 500:2548] = np.array(portrait).repeat(4, axis=0).repeat(4, axis=1)

    track = extract_track([frame], fps=FPS, landmarker=model)

    alone = extract_track([np.array(portrait)], fps=FPS, landmarker=model)
    found = track.points[0, :, :2] * (3840, 2160) - (500, 0)
    np.testing.assert_allclose(found, alone.points[0, :, :2] * 2048, atol=40)


def test_a_picture_file_is_a_track_of_one_frame(model, portrait, tmp_path):
    portrait.save(tmp_path / "a.png")

    track = extract_file(tmp_path / "a.png", landmarker=model)

    assert (track.num_frames, track.source) == (1, "a.png")


@pytest.mark.parametrize("fps, expected", [(None, 6), (12.5, 3)])
def test_a_video_file_can_be_resampled(model, portrait, tmp_path, fps, expected):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.array(portrait))))
        container.mux(stream.encode(None))

    track = extract_file(tmp_path / "a.mp4", landmarker=model, fps=fps)

    assert (track.num_frames, track.fps) == (expected, fps or 25.0)


def test_a_missing_file_is_named(model, tmp_path):
    with pytest.raises(MediaError, match=r"There is no .*a.mp4"):
        extract_file(tmp_path / "a.mp4", landmarker=model)

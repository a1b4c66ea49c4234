"""The face detector: found at any size, by the right channels, or missed with a clear sentence."""

import builtins
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT, inputs_dir, real_input

from echomimic.errors import PortraitError, WeightsError
from echomimic.landmarks.detect import detect_faces, find_face_box, find_landmarker
from echomimic.landmarks.face_box import crop_face
from echomimic.media.image import read_image


@pytest.fixture
def model():
    pytest.importorskip("mediapipe")
    return real_input("models/face_landmarker_v2_with_blendshapes.task")


@pytest.fixture
def face(model):
    """A real face that takes about half of 256x256 pixels."""
    pictures = sorted(real_folder("test_imgs").glob("*.png"))
    if not pictures:
        pytest.skip("no real portrait is at hand")
    picture = read_image(pictures[0])
    box = find_face_box(picture, model)
    assert box is not None, f"no face in {pictures[0].name}"
    crop = crop_face(box, picture.shape[1::-1], (256, 256))
    return Image.fromarray(picture).crop(crop.box).resize((256, 256))


def real_folder(name: str) -> Path:
    folder = inputs_dir()
    if folder is None or not (folder / name).is_dir():
        pytest.skip(f"real inputs {name} are not at hand (set ECHOMIMIC_INPUTS)")
    return folder / name


def scene(face: Image.Image, width: int, height: int, *corners: tuple[int, int]) -> np.ndarray:
    canvas = Image.new("RGB", (width, height), (128, 128, 128))
    for corner in corners:
        canvas.paste(face, corner)
    return np.asarray(canvas)


def test_landmarks_are_478_normalised_points(model, face):
    (found,) = detect_faces(np.asarray(face), model)

    assert found.landmarks.shape == (478, 3)
    assert found.landmarks.dtype == np.float64
    assert 0 < found.landmarks[:, :2].min() < found.landmarks[:, :2].max() < 1


def test_the_box_follows_the_face(model, face):
    here = find_face_box(scene(face, 800, 600, (100, 50)), model)
    there = find_face_box(scene(face, 800, 600, (500, 300)), model)

    np.testing.assert_allclose(np.subtract(there, here), [400, 250, 400, 250], atol=12)


def test_the_largest_of_two_faces_is_taken(model, face):
    image = np.array(scene(face.resize((180, 180)), 800, 500, (20, 20)))
    image[200:456, 500:756] = np.asarray(face)

    box = find_face_box(image, model)

    assert len(detect_faces(image, model)) == 2
    assert box[0] > 500
    assert box[1] > 200


def test_a_face_too_small_for_one_look_is_found_once(model, face):
    image = scene(face.resize((280, 280)), 2000, 1500, (650, 350))

    faces = detect_faces(image, model)

    assert len(faces) == 1
    x0, y0, x1, y1 = np.array(faces[0].box) * (2000, 1500, 2000, 1500)
    assert 650 < x0 < x1 < 930
    assert 350 - 20 < y0 < y1 < 630


def test_a_face_may_be_cut_by_the_border(model, face):
    whole = find_face_box(np.asarray(face), model)
    lost = round(whole[0] + 0.2 * (whole[2] - whole[0]))

    cut = find_face_box(np.asarray(face)[:, lost:], model)

    assert cut[0] < 15
    np.testing.assert_allclose(cut[1:], np.subtract(whole, [0, 0, lost, 0])[1:], atol=25)


@pytest.mark.parametrize("width, height", [(1, 1), (8, 8), (3, 400), (640, 480)])
def test_where_there_is_no_face_there_is_no_box(model, width, height):
    assert find_face_box(np.full((height, width, 3), 90, np.uint8), model) is None


def test_a_picture_of_100_megapixels_is_searched_on_a_reduced_copy(model, face):
    image = np.zeros((10_000, 10_000, 3), np.uint8)
    image[:7680, :7680] = np.asarray(face).repeat(30, axis=0).repeat(30, axis=1)

    box = find_face_box(image, model)

    expected = np.multiply(find_face_box(np.asarray(face), model), 30)
    np.testing.assert_allclose(box, expected, atol=300)


def test_parity_shows_the_detector_swapped_channels(model, face):
    image = np.asarray(face)

    swapped = find_face_box(image, model, bgr=True)

    assert swapped == find_face_box(image[..., ::-1], model)
    assert swapped != find_face_box(image, model)


@pytest.mark.parametrize("path", [None, "nowhere/face_landmarker.task"])
def test_a_missing_model_says_where_it_belongs(path):
    with pytest.raises(
        WeightsError, match="get https://.*task.*into the models folder, or give the face"
    ):
        find_face_box(np.zeros((8, 8, 3), np.uint8), path)


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_damaged_model_is_named(tmp_path, content):
    pytest.importorskip("mediapipe")
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match="face_landmarker.task is not a face landmarker"):
        find_face_box(np.zeros((8, 8, 3), np.uint8), path)


LOOK = """
import sys
import numpy as np
from echomimic.errors import WeightsError
from echomimic.landmarks.detect import find_face_box

ran = []
sys.addaudithook(lambda event, args: ran.append(args[0]) if event == "subprocess.Popen" else None)
try:
    find_face_box(np.zeros((8, 8, 3), np.uint8), sys.argv[1])
except WeightsError:
    from mediapipe.tasks.python.vision import drawing_utils
    print(len(ran), drawing_utils.plt.figure.__module__)
"""


def test_loading_mediapipe_runs_no_programs_and_its_plots_still_work(tmp_path):
    pytest.importorskip("mediapipe")
    (tmp_path / "face_landmarker.task").write_bytes(b"damaged")
    said = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "face_landmarker.task"],
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},  # no fonts known
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.split() == ["0", "matplotlib.pyplot"]


def test_without_mediapipe_the_way_out_is_named(tmp_path, monkeypatch):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"present")
    real_import = builtins.__import__

    def without_mediapipe(name, *args, **kwargs):
        if name.startswith("mediapipe"):
            raise ImportError("No module named 'mediapipe'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_mediapipe)
    with pytest.raises(PortraitError, match="pip install .* or give the face box by hand"):
        find_face_box(np.zeros((8, 8, 3), np.uint8), path)


def test_the_landmarker_is_found_in_a_folder_or_one_below(tmp_path):
    assert find_landmarker([tmp_path]) is None
    (tmp_path / "mediapipe").mkdir()
    below = tmp_path / "mediapipe" / "face_landmarker_v2_with_blendshapes.task"
    below.touch()

    assert find_landmarker([tmp_path / "absent", tmp_path]) == below

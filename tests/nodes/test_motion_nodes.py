"""Motion Sync and Landmark Smooth, run in this process."""

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from faces import face, poses, track_of
from PIL import Image
from support import ROOT, real_input

PACK = str(ROOT).replace(".", "_x_")
LANDMARKER = "face_landmarker_v2_with_blendshapes.task"
SIZE = (384, 256)


def module(name: str):
    return sys.modules[f"{PACK}.{name}"]


def driver(frames=6):
    turns = np.stack([(0, 4 * frame, 0) for frame in range(frames)])
    return track_of(face(), poses(turns, (0, 0, -30)))


def blank_portrait(size=SIZE):
    """As far as the node looks at a portrait: its picture, without any face, and its size."""
    return SimpleNamespace(image=torch.zeros(3, *size[::-1]), crop=SimpleNamespace(size=size))


def placed_face(size=SIZE):
    return track_of(face(wide=1.1), poses((5, 0, 0), (1, 0, -28)), size)


def sync(pack, landmarks, portrait, *, method="part_aware", align_parts=True, **more):
    node = pack["EchoMimicMotionSync"]
    return node.execute(landmarks, portrait, method, align_parts, **more)[0]


@pytest.fixture
def landmarker(pack, models):
    """The real landmarker in the models folder, for one test."""
    pytest.importorskip("mediapipe")
    path = models / "echo_mimic" / LANDMARKER
    shutil.copy(real_input(f"models/{LANDMARKER}"), path)
    yield path
    path.unlink()


@pytest.fixture
def portrait(pack, landmarker):
    """A real portrait as EchoMimic Portrait prepares it, not square."""
    with Image.open(real_input("test_imgs/b.png")) as picture:
        image = torch.from_numpy(np.array(picture.convert("RGB").resize((512, 512)))) / 255
    node = pack["EchoMimicPortrait"]
    return node.execute(
        image[None], *SIZE, crop_ratio=0.5, mask_ratio=0.1, parity=False
    )[0]  # fmt: skip


@pytest.mark.parametrize("method", ["part_aware", "official"])
def test_the_portraits_face_is_found_and_moves(pack, portrait, method):
    track = sync(pack, driver(), portrait, method=method)
    assert (track.size, track.num_frames) == (SIZE, 6)
    middle = track.points[..., :2].mean(axis=(0, 1))
    assert (np.abs(middle - 0.5) < 0.15).all()  # the crop is around the face
    assert np.ptp(track.points[:, 4, 0]) > 0.005


def test_a_face_placed_by_hand_needs_no_detector(pack):
    face = placed_face()
    track = sync(pack, driver(), blank_portrait(), portrait_landmarks=face)
    assert track.size == SIZE
    np.testing.assert_allclose(track.neutral, face.mesh[0])


def test_parts_can_keep_the_drivers_shapes(pack):
    narrow = face()
    narrow[:, 0] *= np.where(np.arange(478) == 61, 0.5, 1)
    film = track_of(narrow, poses(np.zeros((3, 3)), (0, 0, -30)))
    aligned, kept = (
        sync(pack, film, blank_portrait(), align_parts=on, portrait_landmarks=placed_face())
        for on in (True, False)
    )
    assert np.abs(aligned.points - kept.points).max() > 1e-3


def test_imported_points_get_their_mesh_from_the_landmarker(pack, portrait):
    film = driver()
    imported = replace(film, mesh=None, transforms=None)
    track = sync(pack, imported, portrait)
    away = np.abs(track.points - sync(pack, film, portrait).points)[..., :2]
    assert away.mean() * SIZE[0] < 3  # the drawn-up face is not the average one


def test_a_portrait_without_a_face_says_to_place_one(pack, landmarker):
    with pytest.raises(module("echomimic.errors").LandmarkError, match="EchoMimic Place Face"):
        sync(pack, driver(), blank_portrait())


def test_without_a_landmarker_the_file_and_the_way_by_hand_are_named(pack):
    error = module("echomimic.errors").WeightsError
    with pytest.raises(error, match=r"face_landmarker\.task.*EchoMimic Place Face"):
        sync(pack, driver(), blank_portrait())


def test_landmarks_of_another_picture_than_the_crop_are_refused(pack):
    with pytest.raises(module("echomimic.errors").LandmarkError, match="640x480.*384x256"):
        sync(pack, driver(), blank_portrait(), portrait_landmarks=placed_face((640, 480)))


def test_smoothing_takes_the_jitter_away(pack):
    clean = track_of(face(), poses(np.zeros((60, 3)), (0, 0, -30)))
    noise = np.random.default_rng(0).normal(0, 0.02, clean.mesh.shape)
    seen = track_of(clean.mesh + noise, clean.transforms)
    node = pack["EchoMimicLandmarkSmooth"]

    smooth, same = node.execute(seen, 0.5)[0], node.execute(seen, 0.0)[0]

    assert same is seen
    assert (smooth.points - clean.points).std() < (seen.points - clean.points).std() / 4


def test_the_method_can_be_chosen_from_those_of_the_library(pack):
    schema = pack["EchoMimicMotionSync"].GET_SCHEMA()
    method = next(item for item in schema.inputs if item.id == "method")
    assert list(method.options) == ["part_aware", "official"]
    assert method.default == "part_aware"

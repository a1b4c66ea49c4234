"""Landmark Extract: one of three sources, the same face out of each."""

import shutil
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support import ROOT, real_input

PACK = str(ROOT).replace(".", "_x_")  # the name under which ComfyUI imports a pack
MODEL = "face_landmarker_v2_with_blendshapes.task"
WIDTH, HEIGHT = 640, 360
SQUARE = 192  # pixels of the picture that ComfyUI's network looks at
CHOICES = {"fps": 0.0, "face": "nearest", "face_index": 0, "missing": "interpolate"}


@pytest.fixture
def errors(pack):
    return sys.modules[f"{PACK}.echomimic.errors"]


@pytest.fixture
def extract(pack):
    node = pack["EchoMimicLandmarkExtract"]
    return lambda **inputs: node.execute(**CHOICES | inputs).args


def as_comfyui_finds_it(points, scale=1.5, angle=0.3):
    """A face dict of FACE_LANDMARKS for normalised points (478, 3) of a picture."""
    pixels = points[:, :2] * (WIDTH, HEIGHT)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = (pixels - pixels.mean(axis=0)) @ turn.T / scale + SQUARE / 2
    depth = points[:, 2] * WIDTH / scale
    return {
        "landmarks_xy": pixels.astype(np.float32),
        "landmarks_3d": np.column_stack([seen, depth]).astype(np.float32),
        "blendshapes": {f"shape{i}": i / 52 for i in range(52)},
    }


@pytest.fixture
def points():
    """Three frames (3, 478, 3) of something that moves to the right."""
    face = np.random.default_rng(0).uniform(-0.1, 0.1, (478, 3)) + (0.3, 0.5, 0)
    return face + np.linspace(0, 0.1, 3)[:, None, None] * (1, 0, 0)


def face_landmarks(*frames):
    return {"frames": list(frames), "image_size": (HEIGHT, WIDTH), "connection_sets": {}}


def test_comfyuis_landmarks_become_a_track(extract, points):
    found = face_landmarks(*([as_comfyui_finds_it(p)] for p in points))

    track, fps, length = extract(face_landmarks=found)

    assert (fps, length, track.size) == (24.0, 3, (WIDTH, HEIGHT))
    np.testing.assert_allclose(track.points, points, atol=1e-5)
    np.testing.assert_allclose(track.blendshapes[0], np.arange(52) / 52)
    assert track.mesh is None


@pytest.fixture
def detection(pack, tmp_path, monkeypatch):
    """ComfyUI's folder for detection models."""
    import folder_paths

    entry = ([str(tmp_path)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "detection", entry)
    return tmp_path


def test_comfyuis_detection_model_gives_the_mesh(extract, points, detection):
    vertices = np.random.default_rng(1).uniform(-8, 8, (468, 3))
    tensors = {
        "canonical_vertices": vertices.astype(np.float32),
        "procrustes_indices": np.arange(0, 468, 13, dtype=np.int32),
        "procrustes_weights": np.full(36, 0.03, np.float32),
    }
    save_file(tensors, detection / "mediapipe_face.safetensors")

    track, *_ = extract(face_landmarks=face_landmarks([as_comfyui_finds_it(points[0])]))

    assert track.mesh.shape == (1, 478, 3)


def test_frames_without_a_face_are_filled(extract, points):
    first, _, last = ([as_comfyui_finds_it(p)] for p in points)

    track, _, length = extract(face_landmarks=face_landmarks(first, [], last), fps=30.0)

    assert (length, track.fps, track.valid.tolist()) == (3, 30.0, [True, False, True])
    np.testing.assert_allclose(track.points, points, atol=1e-5)
    held, *_ = extract(face_landmarks=face_landmarks(first, [], last), missing="hold")
    np.testing.assert_allclose(held.points[1], held.points[0])


def test_one_face_of_several_is_chosen(extract, points):
    left, right = points[0], points[0] + (0.4, 0, 0)
    found = face_landmarks([as_comfyui_finds_it(right), as_comfyui_finds_it(left)])

    for index, expected in enumerate((left, right)):
        track, *_ = extract(face_landmarks=found, face="index", face_index=index)
        np.testing.assert_allclose(track.points[0], expected, atol=1e-5)


@pytest.mark.parametrize("names", [(), ("images", "face_landmarks")])
def test_exactly_one_source_is_needed(extract, errors, names):
    with pytest.raises(errors.OptionsError, match="either video, images or face_landmarks"):
        extract(**dict.fromkeys(names, object()))


def test_landmarks_without_a_face_are_one_sentence(extract, errors):
    with pytest.raises(errors.LandmarkError, match="no face in any of its 2 frames"):
        extract(face_landmarks=face_landmarks([], []))


def test_without_the_model_the_other_way_is_named(extract, errors):
    with pytest.raises(errors.WeightsError, match=r"missing.*Detect Face Landmarks"):
        extract(images=torch.zeros(1, 8, 8, 3))


@pytest.fixture
def landmarker(detection):
    """MediaPipe's model where ComfyUI looks for it."""
    pytest.importorskip("mediapipe")
    shutil.copy(real_input(f"models/{MODEL}"), detection)


@pytest.fixture
def clip(landmarker):
    """The first frames of a real driving video, uint8 (f, H, W, 3)."""
    with av.open(str(real_input("driven_videos/a.mp4"))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame, _ in zip(
            container.decode(video=0), range(4), strict=False
        )]  # fmt: skip
    return np.stack(frames)


def test_images_and_videos_give_the_same_landmarks(extract, clip, tmp_path):
    from comfy_api.latest import InputImpl, Types

    images = torch.from_numpy(clip).float() / 255
    parts = Types.VideoComponents(images=images, frame_rate=Fraction(25))
    path = tmp_path / "clip.mp4"
    InputImpl.VideoFromComponents(parts).save_to(str(path))

    from_images, *_ = extract(images=images, fps=25.0)
    from_memory, *_ = extract(video=InputImpl.VideoFromComponents(parts))
    from_file, fps, length = extract(video=InputImpl.VideoFromFile(str(path)))

    assert (fps, length) == (25.0, 4)
    assert from_images.mesh is not None
    np.testing.assert_array_equal(from_images.points, from_memory.points)
    np.testing.assert_allclose(from_file.points, from_images.points, atol=0.01)


def test_a_video_is_brought_to_the_frame_rate_asked_for(extract, clip):
    from comfy_api.latest import InputImpl, Types

    images = torch.from_numpy(clip).float() / 255
    parts = Types.VideoComponents(images=images, frame_rate=Fraction(24))

    track, fps, length = extract(video=InputImpl.VideoFromComponents(parts), fps=12.0)

    assert (track.num_frames, fps, length) == (2, 12.0, 2)


def test_a_cancel_stops_between_frames(extract, clip):
    import comfy.model_management as management

    management.interrupt_current_processing()

    with pytest.raises(management.InterruptProcessingException):
        extract(images=torch.from_numpy(clip).float() / 255)

"""The mesh and pose behind landmarks: found again from a projected face, read from model files."""

import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from echomimic.errors import LandmarkError, WeightsError
from echomimic.landmarks.camera import FOCAL_LENGTH, project
from echomimic.landmarks.mesh import EYELIDS, NUM_VERTICES
from echomimic.landmarks.metric import (
    METADATA,
    Canonical,
    find_canonical,
    read_canonical,
    with_mesh,
)
from echomimic.landmarks.track import LandmarkTrack

SIZES = [(512, 512), (1920, 1080), (480, 854)]
BASIS = {4: 0.07, 33: 0.06, 152: 0.01, 263: 0.05, 454: 0.02}


@pytest.fixture
def canonical():
    """A bent sheet with the size of a face: no real face, but a rigid body all the same."""
    generator = np.random.default_rng(0)
    x, y = generator.uniform(-7, 7, NUM_VERTICES), generator.uniform(-9, 9, NUM_VERTICES)
    z = 5 - (x**2 + y**2) / 20 + generator.uniform(-0.3, 0.3, NUM_VERTICES)
    weights = np.zeros(NUM_VERTICES)
    weights[list(BASIS)] = list(BASIS.values())
    return Canonical(np.stack([x, y, z], axis=1), weights)


def turned(yaw, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    matrix[:3, 3] = shift
    return matrix


def seen(mesh, transform, size):
    """Points (478, 3) as MediaPipe gives them: its camera, z in the unit of x at the face."""
    xy = project(mesh, transform, size)
    z = (mesh @ transform[:3, :3].T + transform[:3, 3])[:, 2]
    width = 2 / FOCAL_LENGTH * size[0] / size[1]
    near = np.concatenate([xy, (z.mean() - z)[:, None] / -z.mean() / width], axis=1)
    irises = near[list(EYELIDS)][:10]
    return np.concatenate([near, irises])


def track_of(canonical, size, *poses):
    return LandmarkTrack(
        np.stack([seen(canonical.vertices, turned(*pose), size) for pose in poses]), size, 25.0
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_face_that_moved_is_found_where_it_went(canonical, size):
    poses = [(0.0, (0, 0, -40)), (0.3, (2, -3, -50)), (-0.4, (-4, 1, -80))]

    track = with_mesh(track_of(canonical, size, *poses), canonical)

    expected = np.stack([turned(*pose) for pose in poses])
    np.testing.assert_allclose(track.transforms[:, :3, :3], expected[:, :3, :3], atol=1e-3)
    np.testing.assert_allclose(track.transforms[:, :3, 3], expected[:, :3, 3], rtol=0.02, atol=0.1)
    np.testing.assert_allclose(track.mesh[0, :NUM_VERTICES], canonical.vertices, atol=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_mesh_and_pose_project_to_the_points(canonical, size):
    track = track_of(canonical, size, (0.2, (1, 2, -45)))
    noise = np.random.default_rng(1).normal(0, 0.003, track.points.shape)
    track = replace(track, points=track.points + noise)

    found = with_mesh(track, canonical)

    points = project(found.mesh, found.transforms, size)
    np.testing.assert_allclose(points[:, :NUM_VERTICES], track.points[:, :NUM_VERTICES, :2])


def test_transforms_are_rotations_and_shifts(canonical):
    found = with_mesh(track_of(canonical, (512, 512), (0.5, (3, 1, -60))), canonical)

    linear = found.transforms[0, :3, :3]
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-3)
    assert np.linalg.det(linear) > 0


def test_irises_lie_between_the_eyelids_they_were_seen_with(canonical):
    found = with_mesh(track_of(canonical, (512, 512), (0.1, (0, 0, -50))), canonical)

    lids = found.mesh[:, list(EYELIDS)][:, :10]
    np.testing.assert_allclose(found.mesh[:, NUM_VERTICES:], lids, atol=0.3)


def test_every_frame_is_computed_for_itself(canonical):
    poses = [(0.1 * i, (i, -i, -40 - i)) for i in range(5)]
    track = track_of(canonical, (640, 480), *poses)

    together = with_mesh(track, canonical)

    for i in range(5):
        alone = with_mesh(replace(track, points=track.points[i : i + 1], valid=None), canonical)
        np.testing.assert_allclose(together.mesh[i], alone.mesh[0], atol=1e-9)


def test_points_without_depth_are_told_that_they_cannot_be_synchronised(canonical):
    points = track_of(canonical, (512, 512), (0.0, (0, 0, -40)), (0.0, (0, 0, -40))).points.copy()
    points[1, :, 2] = 0  # as in files of the official code that were made for a portrait
    with pytest.raises(LandmarkError, match=r"a.pkl have no depth in frame 1.*as they are"):
        with_mesh(LandmarkTrack(points, (512, 512), 25.0, source="a.pkl"), canonical)


def test_points_that_are_no_face_are_named_with_their_frame(canonical):
    points = track_of(canonical, (512, 512), (0.0, (0, 0, -40)), (0.0, (0, 0, -40))).points.copy()
    points[1] = 0.5

    with pytest.raises(LandmarkError, match=r"points of a.mp4 .*frame 1 .*extract the track"):
        with_mesh(LandmarkTrack(points, (512, 512), 25.0, source="a.mp4"), canonical)


def varint(value):
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def metadata(canonical, *, packed):
    floats = [struct.pack("<5f", *vertex, 0.5, 0.5) for vertex in canonical.vertices]
    if packed:
        buffer = field(3, b"".join(floats))
    else:
        singles = [vertex[i : i + 4] for vertex in floats for i in range(0, 20, 4)]
        buffer = b"".join(b"\x1d" + value for value in singles)
    mesh = b"\x08\x00\x10\x00" + buffer + b"\x20\x07" * 3  # types before, triangles after
    points = np.flatnonzero(canonical.weights)
    basis = [
        field(2, b"\x08" + varint(int(i)) + b"\x15" + struct.pack("<f", canonical.weights[i]))
        for i in points
    ]
    return field(1, mesh) + b"".join(basis)


def bundle(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(METADATA, content)
    return path


def core_model(path, canonical):
    used = np.flatnonzero(canonical.weights)
    save_file(
        {
            "canonical_vertices": canonical.vertices.astype(np.float32),
            "procrustes_indices": used.astype(np.int32),
            "procrustes_weights": canonical.weights[used].astype(np.float32),
        },
        path,
    )
    return path


def assert_same(found, canonical):
    np.testing.assert_allclose(found.vertices, canonical.vertices, rtol=1e-6)
    np.testing.assert_allclose(found.weights, canonical.weights, rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_the_canonical_face_is_read_from_a_landmarker_bundle(tmp_path, canonical, packed):
    path = bundle(tmp_path / "face_landmarker.task", metadata(canonical, packed=packed))

    assert_same(read_canonical(path), canonical)


def test_the_canonical_face_is_read_from_comfyuis_model(tmp_path, canonical):
    assert_same(read_canonical(core_model(tmp_path / "face.safetensors", canonical)), canonical)


def test_the_canonical_face_is_found_among_other_models(tmp_path, canonical):
    assert find_canonical([tmp_path / "absent", tmp_path]) is None
    save_file({"weight": np.zeros(3)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"damaged")
    assert find_canonical([tmp_path]) is None
    (tmp_path / "detection").mkdir()
    core_model(tmp_path / "detection" / "face.safetensors", canonical)

    assert_same(find_canonical([tmp_path]), canonical)


@pytest.mark.parametrize("length", [0, 1, 700, 9000])
def test_metadata_that_ends_early_is_refused(tmp_path, canonical, length):
    path = bundle(tmp_path / "face_landmarker.task", metadata(canonical, packed=False)[:length])

    with pytest.raises(WeightsError, match="face_landmarker.task holds no canonical face"):
        read_canonical(path)


def test_random_bytes_are_refused_in_one_sentence(tmp_path):
    generator = np.random.default_rng(0)
    for _ in range(50):
        path = bundle(tmp_path / "x.task", generator.bytes(int(generator.integers(1, 400))))
        with pytest.raises(WeightsError, match="x.task holds no canonical face"):
            read_canonical(path)


def test_a_metadata_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "x.task"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(METADATA, bytes(1 << 24))

    with pytest.raises(WeightsError, match="too large"):
        read_canonical(path)


@pytest.mark.parametrize("name", ["x.task", "x.safetensors"])
def test_a_damaged_model_is_named(tmp_path, name):
    with pytest.raises(WeightsError, match=f"no model .*{name}"):
        read_canonical(tmp_path / name)
    (tmp_path / name).write_bytes(b"not a model")

    with pytest.raises(WeightsError, match=f"{name} holds no canonical face"):
        read_canonical(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"canonical_vertices": np.zeros((467, 3), np.float32)},
        {"canonical_vertices": np.full((468, 3), np.nan, np.float32)},
        {"procrustes_indices": np.array([1, 2, 3, 4, 468], np.int32)},
        {"procrustes_indices": np.array([1, 2], np.int32)},
        {"procrustes_weights": np.full(5, np.nan, np.float32)},
        {"procrustes_weights": np.zeros(5, np.float32)},
    ],
)
def test_a_model_whose_numbers_do_not_fit_is_refused(tmp_path, canonical, change):
    tensors = {
        "canonical_vertices": canonical.vertices.astype(np.float32),
        "procrustes_indices": np.array(list(BASIS), np.int32),
        "procrustes_weights": np.array(list(BASIS.values()), np.float32),
    }
    save_file(tensors | change, tmp_path / "x.safetensors")

    with pytest.raises(WeightsError, match="x.safetensors holds no canonical face"):
        read_canonical(tmp_path / "x.safetensors")

"""A track comes back from its file as it was; a file that is damaged or hostile is one sentence."""

import io
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from echomimic.errors import LandmarkError
from echomimic.landmarks.arrays import MAX_BYTES
from echomimic.landmarks.draw import draw_track
from echomimic.landmarks.mesh import PARTS
from echomimic.landmarks.track import LandmarkTrack
from echomimic.landmarks.track_file import VERSION_KEY, load_track, save_track

FLOATS = ("points", "mesh", "transforms", "blendshapes", "neutral")
RNG = np.random.default_rng(0)


def track(num_frames: int = 3) -> LandmarkTrack:
    """A face with jitter, as a detector finds it."""
    face = RNG.uniform([0.3, 0.3, -0.1], [0.7, 0.7, 0.1], (478, 3))
    sway = 0.05 * np.sin(np.arange(num_frames) / 10)[:, None, None]
    still = face + RNG.normal(0, [3e-4, 7e-4, 4e-4], (num_frames, 478, 3))
    transforms = np.eye(4) + RNG.normal(0, 0.1, (num_frames, 4, 4))
    scores = RNG.uniform(0, 0.3, 52) + RNG.normal(0, 1e-3, (num_frames, 52))
    return LandmarkTrack(
        still + sway,
        (640, 360),
        29.97,
        mesh=(still - 0.5) * 30,
        transforms=transforms,
        blendshapes=scores.clip(0, 1),
        valid=np.arange(num_frames) % 2 == 0,
        neutral=(face - 0.5) * 30,
        parts=frozenset({"mouth", "left_eye"}),
        source="Gesicht ä 1.mp4",
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("tracks") / "a.npz"
    save_track(track(), path)
    return path


def changed(saved, path, **changes):
    """The saved file with other arrays; None leaves one out."""
    arrays = {**dict(np.load(saved)), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_everything_a_track_knows_comes_back(tmp_path):
    before = track()
    save_track(before, tmp_path / "deeper" / "a.npz")
    after = load_track(tmp_path / "deeper" / "a.npz")

    for key in ("size", "fps", "parts", "source"):
        assert getattr(after, key) == getattr(before, key)
    np.testing.assert_array_equal(after.valid, before.valid)
    np.testing.assert_array_equal(after.transforms, before.transforms)
    np.testing.assert_array_equal(after.neutral, before.neutral)
    np.testing.assert_allclose(after.points, before.points, rtol=0, atol=2**-18)
    np.testing.assert_allclose(after.mesh, before.mesh, rtol=0, atol=2**-10)
    np.testing.assert_allclose(after.blendshapes, before.blendshapes, rtol=0, atol=2**-13)


def test_what_a_track_does_not_know_stays_unknown(tmp_path):
    bare = LandmarkTrack(track().points, (64, 64), 25, parts=frozenset())
    save_track(bare, tmp_path / "a.npz")
    after = load_track(tmp_path / "a.npz")

    assert (after.mesh, after.transforms, after.blendshapes, after.neutral) == (None,) * 4
    assert after.valid.all()
    assert after.parts == frozenset()


def test_a_saved_track_is_drawn_as_before(tmp_path):
    before = replace(track(8), parts=frozenset(PARTS))
    save_track(before, tmp_path / "a.npz")
    after = load_track(tmp_path / "a.npz")
    np.testing.assert_array_equal(draw_track(after, (512, 512)), draw_track(before, (512, 512)))


def test_saving_again_changes_nothing(saved, tmp_path):
    save_track(load_track(saved), tmp_path / "b.npz")
    assert (tmp_path / "b.npz").read_bytes() == saved.read_bytes()


def test_plain_numpy_reads_the_file_without_pickles(saved):
    with np.load(saved, allow_pickle=False) as arrays:
        assert arrays["points"].shape == (3, 478, 3)
        assert arrays[VERSION_KEY] == 1
        assert not any(array.dtype.hasobject for array in arrays.values())


def test_a_minute_with_everything_is_under_10_mb(tmp_path):
    save_track(track(60 * 25), tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 10e6


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")

    def full_disk(*_args, **_arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(LandmarkError, match="cannot be written to .*a.npz: No space left"):
        save_track(track(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_another_ending_is_refused_because_it_would_not_be_read_again(tmp_path):
    with pytest.raises(LandmarkError, match=r"\.npz files; give a.dat"):
        save_track(track(), tmp_path / "a.dat")
    assert not list(tmp_path.iterdir())


def refusal(path) -> str:
    """The one sentence that says why a file is not loaded; it names the file."""
    with pytest.raises(LandmarkError) as error:
        load_track(path)
    assert path.name in str(error.value)
    return str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    assert "There is no file" in refusal(tmp_path / "gone.npz")
    assert "There is no file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"not a zip" * 100])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "damaged or no .npz file" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: int(len(content) * share)])
    assert "damaged" in refusal(tmp_path / "a.npz")


def test_any_changed_byte_is_a_sentence_or_harmless(saved, tmp_path):
    content = saved.read_bytes()
    for position in RNG.integers(0, len(content), 40):
        damaged = bytearray(content)
        damaged[position] ^= 0x5A
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            load_track(tmp_path / "a.npz")
        except LandmarkError as error:
            assert "a.npz" in str(error)


@pytest.mark.parametrize("version", [2, 0, "one", [1, 1]])
def test_an_unknown_version_asks_for_an_update(saved, tmp_path, version):
    path = changed(saved, tmp_path / "a.npz", **{VERSION_KEY: np.array(version)})
    assert "update EchoMimic" in refusal(path)


def test_other_arrays_are_not_taken_for_a_track(tmp_path):
    np.savez(tmp_path / "a.npz", landmarks=np.zeros((2, 478, 3)))
    assert "holds landmarks; import it" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("key", ["points", "size", "fps", "valid", "parts", "source"])
def test_a_missing_array_is_named(saved, tmp_path, key):
    assert f"lacks {key}" in refusal(changed(saved, tmp_path / "a.npz", **{key: None}))


@pytest.mark.parametrize("key", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_named(saved, tmp_path, key, value):
    array = np.load(saved)[key].copy()
    array[1] = value
    assert f"The {key} of" in refusal(changed(saved, tmp_path / "a.npz", **{key: array}))


@pytest.mark.parametrize(
    "changes",
    [
        {"points": np.zeros((3, 68, 3))},
        {"points": np.zeros((0, 478, 3)), "valid": np.zeros(0, bool)},
        {"points": np.zeros((3, 478, 3), complex)},
        {"points": np.array("x" * 99)},
        {"mesh": None},
        {"mesh": np.zeros((2, 478, 3))},
        {"transforms": np.zeros((3, 3, 3))},
        {"size": np.array([1, 2, 3])},
        {"size": np.array([0, 512])},
        {"fps": np.array(np.nan)},
        {"fps": np.array([25.0, 25.0])},
        {"parts": np.array(["ears"])},
        {"valid": np.array([0.5, 1, 1])},
    ],
    ids=str,
)
def test_arrays_that_no_track_has_are_refused(saved, tmp_path, changes):
    refusal(changed(saved, tmp_path / "a.npz", **changes))


class Marker:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_python_objects_are_refused_and_not_run(saved, tmp_path):
    trace = tmp_path / "executed"
    objects = np.array([Marker(trace)], dtype=object)
    path = changed(saved, tmp_path / "a.npz", points=objects)

    assert "could run code" in refusal(path)
    assert not trace.exists()


def header(shape: tuple, dtype: str = "<f4") -> bytes:
    """The beginning of an .npy, without its values."""
    file = io.BytesIO()
    description = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def test_a_header_that_declares_more_than_the_file_holds_reserves_nothing(saved, tmp_path):
    changed(saved, tmp_path / "a.npz", points=None)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("points.npy", header((10**12, 478, 3)))
    assert "cut off or damaged" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", ["(" * 9000, "{" * 9000, "-" * 9000 + "1", "[" * 99, "(True,)"])
def test_a_header_that_python_cannot_parse_is_one_sentence(tmp_path, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    start = np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", start + bytes(8))
    assert "damaged or no .npz file" in refusal(tmp_path / "a.npz")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(4):
            archive.writestr(f"{index}.npy", bytes(10**6))
    monkeypatch.setattr("echomimic.landmarks.arrays.MAX_BYTES", 3 * 10**6)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    assert "GB unpacked" in refusal(tmp_path / "a.npz")


def test_an_hour_at_30_fps_may_be_saved_and_read(saved):
    arrays = np.load(saved)
    frame = sum(arrays[name][0].nbytes for name in ("points", "mesh", "transforms", "blendshapes"))
    assert 3600 * 30 * frame < MAX_BYTES


def test_a_track_too_long_to_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("echomimic.landmarks.arrays.MAX_BYTES", 1000)
    with pytest.raises(LandmarkError, match="a.npz .* shorter track"):
        save_track(track(), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())

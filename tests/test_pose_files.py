"""Landmarks of other programs become tracks; a file that is wrong or hostile is one sentence."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from support import golden_arrays, real_input

from echomimic.errors import LandmarkError
from echomimic.landmarks.array_pickle import MAX_BYTES, read_array_pickle
from echomimic.landmarks.draw import draw_landmarks
from echomimic.landmarks.mesh import LEFT_IRIS, NUM_VERTICES, PARTS, RIGHT_IRIS
from echomimic.landmarks.pose_files import import_landmarks
from echomimic.landmarks.track import LandmarkTrack
from echomimic.landmarks.track_file import save_track

RNG = np.random.default_rng(0)


def pixels(num_frames: int = 3, num_points: int = 478, columns: int = 3) -> np.ndarray:
    """A face as the official files have it: pixels of 512x512, depth as well."""
    return RNG.uniform(130, 400, (num_frames, num_points, columns))


def directory(folder: Path, frames, **options) -> Path:
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        (folder / f"{index}.pkl").write_bytes(pickle.dumps(frame, **{"protocol": 4, **options}))
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(LandmarkError) as error:
        import_landmarks(path)
    return str(error.value)


def test_an_official_directory_becomes_a_track_in_the_order_of_its_numbers(tmp_path):
    frames = pixels(12)
    track = import_landmarks(directory(tmp_path / "pose", frames), fps=30)

    assert (track.fps, track.size, track.source) == (30, (512, 512), "pose")
    assert track.mesh is None
    np.testing.assert_allclose(track.points, frames / 512, rtol=0, atol=1e-12)


def test_the_official_demo_becomes_a_track():
    path = real_input("poses_0_29.npz")
    track = import_landmarks(path)
    np.testing.assert_array_equal(track.points, np.load(path)["landmarks"] / 512)


def test_files_of_motion_synchronisation_have_no_depth(tmp_path):
    frames = pixels(columns=2)
    track = import_landmarks(directory(tmp_path / "pose", frames))
    np.testing.assert_array_equal(track.points[..., :2], frames / 512)
    assert not track.points[..., 2].any()


@pytest.mark.parametrize("write", [np.save, np.savez], ids=["npy", "npz"])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i4"])
def test_plain_arrays_are_read(tmp_path, write, dtype):
    frames = pixels().astype(dtype)
    path = tmp_path / ("a.npy" if write is np.save else "a.npz")
    write(path, frames)
    np.testing.assert_array_equal(import_landmarks(path).points, frames.astype(float) / 512)


def test_one_frame_is_a_track_of_one_frame(tmp_path):
    np.save(tmp_path / "a.npy", pixels()[0])
    assert import_landmarks(tmp_path / "a.npy").num_frames == 1


def test_pixels_are_told_from_shares_and_divided_by_the_size(tmp_path):
    shares = RNG.uniform(-0.3, 1.3, (2, 478, 3))
    np.savez(tmp_path / "shares.npz", landmarks=shares, other=np.zeros(3))
    np.savez(tmp_path / "pixels.npz", landmarks=shares * (640, 360, 640), other=np.zeros(3))

    for name in ("shares", "pixels"):
        track = import_landmarks(tmp_path / f"{name}.npz", size=(640, 360))
        np.testing.assert_allclose(track.points, shares, rtol=0, atol=1e-12)
        assert track.size == (640, 360)


def test_a_track_file_keeps_what_it_knows(tmp_path):
    track = LandmarkTrack(pixels() / 512, (640, 480), 29.97, parts=frozenset({"mouth"}))
    save_track(track, tmp_path / "a.npz")
    loaded = import_landmarks(tmp_path / "a.npz", fps=10, size=(64, 64))
    assert (loaded.fps, loaded.size, loaded.parts) == (29.97, (640, 480), {"mouth"})


def test_irises_that_are_missing_are_put_where_they_would_be_looking_ahead(tmp_path):
    arrays = golden_arrays("face/i_landmarks.npz")
    faces = np.stack([value for key, value in arrays.items() if key.endswith(".lmks")])
    np.save(tmp_path / "a.npy", faces[:, :NUM_VERTICES])

    track = import_landmarks(tmp_path / "a.npy")

    np.testing.assert_array_equal(track.points[:, :NUM_VERTICES], faces[:, :NUM_VERTICES])
    for corners, iris in (((33, 133), RIGHT_IRIS), ((362, 263), LEFT_IRIS)):
        eye = np.linalg.norm(faces[:, corners[0], :2] - faces[:, corners[1], :2], axis=-1)
        off = np.linalg.norm((track.points - faces)[:, list(iris), :2], axis=-1)
        assert (off < 0.12 * eye[:, None]).all()  # an iris measures 0.45
    assert draw_landmarks(track.points[0], (512, 512), {"pupils"}).any()


def test_irises_are_round_in_a_picture_that_is_not_square(tmp_path):
    face = golden_arrays("face/i_landmarks.npz")["img_a.lmks"][:NUM_VERTICES]
    np.save(tmp_path / "a.npy", face)
    track = import_landmarks(tmp_path / "a.npy", size=(1024, 512))
    centre, *rim = track.points[0, RIGHT_IRIS, :2] * (1024, 512)
    radii = np.linalg.norm(np.array(rim) - centre, axis=-1)
    np.testing.assert_allclose(radii, radii[0], rtol=1e-9)


def test_68_points_are_refused_with_the_reason(tmp_path):
    np.save(tmp_path / "a.npy", pixels(num_points=68, columns=2))
    assert "a.npy holds 68 points per frame (dlib), which lack the pupils" in refusal(
        tmp_path / "a.npy"
    )


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.zeros((2, 5, 2)), "5 points per frame"),
        (np.zeros((0, 478, 3)), "no frames"),
        (np.zeros((2, 478, 4)), "shape (2, 478, 4)"),
        (np.zeros((2, 2, 478, 3)), "shape (2, 2, 478, 3)"),
        (np.zeros(3), "shape (3,)"),
        (np.full((2, 478, 3), "x"), "of <U1"),
        (np.where(np.arange(3)[:, None, None] == 1, np.nan, pixels()), "in frame 1"),
        (np.where(np.arange(3)[:, None, None] == 2, np.inf, pixels()), "in frame 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_are_no_landmarks_are_refused(tmp_path, frames, reason):
    np.save(tmp_path / "a.npy", frames)
    message = refusal(tmp_path / "a.npy")
    assert reason in message
    assert "a.npy" in message


def test_an_archive_of_several_arrays_has_to_name_the_landmarks(tmp_path):
    np.savez(tmp_path / "a.npz", one=pixels(), two=pixels())
    assert "holds one, two; name the array of landmarks 'landmarks'" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["gone", "gone.npz", "gone.npy", "gone.pkl", "gone.mp4"])
def test_what_is_not_there_is_said(tmp_path, name):
    assert f"There is no file or directory {tmp_path / name}" in refusal(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".npz"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(LandmarkError, match="There is no file"):
        import_landmarks(tmp_path / f"a{suffix}")


def test_a_file_of_another_kind_is_told_what_is_read(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert "a.mp4 holds no landmarks that are known; give" in refusal(tmp_path / "a.mp4")


def test_gaps_in_the_numbers_are_named(tmp_path):
    folder = directory(tmp_path / "pose", pixels(6))
    (folder / "4.pkl").unlink()
    assert "4.pkl is missing" in refusal(folder)
    (folder / "0.pkl").unlink()
    assert "0.pkl is missing" in refusal(folder)


def test_a_directory_without_frames_is_named(tmp_path):
    (tmp_path / "notes.pkl").write_bytes(b"")
    assert f"no frames 0.pkl, 1.pkl, ... in the directory {tmp_path}" in refusal(tmp_path)


def test_frames_of_different_shapes_are_named(tmp_path):
    folder = directory(tmp_path / "pose", [pixels()[0], pixels(columns=2)[0]])
    assert refusal(folder).startswith("1.pkl in")


def test_a_frame_that_is_not_a_number_is_named(tmp_path):
    frames = pixels()
    frames[2, 7, 0] = np.nan
    assert "not numbers in frame 2" in refusal(directory(tmp_path / "pose", frames))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2"])
def test_a_pickled_array_is_read_as_numpy_would(tmp_path, protocol, order, dtype):
    array = np.asarray(pixels()[0].astype(dtype), order=order)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(array, protocol=protocol))
    read = read_array_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_numpy_1_and_2_are_read(tmp_path, module):
    array = pixels()[0]
    written = pickle.dumps(array, protocol=4)
    begin, rest = written[11:].split(b"multiarray", 1)
    assert begin[-13:].endswith(b"core.")
    body = b"\x8c" + bytes([len(module)]) + module + rest
    framed = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body
    (tmp_path / "a.pkl").write_bytes(framed)
    np.testing.assert_array_equal(read_array_pickle(tmp_path / "a.pkl"), array)


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_is_refused_with_the_name_it_calls_and_not_run(tmp_path, protocol):
    trace = tmp_path / "executed"
    hostile = Call(os.mkdir, str(trace))
    folder = directory(tmp_path / "pose", [hostile, pixels()[0]], protocol=protocol)

    message = refusal(folder)

    assert "0.pkl wants to call" in message
    assert f"{os.mkdir.__module__}.mkdir" in message
    assert not trace.exists()


@pytest.mark.parametrize(
    ("called", "arguments"),
    [
        (eval, ("1",)),
        (getattr, (1, "real")),
        (np.load, ("a.npy",)),
        (np.zeros, ((10,),)),
        (np.frombuffer, (b"12345678",)),
        (bytearray, (10,)),
    ],
)
def test_nothing_but_the_making_of_arrays_may_be_called(tmp_path, called, arguments):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Call(called, *arguments), protocol=4))
    assert called.__name__ in refusal(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "value",
    [
        {"lmks": pixels()},
        [pixels()],
        None,
        3.5,
        "text",
        (1, 2),
        np.float64(1),
        np.array([object], dtype=object),
        np.array(["text"]),
        np.zeros(3, dtype=[("x", "f8")]),
        np.zeros((478, 3), complex),
        np.zeros((478, 3), bool),
        np.ma.masked_array(pixels()[0]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_pickle_of_something_else_is_refused(tmp_path, value, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    assert "a.pkl" in refusal(tmp_path / "a.pkl")


@pytest.mark.parametrize("shape", [(10**12, 3), (478, 4), (-1, -1), (2**70,), "x"])
def test_a_shape_that_the_bytes_do_not_have_reserves_nothing(tmp_path, shape):
    function, arguments, state = pixels()[0].__reduce__()
    lying = Call(function, *arguments)
    lying.call = (*lying.call, (state[0], shape, *state[2:]))
    written = pickle.dumps(lying, protocol=4)
    (tmp_path / "a.pkl").write_bytes(written)
    assert "damaged" in refusal(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x63.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",  # bytes longer than memory
        b"\x80\x04N" + b"r" + struct.pack("<I", 2**32 - 1) + b".",  # the last place of the memo
        b"\x80\x04)" + b"\x85" * 200_000 + b".",  # nested deeper than the stack
        b"}" + b")" + b"\x85" * 200_000 + b"Ns.",  # the same as the key of a dict
        b"\x80\x04cnumpy\ndtype\n)Rb.",
        b"\x80\x04cnumpy\ndtype\n(I1\ntb.",  # changes the class itself
        b"\x80\x04cnumpy\nndarray\n)R.",
        b"\x80\x05\x97.",
        b"P1\n.",
    ],
    ids=range(13),
)
def test_a_malformed_pickle_is_one_sentence(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    assert "a.pkl" in refusal(tmp_path / "a.pkl")


def test_any_changed_byte_of_a_pickle_is_a_sentence_or_harmless(tmp_path):
    written = pickle.dumps(pixels()[0, :4], protocol=4)
    for position in range(len(written)):
        for flip in (0x01, 0x20, 0xFF):
            damaged = bytearray(written)
            damaged[position] ^= flip
            (tmp_path / "a.pkl").write_bytes(damaged)
            try:
                read_array_pickle(tmp_path / "a.pkl")
            except LandmarkError as error:
                assert "a.pkl" in str(error)  # noqa: PT017


def test_a_pickle_larger_than_landmarks_is_not_read(tmp_path):
    with (tmp_path / "a.pkl").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "not read" in refusal(tmp_path / "a.pkl")


def test_imported_landmarks_are_drawn_as_the_official_scripts_draw(tmp_path):
    track = import_landmarks(directory(tmp_path / "pose", pixels(1)))
    assert track.parts == set(PARTS) - {"mouth", "contour"}

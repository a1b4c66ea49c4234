"""Clips in zip archives of frames and in tar shards: read back as they were, or refused."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from echomimic.cli import main
from echomimic.errors import DatasetError, MediaError
from echomimic.media.frame_zip import FrameZip, write_frames
from echomimic.train.clips import Dataset
from echomimic.train.make_puppets import PuppetOptions, make_puppets
from echomimic.train.shards import (
    fetch_shards,
    is_sharded,
    stream_clips,
    write_shards,
)
from echomimic.weights.files import find_mini

OPTIONS = PuppetOptions(num_frames=3, size=32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three small puppets; the frames of the last are in a zip."""
    folder = tmp_path_factory.mktemp("data")
    make_puppets(folder, 3, OPTIONS, workers=1)
    last = Dataset(folder).all[-1].folder
    write_frames(last / "frames.zip", np.load(last / "frames.npy"), suffix="png")
    (last / "frames.npy").unlink()
    return folder


def smooth(count=3):
    """Frames that JPEG keeps well."""
    frames = np.zeros((count, 32, 48, 3)) + np.linspace(0, 200, 32)[:, None, None]
    return (frames + 10 * np.arange(count)[:, None, None, None]).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "error"), [("png", 0), ("jpg", 3)])
def test_frames_come_back_as_an_array(tmp_path, suffix, error):
    write_frames(tmp_path / "f.zip", smooth(), suffix=suffix)
    frames = FrameZip(tmp_path / "f.zip")
    assert frames.shape == (3, 32, 48, 3) and len(frames) == 3 and frames.dtype == np.uint8
    assert np.abs(np.asarray(frames).astype(int) - smooth()).max() <= error
    assert np.array_equal(frames[-1], np.asarray(frames)[2])
    with pytest.raises(IndexError):
        frames[3]


def test_equal_frames_make_equal_files(tmp_path):
    for name in "ab":
        write_frames(tmp_path / f"{name}.zip", smooth())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_anything_reads_the_frames(tmp_path):
    write_frames(tmp_path / "f.zip", smooth(), suffix="png")
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        assert archive.namelist() == ["000000.png", "000001.png", "000002.png"]
        assert archive.testzip() is None


def broken(path, how):
    if how == "no zip":
        path.write_bytes(b"nothing")
    elif how == "empty":
        zipfile.ZipFile(path, "w").close()
    elif how == "packed and damaged":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("000000.png", bytes(1000))
            start = archive.infolist()[0].header_offset + 30 + len("000000.png")
        data = path.read_bytes()
        path.write_bytes(data[:start] + b"\xff" + data[start + 1 :])
    elif how == "locked":
        write_frames(path, [np.zeros((8, 8, 3), np.uint8)])
        data = bytearray(path.read_bytes())
        data[6] |= 1  # the flag of encryption, of the member and in the list of members
        data[data.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(data)
    else:
        write_frames(path, [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)])
        if how == "damaged":
            path.write_bytes(path.read_bytes().replace(b"JFIF", b"XXXX"))
    return FrameZip(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no zip", "is no archive of frames"),
        ("empty", "holds no frames"),
        ("sizes", "of several sizes"),
        ("damaged", "is damaged"),
        ("packed and damaged", "is damaged"),
        ("locked", "is damaged .*encrypted"),
    ],
)
def test_a_damaged_archive_is_one_sentence(tmp_path, how, message):
    with pytest.raises(MediaError, match=message):
        np.asarray(broken(tmp_path / "f.zip", how))


def test_zipped_clips_pass_the_check_and_damaged_ones_do_not(data, tmp_path):
    dataset = Dataset(data)
    dataset.check()
    assert [clip.num_pictures for clip in dataset.all] == [4, 4, 4]
    assert dataset.all[-1].pictures().shape == (4, 32, 32, 3)
    fetch(data, tmp_path)
    (Dataset(tmp_path / "here").all[-1].folder / "frames.zip").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="cannot be used: .* no archive of frames"):
        Dataset(tmp_path / "here").check()


def test_unfinished_folders_are_no_clips(tmp_path):
    make_puppets(tmp_path, 1, OPTIONS, workers=1)
    (tmp_path / "puppet-000000").rename(tmp_path / ".unfinished-puppet-000000")
    with pytest.raises(DatasetError, match="holds no clips"):
        Dataset(tmp_path)


def fetch(data, tmp_path, **options):
    write_shards(data, str(tmp_path / "shards"), **options)
    return fetch_shards(str(tmp_path / "shards"), tmp_path / "here")


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for clip in Dataset(folder).all
        for path in clip.folder.iterdir()
    }


def test_shards_give_the_clips_back_byte_for_byte(data, tmp_path):
    told = []
    write_shards(data, str(tmp_path / "s"), clips_per_shard=2)
    assert is_sharded(str(tmp_path / "s")) and not is_sharded(str(data))
    fetch_shards(str(tmp_path / "s"), tmp_path / "here", lambda *done: told.append(done))
    assert files(tmp_path / "here") == files(data)
    assert told == [(1, 2), (2, 2)]


def test_shards_are_webdatasets(data, tmp_path):
    """Members of a clip stand together; key and extension part at the first dot."""
    write_shards(data, str(tmp_path))
    with tarfile.open(tmp_path / "clips-000000.tar") as archive:
        names = archive.getnames()
    keys = [name.split(".", 1)[0] for name in names]
    assert keys == sorted(keys) and len(set(keys)) == 3
    assert {name.split(".", 1)[1] for name in names} == {
        "meta.json", "speech.wav", "landmarks.npz", "portrait.png", "frames.npy", "frames.zip"
    }  # fmt: skip


def test_object_storage_is_read_and_written(data, tmp_path):
    pytest.importorskip("fsspec")
    write_shards(data, "memory://clips", clips_per_shard=2)
    assert is_sharded("memory://clips")
    assert [name for name, _ in stream_clips("memory://clips", "clips-000001.tar")] == [
        "puppet-000002"
    ]
    fetch_shards("memory://clips", tmp_path / "here")
    assert files(tmp_path / "here") == files(data)


def test_fetching_goes_on_and_fetches_nothing_twice(data, tmp_path, monkeypatch):
    write_shards(data, str(tmp_path / "shards"), clips_per_shard=1)
    missing = tmp_path / "shards/clips-000002.tar"
    kept = missing.read_bytes()
    missing.unlink()
    with pytest.raises(DatasetError, match=r"clips-000002\.tar cannot be read"):
        fetch_shards(str(tmp_path / "shards"), tmp_path / "here")
    assert len(Dataset(tmp_path / "here").all) == 2
    missing.write_bytes(kept)
    for number in range(2):  # they are not needed any more
        (tmp_path / f"shards/clips-00000{number}.tar").unlink()
    fetch_shards(str(tmp_path / "shards"), tmp_path / "here")
    assert files(tmp_path / "here") == files(data)


def shard_with(tmp_path, name, data=b"{}", clips=1):
    with tarfile.open(tmp_path / "clips-000000.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    index = {"shards": [{"name": "clips-000000.tar", "clips": clips}]}
    (tmp_path / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["../a.meta.json", "a/b.meta.json", "a.virus.sh", ".meta.json"])
def test_members_that_are_no_file_of_a_clip_are_refused(tmp_path, name):
    shard_with(tmp_path, name)
    with pytest.raises(DatasetError, match="which is no file of a clip"):
        fetch_shards(str(tmp_path), tmp_path / "here")
    assert not [*tmp_path.glob("here/*/*")]


def test_fewer_clips_than_announced_are_noticed(tmp_path):
    shard_with(tmp_path, "a.meta.json", clips=2)
    with pytest.raises(DatasetError, match="holds 1 clips, but index.json says 2"):
        fetch_shards(str(tmp_path), tmp_path / "here")


def test_a_shard_that_is_cut_off_is_refused(data, tmp_path):
    write_shards(data, str(tmp_path / "s"))
    shard = tmp_path / "s/clips-000000.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(DatasetError, match=r"clips-000000\.tar is damaged"):
        fetch_shards(str(tmp_path / "s"), tmp_path / "here")


@pytest.mark.parametrize("index", ["", "[]", '{"shards": [{"name": "../x.tar", "clips": 1}]}'])
def test_a_bad_index_is_refused(tmp_path, index):
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(DatasetError, match=r"index\.json"):
        fetch_shards(str(tmp_path), tmp_path / "here")


def test_unknown_storage_is_one_sentence(tmp_path):
    pytest.importorskip("fsspec")
    with pytest.raises(DatasetError, match="cannot be read"):
        fetch_shards("nosuchstorage://x", tmp_path)


def test_the_command_encodes_all_frames_where_training_looks(data):
    """Mean and deviation of frames and portraits, by the built-in model's VAE."""
    assert main(["prepare", "--out", str(data), "--vae", str(find_mini().vae)]) == 0
    stored = sorted((data / ".cache").glob("latents-*/*.npy"))
    assert [path.stem for path in stored] == [clip.name for clip in Dataset(data).all]
    for path in stored:
        latents = np.load(path)
        assert latents.shape[:2] == (2, 4) and latents.dtype == np.float16
        assert np.isfinite(latents).all() and latents[1].min() > 0

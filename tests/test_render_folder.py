"""What is finished of a long render stays on disk, whole, and is found again."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import time

import pytest
import torch
from test_segments import latents_of, render
from test_video_writing import disk_with_room_for

from echomimic.errors import RenderError
from echomimic.fingerprint import digest
from echomimic.render_folder import MANIFEST, RenderFolder, Segment

PLAN = [Segment(0, 0, 5), Segment(1, 3, 8, known=2), Segment(2, 6, 11, known=2)]


class Stopped(Exception):
    pass


def clip(frames=5, seed=0):
    return torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def opened(root, **settings):
    return RenderFolder.open(root, {"seed": 1, "portrait": "0" * 32} | settings, PLAN)


def test_what_was_added_is_there_for_the_next_process(tmp_path):
    folder = opened(tmp_path)
    for segment in PLAN[:2]:
        folder.add(segment, clip(seed=segment.number))

    again = opened(tmp_path)

    assert again.num_finished == 2
    assert torch.equal(again.known(PLAN[2]), clip(seed=1)[3:])
    assert torch.equal(latents_of(again), torch.cat([clip(seed=0)[:3], clip(seed=1)]))


def test_a_segment_that_the_next_has_whole_adds_nothing(tmp_path):
    plan = [Segment(0, 0, 5), Segment(1, 3, 8, known=2), Segment(2, 3, 9, known=5)]
    folder = RenderFolder.open(tmp_path, {}, plan)
    for segment in plan:
        folder.add(segment, clip(segment.stop - segment.start, seed=segment.number))
    assert torch.equal(latents_of(folder), torch.cat([clip(seed=0)[:3], clip(6, seed=2)]))


def test_numbers_that_were_chosen_once_stay(tmp_path):
    assert opened(tmp_path).chosen("window_batch", lambda: 4) == 4
    assert opened(tmp_path).chosen("window_batch", lambda: 1) == 4


def test_another_setting_starts_in_another_folder_and_says_so(tmp_path, caplog):
    first = opened(tmp_path)
    first.add(PLAN[0], clip())
    assert not caplog.records

    second = opened(tmp_path, seed=2, portrait="1" * 32)

    assert second.path != first.path
    assert second.num_finished == 0
    assert "it differs from the unfinished render in" in caplog.text
    assert "in portrait, seed (1 → 2)." in caplog.text
    assert opened(tmp_path).num_finished == 1


def test_going_on_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    opened(tmp_path).add(PLAN[0], clip())

    opened(tmp_path)

    assert "1 of 3 segments are finished" in caplog.text


@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_a_damaged_segment_is_rendered_again_with_all_that_follow(tmp_path, harm, caplog):
    folder = opened(tmp_path)
    for segment in PLAN:
        folder.add(segment, clip())
    file = folder.path / "segment-00001.safetensors"
    content = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(content[:-1])
    else:
        content[-1] ^= 1
        file.write_bytes(content)

    assert opened(tmp_path).num_finished == 1
    assert "segment-00001.safetensors is gone or damaged" in caplog.text


def test_a_manifest_of_nonsense_is_no_manifest(tmp_path):
    path = opened(tmp_path).path / MANIFEST
    whole = json.loads(path.read_text())
    lacking = [
        json.dumps({k: v for k, v in whole.items() if k != name})
        for name in ("finished", "chosen", "settings")
    ]
    for nonsense in ("", "{", "[1]", '{"fingerprint": 3}', "[" * 100_000, *lacking):
        path.write_text(nonsense)
        assert opened(tmp_path).num_finished == 0


def test_removing_takes_what_killed_processes_left(tmp_path):
    folder = opened(tmp_path)
    (folder.path / ".0a1b.safetensors").write_bytes(b"half")

    folder.remove()

    assert list(tmp_path.iterdir()) == []


def test_the_video_takes_its_name_when_it_is_complete(tmp_path):
    folder, out = opened(tmp_path / "work"), tmp_path / "out.mkv"
    with pytest.raises(Stopped), folder.video(out) as path:
        path.write_text("half")
        raise Stopped
    assert not out.exists()

    with folder.video(out) as path:
        assert path.suffix == ".mkv"
        path.write_text("all")

    assert out.read_text() == "all"
    with pytest.raises(RenderError, match="it is kept as"), folder.video(tmp_path) as path:
        path.write_text("all")


def test_the_video_reaches_another_disk(tmp_path):
    other = "/dev/shm"
    if not os.path.isdir(other) or os.stat(other).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no other disk")
    out = RenderFolder.open(tmp_path, {}, PLAN)
    name = f"{other}/echomimic-test-{os.getpid()}.mp4"
    try:
        with out.video(type(tmp_path)(name)) as path:
            path.write_text("all")
        with open(name) as file:
            assert file.read() == "all"
    finally:
        os.unlink(name)


class TestFullDisk:
    """A disk without room stops with a sentence and keeps what is finished."""

    def test_while_rendering(self, tmp_path):
        expected = latents_of(render(tmp_path / "expected"))
        with pytest.raises(Stopped):
            render(tmp_path / "work", on_window=stop_after(3))

        with (
            disk_with_room_for(4000),  # enough for the manifest
            pytest.raises(RenderError, match=r"free disk space and run the same again: 1 of 6"),
        ):
            render(tmp_path / "work")

        assert torch.equal(latents_of(render(tmp_path / "work")), expected)

    def test_before_the_first_step(self, tmp_path, monkeypatch):
        full = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

        with pytest.raises(RenderError, match="where 0 MiB are free; free disk space"):
            render(tmp_path)

    def test_without_permission(self, tmp_path):
        (tmp_path / "file").write_text("")

        with pytest.raises(RenderError, match="make the folder writable"):
            opened(tmp_path / "file")


def stop_after(windows):
    def on_window(done, _total):
        if done == windows:
            raise Stopped

    return on_window


def _render_in_a_child(root):
    torch.set_num_threads(1)  # more cannot be had after a fork
    render(root)


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_killed_process_loses_nothing_and_the_result_is_the_same(tmp_path):
    context = multiprocessing.get_context("fork")

    def start(root):
        process = context.Process(target=_render_in_a_child, args=(root,))
        process.start()
        return process

    start(tmp_path / "expected").join()
    finished = []
    for wanted in (1, 3):
        process = start(tmp_path / "work")
        while len(list((tmp_path / "work").glob("*/segment-*"))) < wanted and process.is_alive():
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        (manifest,) = (tmp_path / "work").glob(f"*/{MANIFEST}")
        finished.append(json.loads(manifest.read_text())["finished"])
    last = start(tmp_path / "work")
    last.join()

    assert last.exitcode == 0
    files = {
        folder: [p.read_bytes() for p in sorted((tmp_path / folder).glob("*/*.safetensors"))]
        for folder in ("expected", "work")
    }
    assert len(files["work"]) == 6
    assert files["work"] == files["expected"]
    done = json.loads(manifest.read_text())["finished"]
    assert all(done[: len(part)] == part for part in finished)  # none was rendered twice


def test_equal_contents_have_equal_digests_and_others_differ():
    values = [
        None, True, 1, 1.0, "1", b"1", [1], [1, 1], [[1], 1], {"a": 1}, {"a": 2}, {"b": 1},
        torch.ones(2), torch.ones(2, dtype=torch.bfloat16), torch.ones(2, 1), torch.tensor(1.0),
        torch.ones(2).numpy(), Segment(0, 0, 1), Segment(0, 0, 2), {1, 2}, len,
    ]  # fmt: skip
    digests = [digest(value) for value in values]

    assert len(set(digests)) == len(values)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(torch.ones(4)[::2]) == digest(torch.ones(2))

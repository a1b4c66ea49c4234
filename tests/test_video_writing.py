"""Videos are encoded once, last as long as promised, and appear complete or not at all."""

import os
import subprocess
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from support import ROOT

from echomimic.errors import MediaError
from echomimic.media.sound import Audio
from echomimic.media.video import check_output, to_uint8, write_video

AAC_FRAME = 1024  # samples; the encoder works in whole ones


def tone(seconds: float, rate: int, channels: int = 1) -> Audio:
    time = torch.arange(round(seconds * rate)) / rate
    return Audio(0.5 * torch.sin(2 * torch.pi * 440 * time).repeat(channels, 1), rate)


def noise_frames(count: int, width: int, height: int):
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, count: int = 6, size: tuple[int, int] = (32, 24), **options) -> Path:
    options = {"fps": 24, "num_frames": count} | options
    write_video(path, noise_frames(count, *size), size=size, **options)
    return path


def pictures(path: Path) -> list[np.ndarray]:
    """(H, W, 3) as a player shows them that believes the colour tags."""
    # Named in full, and unlike the source: older versions of PyAV ignore the tags otherwise.
    shown = {"format": "rgb24", "dst_colorspace": 5, "dst_color_range": 2}
    with av.open(str(path)) as container:
        return [
            frame.reformat(
                src_colorspace=frame.colorspace, src_color_range=frame.color_range, **shown
            ).to_ndarray()
            for frame in container.decode(video=0)
        ]


def sound(path: Path) -> tuple[np.ndarray, int]:
    """(channels, n) as decoded, and the rate."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1), rate


@contextmanager
def disk_with_room_for(limit: int):
    """Inside, files of this process cannot grow beyond `limit` bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WAVES = """
import sys
import numpy as np
from pathlib import Path
from echomimic.media.video import write_video

random, size = np.random.default_rng(0), 144
tiles = random.integers(0, 256, (36, 36, 3)).repeat(4, 0).repeat(4, 1)
moved = (np.roll(tiles, n, 1) + random.normal(0, 8, tiles.shape) for n in range(40))
frames = (np.clip(frame, 0, 255).astype(np.uint8) for frame in moved)
write_video(Path(sys.argv[1]), frames, fps=25, num_frames=40, size=(size, size))
"""


def test_equal_frames_make_equal_files_whatever_was_in_memory_before(tmp_path):
    """Resumed renders promise it. glibc fills new memory with what MALLOC_PERTURB_ says."""
    files = [tmp_path / "one.mp4", tmp_path / "other.mp4"]
    for path, fill in zip(files, ("1", "165"), strict=True):
        command = [sys.executable, "-c", WAVES, str(path)]
        environment = os.environ | {"MALLOC_PERTURB_": fill, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=environment, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_pixels_are_rounded_and_truncated_only_on_request():
    levels = torch.tensor([-2.0, -1.0, 0.0, 254.6 / 127.5 - 1, 1.0, 2.0])
    images = levels.view(-1, 1, 1, 1).expand(-1, 3, 2, 5)  # (n, 3, H, W)

    assert to_uint8(images).shape == (6, 2, 5, 3)
    assert to_uint8(images)[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]
    assert to_uint8(images, truncate=True)[:, 0, 0, 0].tolist() == [0, 0, 127, 254, 255, 255]


def test_a_video_is_h264_yuv420p_with_aac_sound(tmp_path):
    path = write(tmp_path / "clip.mp4", soundtrack=tone(1, 16000))

    with av.open(str(path)) as container:
        picture, voice = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, picture.pix_fmt) == ("h264", "yuv420p")
        assert voice.codec_context.name == "aac"
        assert (picture.width, picture.height, picture.frames) == (32, 24, 6)
        assert (picture.codec_context.colorspace, picture.codec_context.color_range) == (1, 1)


@pytest.mark.parametrize("fps", [12.5, 24, 24000 / 1001, 30])
def test_a_video_lasts_num_frames_over_fps_and_so_does_its_sound(tmp_path, fps):
    path = write(tmp_path / "clip.mp4", count=20, fps=fps, soundtrack=tone(5, 16000))

    with av.open(str(path)) as container:
        for stream in container.streams:
            seconds = float(stream.duration * stream.time_base)
            assert seconds == pytest.approx(20 / fps, abs=0.001)


def test_one_frame_makes_a_video(tmp_path):
    path = write(tmp_path / "clip.mp4", count=1, soundtrack=tone(1 / 16000, 16000))

    assert len(pictures(path)) == 1
    assert sound(path)[0].shape[1] >= 48000 // 24


@pytest.mark.parametrize(("width", "height"), [(33, 24), (32, 25), (33, 25), (1, 1)])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path, width, height):
    flat = np.full((height, width, 3), (200, 60, 30), dtype=np.uint8)
    path = tmp_path / "clip.mp4"

    write_video(path, [flat], fps=24, num_frames=1, size=(width, height))

    (picture,) = pictures(path)
    assert picture.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(picture.astype(int) - (200, 60, 30)).max() <= 4


def test_frames_may_come_in_batches_and_keep_their_order(tmp_path):
    greys = np.arange(0, 250, 25, dtype=np.uint8)
    batch = np.broadcast_to(greys[:, None, None, None], (10, 16, 16, 3))

    write_video(
        tmp_path / "a.mp4", [batch[:7], batch[7], batch[8:]], fps=24, num_frames=10, size=(16, 16)
    )

    shown = [picture.mean() for picture in pictures(tmp_path / "a.mp4")]
    np.testing.assert_allclose(shown, greys, atol=3)


def test_short_sound_is_followed_by_silence(tmp_path):
    path = write(tmp_path / "clip.mp4", count=24, soundtrack=tone(0.25, 48000))

    samples, rate = sound(path)
    assert abs(samples.shape[1] - rate) <= AAC_FRAME
    assert np.abs(samples[:, : rate // 5]).max() > 0.3
    assert np.abs(samples[:, rate // 3 :]).max() < 0.01


def test_sound_keeps_its_place_in_time(tmp_path):
    click = tone(2, 16000)
    click.samples[:, :16000] = 0  # the tone starts after exactly one second
    path = write(tmp_path / "clip.mp4", count=48, soundtrack=click)

    samples, rate = sound(path)
    start = np.flatnonzero(np.abs(samples[0]) > 0.1)[0] / rate
    assert start == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("rate", "channels", "expected"),
    [
        (8000, 1, (48000, 1)),
        (44100, 2, (44100, 2)),
        (192000, 6, (48000, 2)),
        (11025, 1, (44100, 1)),
    ],
)
def test_any_rate_and_channel_count_becomes_playable_sound(tmp_path, rate, channels, expected):
    path = write(tmp_path / "clip.mp4", soundtrack=tone(0.3, rate, channels))

    samples, written_rate = sound(path)
    assert (written_rate, samples.shape[0]) == expected
    assert np.abs(samples).max() > 0.2


def test_six_loud_channels_do_not_clip_when_mixed_to_two(tmp_path):
    time = torch.arange(24000) / 48000
    loud = Audio(0.9 * torch.sin(2 * torch.pi * 440 * time).repeat(6, 1), 48000)

    samples, _ = sound(write(tmp_path / "clip.mp4", count=12, soundtrack=loud))

    assert 0.5 < np.abs(samples).max() < 1


def test_names_with_a_colon_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("at 10:30").mkdir()

    write(Path("at 10:30/clip.mp4"), soundtrack=write(Path("10:30.mp4"), soundtrack=tone(1, 8000)))

    assert len(pictures(tmp_path / "at 10:30/clip.mp4")) == 6


def test_a_sound_file_equals_the_same_sound_in_memory(tmp_path):
    voice = tone(0.5, 16000)
    file = tmp_path / "voice.wav"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(voice.samples.numpy(), format="flt", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    from_file, _ = sound(write(tmp_path / "a.mp4", count=12, soundtrack=file))
    from_memory, _ = sound(write(tmp_path / "b.mp4", count=12, soundtrack=voice))

    np.testing.assert_allclose(from_file, from_memory, atol=1e-3)


def test_frames_are_dropped_as_soon_as_they_are_encoded(tmp_path):
    alive = weakref.WeakSet()
    most = 0

    class Tracked(np.ndarray):
        __hash__ = object.__hash__

    def frames():
        nonlocal most
        for frame in noise_frames(200, 16, 16):
            tracked = frame.view(Tracked)
            alive.add(tracked)
            most = max(most, len(alive))
            yield tracked

    write_video(tmp_path / "a.mp4", frames(), fps=24, num_frames=200, size=(16, 16))

    assert most <= 2


def test_progress_counts_every_frame(tmp_path):
    seen = []
    write(tmp_path / "clip.mp4", on_progress=lambda done, total: seen.append((done, total)))

    assert seen == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("when", [1, 4])
def test_cancelling_leaves_no_file_and_passes_the_reason_on(tmp_path, when):
    def cancel(done, total):
        if done == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "clip.mp4", on_progress=cancel, soundtrack=tone(1, 16000))

    assert os.listdir(tmp_path) == []


def test_a_failure_keeps_the_file_that_was_there_before(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"an earlier video")

    with pytest.raises(MediaError, match="ended after 3 of 6"):
        write_video(path, noise_frames(3, 32, 24), fps=24, num_frames=6, size=(32, 24))

    assert path.read_bytes() == b"an earlier video"
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_success_replaces_the_file_that_was_there_before(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"an earlier video")

    assert len(pictures(write(path))) == 6
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_a_name_that_is_taken_meanwhile_is_one_sentence(tmp_path):
    path = tmp_path / "clip.mp4"

    with pytest.raises(MediaError, match=r"clip\.mp4 cannot be replaced \(.*\); close the program"):
        write(path, on_progress=lambda done, total: path.mkdir(exist_ok=True))

    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_an_error_of_whoever_makes_the_frames_is_not_blamed_on_the_video(tmp_path):
    def frames():
        yield np.zeros((24, 32, 3), np.uint8)
        raise OSError("the frames' own")

    with pytest.raises(OSError, match="the frames' own"):
        write_video(tmp_path / "clip.mp4", frames(), fps=24, num_frames=2, size=(32, 24))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("room", [0, 5_000, 60_000])
def test_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path, room):
    sentence = r"clip\.mp4 cannot be written \(.*\); free disk space"

    with disk_with_room_for(room), pytest.raises(MediaError, match=sentence):
        write(tmp_path / "clip.mp4", count=100, size=(128, 128), soundtrack=tone(1, 16000))

    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_while_the_index_is_written_leaves_no_file(tmp_path):
    needed = write(tmp_path / "clip.mp4").stat().st_size
    (tmp_path / "clip.mp4").unlink()

    with disk_with_room_for(needed - 1), pytest.raises(MediaError, match="cannot be written"):
        write(tmp_path / "clip.mp4")

    assert os.listdir(tmp_path) == []


def test_unwritable_outputs_are_named_before_any_frame_is_made(tmp_path):
    def frames():
        raise AssertionError("a frame was asked for")
        yield

    (tmp_path / "folder.mp4").mkdir()
    for name, complaint in (
        ("absent/clip.mp4", "does not exist"),
        ("folder.mp4", "is a folder"),
        ("clip.txt", r"must end in \.mp4"),
    ):
        with pytest.raises(MediaError, match=complaint):
            check_output(tmp_path / name)
        with pytest.raises(MediaError, match=complaint):
            write_video(tmp_path / name, frames(), fps=24, num_frames=1, size=(8, 8))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_a_folder_that_refuses_the_file_is_one_sentence():
    with pytest.raises(MediaError, match="/proc/self"):
        write(Path("/proc/self/clip.mp4"))


def test_unreadable_soundtracks_are_named(tmp_path):
    (tmp_path / "voice.wav").write_bytes(b"this is not sound")
    silent_film = write(tmp_path / "film.mp4")

    for soundtrack, complaint in (
        (tmp_path / "voice.wav", r"voice\.wav is damaged or not a sound file"),
        (tmp_path / "absent.wav", r"There is no sound file .*absent\.wav"),
        (silent_film, r"film\.mp4 holds no sound"),
        (Audio(torch.full((1, 16000), torch.nan), 16000), "NaN"),
    ):
        with pytest.raises(MediaError, match=complaint):
            write(tmp_path / "clip.mp4", soundtrack=soundtrack)
        assert not (tmp_path / "clip.mp4").exists()


def test_frames_of_another_size_or_number_are_refused(tmp_path):
    for options, complaint in (
        ({"num_frames": 5}, "more frames than the 5"),
        ({"num_frames": 7}, "ended after 6 of 7"),
    ):
        with pytest.raises(MediaError, match=complaint):
            write(tmp_path / "clip.mp4", **options)
    with pytest.raises(MediaError, match="Frame 1"):
        write_video(
            tmp_path / "a.mp4", noise_frames(1, 32, 24), fps=24, num_frames=1, size=(24, 32)
        )

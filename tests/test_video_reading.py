"""Videos as pictures: any rate, any rotation, any pixel format, and files that break off."""

import gc
import io
import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from support import real_input

from echomimic.errors import MediaError
from echomimic.media.frames import is_picture, read_frames, video_info
from echomimic.media.video import write_video

WIDTH, HEIGHT = 64, 48
RED, BLUE = (200, 30, 60), (20, 40, 190)


def level(index):
    """A grey picture that says which one it is."""
    return np.full((HEIGHT, WIDTH, 3), 20 + 10 * index, np.uint8)


def index_of(picture):
    return round((float(picture.mean()) - 20) / 10)


def corners():
    """Red at the top left, blue at the top right, black below."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = RED
    picture[: HEIGHT // 2, WIDTH // 2 :] = BLUE
    return picture


def write(path, pictures, codec="ffv1", pix_fmt="bgr0", *, times=None, fps=25, setup=None):
    """A small video; `times` in milliseconds make the rate variable."""
    # An MP4 has its index at the front, as those from the web.
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.gop_size = 4
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if setup is not None:
            setup(stream)
        for i, picture in enumerate(pictures):
            form = "rgba" if picture.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=form)
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_every_frame_of_a_constant_rate_is_given_once(tmp_path):
    path = write(tmp_path / "a.mkv", [level(i) for i in range(20)], fps=24)

    pictures = list(read_frames(path))

    assert [index_of(picture) for picture in pictures] == list(range(20))
    assert pictures[0].shape == (HEIGHT, WIDTH, 3)
    assert pictures[0].dtype == np.uint8


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 25, 60, 120])
def test_rounded_and_reordered_times_neither_lose_nor_repeat_frames(tmp_path, name, fps):
    pictures = [level(i % 20) for i in range(40)]
    path = write(tmp_path / name, pictures, "libx264", "yuv420p", fps=fps)

    assert [index_of(picture) for picture in read_frames(path)] == [*range(20)] * 2


def test_a_video_says_what_it_is(tmp_path):
    path = write(tmp_path / "a.mkv", [level(i) for i in range(20)], fps=24)

    info = video_info(path)

    assert (info.size, info.fps, info.num_frames) == ((WIDTH, HEIGHT), 24.0, 20)
    assert info.duration == pytest.approx(20 / 24, abs=0.01)
    assert not info.has_audio


def test_a_variable_rate_shows_at_each_instant_the_frame_shown_then(tmp_path):
    times = [0, 40, 200, 250, 400]
    path = write(tmp_path / "a.mkv", [level(i) for i in range(5)], times=times)

    shown = [index_of(picture) for picture in read_frames(path, fps=20)]

    instants = 1000 * np.arange(len(shown)) / 20
    assert shown == [int(np.searchsorted(times, t, "right")) - 1 for t in instants]
    assert len(shown) >= 9


@pytest.mark.parametrize("fps, expected", [(12.5, 10), (25, 20), (50, 40), (30, 24)])
def test_another_rate_keeps_the_duration(tmp_path, fps, expected):
    path = write(tmp_path / "a.mkv", [level(i) for i in range(20)])

    shown = [index_of(picture) for picture in read_frames(path, fps=fps)]

    assert len(shown) == expected
    assert shown == [int(k * 25 / fps + 0.01) for k in range(expected)]


def test_the_first_frame_shown_starts_the_clock(tmp_path):
    times = [5000, 5040, 5080]
    path = write(tmp_path / "a.mkv", [level(i) for i in range(3)], times=times)

    assert [index_of(picture) for picture in read_frames(path, fps=25)] == [0, 1, 2]


def test_a_clock_that_jumps_for_days_does_not_fill_the_gap(tmp_path):
    times = [0, 40, 900_000_000, 900_000_040]
    path = write(tmp_path / "a.mkv", [level(i) for i in range(4)], times=times)

    assert [index_of(picture) for picture in read_frames(path, fps=25)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "degrees, mirror, expected",
    [
        (0, False, lambda p: p),
        (90, False, lambda p: np.rot90(p)),  # counterclockwise, as FFmpeg counts
        (180, False, lambda p: np.rot90(p, 2)),
        (-90, False, lambda p: np.rot90(p, -1)),
        (0, True, lambda p: p[:, ::-1]),
    ],
)
def test_rotation_metadata_is_applied(tmp_path, degrees, mirror, expected):
    def turn(stream):
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write rotation metadata")
        stream.set_display_rotation(degrees, hflip=mirror)

    path = write(tmp_path / "a.mp4", [corners()] * 2, "libx264rgb", "rgb24", setup=turn)

    picture = next(iter(read_frames(path)))

    wanted = expected(corners())
    assert picture.shape == wanted.shape
    assert video_info(path).size == (wanted.shape[1], wanted.shape[0])
    assert np.abs(picture.astype(int) - wanted)[4:-4, 4:-4].mean() < 6


@pytest.mark.parametrize(
    "name, codec, pix_fmt",
    [("a.mov", "qtrle", "argb"), ("a.mkv", "ffv1", "bgra"), ("a.mov", "prores_ks", "yuva444p10le")],
)
def test_transparency_is_laid_over_white(tmp_path, name, codec, pix_fmt):
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[:16] = (*RED, 255)
    picture[16:32] = (*RED, 128)
    path = write(tmp_path / name, [picture] * 2, codec, pix_fmt)

    found = next(iter(read_frames(path))).astype(int)

    half = (np.array(RED) * 128 + 255 * 127) / 255
    tolerance = 6 if codec == "prores_ks" else 1
    np.testing.assert_allclose(found[8, 32], RED, atol=tolerance)
    np.testing.assert_allclose(found[24, 32], half, atol=tolerance)
    np.testing.assert_allclose(found[44, 32], (255, 255, 255), atol=tolerance)


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv420p10le", "yuv444p16le", "yuv422p", "gbrp10le"]
)
def test_any_pixel_format_becomes_8_bit_rgb(tmp_path, pix_fmt):
    path = write(tmp_path / "a.mkv", [corners()] * 2, pix_fmt=pix_fmt)

    picture = next(iter(read_frames(path))).astype(int)

    np.testing.assert_allclose(picture[8, 16], RED, atol=4)
    np.testing.assert_allclose(picture[8, 48], BLUE, atol=4)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparent_webm_is_laid_over_white(tmp_path, codec):
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[:24] = (*RED, 255)

    def with_alpha(stream):
        stream.metadata["alpha_mode"] = "1"
        stream.options = {"auto-alt-ref": "0"}  # libvpx refuses it together with transparency

    path = write(tmp_path / "a.webm", [picture] * 3, codec, "yuva420p", setup=with_alpha)

    pictures = list(read_frames(path))

    assert len(pictures) == 3
    np.testing.assert_allclose(pictures[0][8, 32].astype(int), RED, atol=6)
    np.testing.assert_allclose(pictures[2][44, 32], (255, 255, 255), atol=6)


def test_grey_videos_become_rgb(tmp_path):
    path = write(tmp_path / "a.mkv", [level(5)] * 2, pix_fmt="gray")

    assert np.abs(next(iter(read_frames(path))).astype(int) - 70).max() <= 1


@pytest.mark.parametrize("matrix", [1, 5, 9])  # BT.709, BT.601, BT.2020
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("colour_range", [1, 2])  # limited, full
def test_colours_are_converted_by_the_matrix_the_file_names(
    tmp_path, matrix, pix_fmt, colour_range
):
    path = tmp_path / "a.mkv"
    picture = np.tile(np.uint8(RED), (HEIGHT, WIDTH, 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = colour_range
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format=pix_fmt, dst_colorspace=matrix, dst_color_range=colour_range
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    found = next(iter(read_frames(path)))

    np.testing.assert_allclose(found[24, 32].astype(int), RED, atol=4)


def test_motion_jpeg_uses_the_full_range(tmp_path):
    path = write(tmp_path / "a.avi", [corners()] * 2, "mjpeg", "yuvj420p")

    picture = next(iter(read_frames(path))).astype(int)

    np.testing.assert_allclose(picture[8, 16], RED, atol=6)
    np.testing.assert_allclose(picture[40, 16], (0, 0, 0), atol=6)


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    def anamorphic(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    path = write(tmp_path / "a.mp4", [level(1)] * 2, "libx264", "yuv420p", setup=anamorphic)

    assert next(iter(read_frames(path))).shape == (HEIGHT, 96, 3)
    assert video_info(path).size == (96, HEIGHT)


def long_video(path):
    noise = np.random.default_rng(0).integers(0, 256, (40, HEIGHT, WIDTH, 3), np.uint8)
    write(path, noise, "libx264", "yuv420p")
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_file_that_breaks_off_gives_what_it_holds(tmp_path, caplog, name):
    path = long_video(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with caplog.at_level(logging.WARNING):
        pictures = list(read_frames(path, fps=25))

    assert 8 <= len(pictures) <= 32
    if name != "a.ts":  # a transport stream has no header that says how long it should be
        assert f"{name} end early: {len(pictures)} frames" in caplog.text


def test_damage_in_the_middle_costs_no_more_than_what_is_damaged(tmp_path, caplog):
    path = long_video(tmp_path / "a.mkv")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)

    assert len(list(read_frames(path, fps=25))) >= 30


def test_a_frame_that_is_made_up_in_parts_is_reported_or_refused(tmp_path, caplog):
    """Where the second half of its packet is lost, FFmpeg goes on with what the frame before
    shows there."""
    path = long_video(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        start, end = packet.pos + packet.size // 2, packet.pos + packet.size
    content = bytearray(path.read_bytes())
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)

    with caplog.at_level(logging.WARNING):
        assert len(list(read_frames(path))) == 40
    assert "a.mp4 is damaged: 1 of its packets" in caplog.text
    with pytest.raises(MediaError, match="a.mp4 is damaged: .*copy or make the file again"):
        list(read_frames(path, strict=True))


def test_a_whole_file_is_read_without_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        list(read_frames(long_video(tmp_path / "a.mp4"), strict=True))

    assert not caplog.records


def test_an_mp4_without_its_index_is_one_sentence(tmp_path):
    path = long_video(tmp_path / "a.mov")  # has its index at the end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(MediaError, match="a.mov is damaged or not a video file"):
        list(read_frames(path))


@pytest.fixture
def sound_only(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    return path


def test_a_file_with_sound_only_is_named(sound_only):
    with pytest.raises(MediaError, match="a.mp4 holds no video"):
        list(read_frames(sound_only))
    with pytest.raises(MediaError, match="a.mp4 holds no video"):
        video_info(sound_only)


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(5000)])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)

    with pytest.raises(MediaError, match="a.mp4 "):
        list(read_frames(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MediaError, match="There is no video file .*a.mp4"):
        list(read_frames(tmp_path / "a.mp4"))


@pytest.mark.parametrize("fps", [0, -1])
def test_a_rate_that_is_not_positive_is_refused(tmp_path, fps):
    path = write(tmp_path / "a.mkv", [level(0)])

    with pytest.raises(MediaError, match="positive frame rate"):
        list(read_frames(path, fps=fps))


def test_frames_are_decoded_as_they_are_asked_for(tmp_path):
    path = write(tmp_path / "a.mkv", [level(i) for i in range(20)])
    seen = []

    frames = read_frames(path, on_progress=lambda done, total: seen.append((done, total)))
    next(frames)
    assert len(seen) <= 1
    assert len(list(frames)) == 19
    assert seen[-1] == (20, 20)


def test_a_video_in_memory_is_read_like_a_file(tmp_path):
    path = write(tmp_path / "a.mkv", [level(i) for i in range(3)])

    pictures = list(read_frames(io.BytesIO(path.read_bytes())))

    assert [index_of(picture) for picture in pictures] == [0, 1, 2]


def test_an_animated_gif_is_a_video(tmp_path):
    pictures = [Image.fromarray(level(i)) for i in range(3)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 80, 40])

    assert [index_of(p) for p in read_frames(path, fps=25)][:4] == [0, 1, 1, 2]
    assert not is_picture(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_are_told_from_videos(tmp_path, name):
    Image.fromarray(level(1)).save(tmp_path / name)

    assert is_picture(tmp_path / name)


def test_a_real_video_is_read_whole():
    path = real_input("driven_videos/a.mp4")
    info = video_info(path)

    count = sum(1 for _ in read_frames(path))

    assert count == info.num_frames


def frames_in_memory():
    return sum(1 for one in gc.get_objects() if isinstance(one, av.VideoFrame))


def test_frames_do_not_wait_for_the_garbage_collector(tmp_path):
    """A frame that refers to itself stays in memory, and frames of 4K are large."""
    path = tmp_path / "clip.mp4"
    frames = (np.full((48, 64, 3), 10 * level, np.uint8) for level in range(12))
    write_video(path, frames, fps=12, num_frames=12, size=(64, 48))
    gc.collect()
    gc.disable()
    try:
        before = frames_in_memory()
        assert sum(1 for _ in read_frames(path)) == 12
        left = frames_in_memory() - before
    finally:
        gc.enable()
    assert left <= 1  # the first, which is asked how it is turned

"""Sound of any kind becomes 16 kHz mono speech, or one sentence that says why not."""

import logging
import math
import os
import tracemalloc
import wave

import av
import numpy as np
import pytest
import torch

from echomimic.audio.tokens import num_frames
from echomimic.config import AUDIO_RATE
from echomimic.errors import MediaError
from echomimic.media.audio import read_speech, speech_from_audio
from echomimic.media.sound import Audio

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tone(rate, seconds=0.5, channels=1, level=0.5):
    """A 440 Hz sine on every channel: (channels, n) float32."""
    time = np.arange(round(rate * seconds)) / rate
    return np.tile(level * np.sin(2 * np.pi * 440 * time), (channels, 1)).astype(np.float32)


def write_integers(path, samples, rate, width=2):
    """A plain WAV of 1, 2 or 4 bytes per sample."""
    scaled = np.round(samples.T * (2 ** (8 * width - 1) - 1))
    values = (scaled + 128).astype("u1") if width == 1 else scaled.astype(f"<i{width}")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(values.tobytes())
    return path


def write_encoded(path, samples, rate, codec):
    """A file of the kind its name says, made by PyAV."""
    layout = LAYOUTS[len(samples)]
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def assert_is_tone(speech, seconds=0.5, level=0.5):
    assert speech.dtype == torch.float32
    assert len(speech) == round(seconds * AUDIO_RATE)
    inner = slice(400, -400)  # away from the resampling filter's ends
    expected = torch.from_numpy(tone(AUDIO_RATE, seconds, level=level)[0])
    torch.testing.assert_close(speech[inner], expected[inner], atol=0.01, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 192_000])
def test_any_rate_and_channel_count_gives_the_same_speech(tmp_path, rate, channels):
    path = write_integers(tmp_path / "a.wav", tone(rate, channels=channels), rate)
    assert_is_tone(read_speech(path))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_any_integer_width_gives_the_same_speech(tmp_path, width):
    assert_is_tone(read_speech(write_integers(tmp_path / "a.wav", tone(24_000), 24_000, width)))


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_float_files_are_as_loud_as_integer_files(tmp_path, codec, channels):
    path = write_encoded(tmp_path / "a.wav", tone(48_000, channels=channels), 48_000, codec)
    assert_is_tone(read_speech(path))
    assert_is_tone(read_speech(path, int16=True))


def test_compressed_sound_can_be_read(tmp_path):
    path = write_encoded(tmp_path / "a.flac", tone(48_000, channels=2), 48_000, "flac")
    assert_is_tone(read_speech(path))


def test_one_silent_channel_halves_the_voice(tmp_path):
    samples = tone(16_000, channels=2)
    samples[1] = 0
    assert_is_tone(read_speech(write_integers(tmp_path / "a.wav", samples, 16_000)), level=0.25)


def test_sound_in_memory_gives_what_its_file_gives(tmp_path):
    samples = tone(44_100, seconds=2, channels=2)
    path = write_integers(tmp_path / "a.wav", samples, 44_100)
    levels = np.round(samples * 32767).astype(np.float32)  # as the file has them
    audio = Audio(torch.from_numpy(levels / 32768), 44_100)
    for int16 in (False, True):
        from_memory = speech_from_audio(audio, int16=int16)
        assert torch.equal(from_memory, read_speech(path, int16=int16))


def test_int16_speech_lies_on_the_16_bit_grid(tmp_path):
    path = write_integers(tmp_path / "a.wav", tone(44_100), 44_100)
    rounded, fine = read_speech(path, int16=True) * 32768, read_speech(path) * 32768
    assert torch.equal(rounded, rounded.round())
    assert 0 < (rounded - fine).abs().max() <= 1


def test_silence_is_read_with_a_warning(tmp_path, caplog):
    path = write_integers(tmp_path / "quiet.wav", np.zeros((1, 8000)), 16_000)
    with caplog.at_level(logging.WARNING):
        speech = read_speech(path)
    assert len(speech) == 8000
    assert not speech.any()
    assert "quiet.wav is silent" in caplog.text


@pytest.mark.parametrize("rate", [8_000, 16_000, 192_000])
def test_one_sample_makes_one_frame(tmp_path, rate):
    path = write_integers(tmp_path / "a.wav", np.full((1, 1), 0.5), rate)
    audio = Audio(torch.full((1, 1), 0.5), rate)
    for speech in (read_speech(path), speech_from_audio(audio)):
        assert len(speech) == math.ceil(AUDIO_RATE / rate)
        assert num_frames(len(speech), fps=24) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    samples = tone(16_000)
    samples[0, 4000] = value
    path = write_encoded(tmp_path / "broken.wav", samples, 16_000, "pcm_f32le")
    with pytest.raises(MediaError, match=r"broken\.wav holds samples that are NaN or infinite"):
        read_speech(path)


@pytest.mark.parametrize("int16", [False, True])
def test_sound_in_memory_that_is_no_number_is_refused(int16):
    samples = torch.zeros(2, 100_000)
    samples[1, -1] = math.nan
    with pytest.raises(MediaError, match="NaN or infinite"):
        speech_from_audio(Audio(samples, 44_100), int16=int16)


def test_an_empty_sound_is_refused(tmp_path):
    path = write_integers(tmp_path / "empty.wav", np.zeros((1, 0)), 16_000)
    with pytest.raises(MediaError, match=r"empty\.wav holds an empty sound track"):
        read_speech(path)


@pytest.mark.parametrize("content", [b"", b"To be, or not to be?\n" * 99])
def test_what_is_no_sound_is_refused(tmp_path, content):
    (tmp_path / "hamlet.wav").write_bytes(content)
    with pytest.raises(MediaError, match=r"hamlet\.wav is damaged or not a sound file"):
        read_speech(tmp_path / "hamlet.wav")


def test_a_damaged_video_is_not_taken_for_a_sound_file(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no video at all")
    with pytest.raises(
        MediaError, match=r"film\.mp4 is damaged, its sound cannot .*; copy or make"
    ):
        read_speech(tmp_path / "film.mp4")


def test_a_picture_holds_no_sound(tmp_path):
    frame = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")
    with av.open(str(tmp_path / "a.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1, width=8, height=8, pix_fmt="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"a\.png holds no sound"):
        read_speech(tmp_path / "a.png")


def test_a_file_cut_short_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 16_000)).astype(np.float32)
    path = write_encoded(tmp_path / "cut.flac", noise, 16_000, "flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"cut\.flac is damaged"):
        read_speech(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"no sound file .*nothing\.wav"):
        read_speech(tmp_path / "nothing.wav")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_with_a_colon_is_a_name(tmp_path):
    path = write_integers(tmp_path / "http:a%d.wav", tone(16_000), 16_000)
    assert_is_tone(read_speech(path))


def test_too_many_channels_are_refused():
    with pytest.raises(MediaError, match="9 channels"):
        speech_from_audio(Audio(torch.zeros(9, 100), 16_000))


@pytest.mark.parametrize(
    ("samples", "rate"), [(torch.zeros(1, 0), 1), (torch.zeros(5), 1), (torch.zeros(1, 5), 0)]
)
def test_impossible_sounds_are_refused_at_birth(samples, rate):
    with pytest.raises(MediaError):
        Audio(samples, rate)


def test_memory_follows_the_speech_and_not_the_file(tmp_path):
    path = write_integers(tmp_path / "a.wav", tone(192_000, seconds=8, channels=6), 192_000)
    tracemalloc.start()
    speech = read_speech(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = speech.numel() * speech.element_size()
    assert peak < 2 * result < path.stat().st_size / 10


def test_an_hour_can_be_read(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3600 * 500))
    speech = read_speech(write_integers(tmp_path / "hour.wav", samples, 500, width=1))
    assert num_frames(len(speech), fps=24) == 3600 * 24

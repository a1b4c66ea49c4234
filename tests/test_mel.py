"""Log-mel spectrograms: Whisper's filters, and the same numbers however long the clip is."""

import math

import pytest
import torch

from echomimic.audio import mel
from echomimic.audio.mel import log_mel, mel_filters


def noise(seconds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(int(16_000 * seconds), generator=generator) * 0.1


def obvious_log_mel(speech):
    """The whole clip at once, frame by frame through a plain Fourier sum."""
    padded = torch.cat([speech[1:201].flip(0), speech, speech[-201:-1].flip(0)]).double()
    frames = padded.unfold(0, 400, 160)[: len(speech) // 160]
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(400).double() / 400)
    power = torch.fft.rfft(frames * window).abs() ** 2  # (T, 201)
    values = (power @ mel_filters(80).double().T).clamp(min=1e-10).log10().T
    return ((values.clamp(min=values.max() - 8) + 4) / 4).float()


def test_filters_are_those_that_whisper_ships():
    filters = mel_filters(80)
    assert filters.shape == (80, 201)
    assert filters.sum().item() == pytest.approx(1.9990242, abs=1e-6)
    torch.testing.assert_close(filters[0, :3], torch.tensor([0, 0.02486259, 0]))


def test_every_filter_has_unit_area():
    area = mel_filters(40).sum(dim=1) * 40  # 40 Hz between bins
    torch.testing.assert_close(area, torch.ones(40), atol=0.05, rtol=0)


def test_equals_the_obvious_transform():
    speech = noise(1.234)
    torch.testing.assert_close(log_mel(speech), obvious_log_mel(speech), atol=1e-5, rtol=0)


def test_chunks_do_not_show(monkeypatch):
    speech = noise(2)
    whole = log_mel(speech)
    monkeypatch.setattr(mel, "CHUNK_FRAMES", 37)
    torch.testing.assert_close(log_mel(speech), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("num_samples", "frames"), [(1, 2), (250, 2), (320, 2), (16_079, 100)])
def test_a_hundred_frames_per_second_and_never_less_than_a_state(num_samples, frames):
    values = log_mel(noise(2)[:num_samples], num_mels=12)
    assert values.shape == (12, frames)
    assert values.isfinite().all()


def test_silence_is_flat():
    assert log_mel(torch.zeros(16_000)).unique().tolist() == [-1.5]


def test_the_floor_is_the_clips_own_loudest_moment_less_8_decades():
    speech = noise(1)
    speech[8000:] = 0
    values = log_mel(speech)
    assert values.max() - values.min() == pytest.approx(2)

"""Waveform to log-mel spectrogram as Whisper was trained on it (spec 5.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import AUDIO_RATE

WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms: 100 mel frames per second
MIN_SAMPLES = 2 * HOP  # one encoder state; also enough for the reflected border
CHUNK_FRAMES = 6000  # mel frames transformed at once, one minute


def log_mel(speech: Tensor, *, num_mels: int = 80) -> Tensor:
    """Log-mel of 16 kHz speech: (n,) → (num_mels, n // 160) float32 (spec 5.2).

    Values below the clip's own maximum by more than 8 decades are cut, so the clip is one unit
    (D11). Clips shorter than one encoder state (20 ms) are padded with silence. Transformed
    in chunks: beside the result, a long clip needs one padded copy of itself.
    """
    speech = speech.float()
    if len(speech) < MIN_SAMPLES:
        speech = F.pad(speech, (0, MIN_SAMPLES - len(speech)))
    num_frames = len(speech) // HOP
    padded = F.pad(speech[None], (WINDOW // 2, WINDOW // 2), mode="reflect")[0]
    filters = mel_filters(num_mels).to(speech.device)
    mel = speech.new_empty(num_mels, num_frames)
    for start in range(0, num_frames, CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, num_frames)
        part = padded[start * HOP : (stop - 1) * HOP + WINDOW]
        torch.matmul(filters, _power(part), out=mel[:, start:stop])
    mel.clamp_(min=1e-10).log10_()
    mel.clamp_(min=mel.max() - 8.0)
    return mel.add_(4.0).div_(4.0)


def _power(samples: Tensor) -> Tensor:
    """Power spectrum of every whole window: (n,) → (201, frames)."""
    window = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, center=False, return_complex=True)
    return spectrum.abs().square()


def mel_filters(num_mels: int) -> Tensor:
    """Triangles evenly spaced on Slaney's mel scale, each of unit area: (num_mels, 201)."""
    frequencies = torch.linspace(0, AUDIO_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)  # (201,)
    edges = _mel_to_hz(torch.linspace(0, _hz_to_mel(AUDIO_RATE / 2), num_mels + 2).double())
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]  # (num_mels, 1)
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)  # (num_mels, 201)
    return (triangles * 2 / (high - low)).float()


# Slaney's scale: linear to 1 kHz (15 mels), above it 27 mels per factor of 6.4.
_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz * _KNEE_MEL / _KNEE_HZ
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: Tensor) -> Tensor:
    curved = _KNEE_HZ * torch.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return torch.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, curved)

"""Networks of measures on a device that is neither CUDA nor float64, and figures as on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from face_tracks import moving_face, without_mesh
from pretend_device import DEVICE, PretendDevice, to_device

from echomimic.evaluation import measure
from echomimic.evaluation.inception import Inception, InceptionFeatures
from echomimic.evaluation.measure import Setup, measure_pair
from echomimic.evaluation.pairs import Film
from echomimic.evaluation.syncnet import SyncNet
from echomimic.train.lpips import BACKBONES, LPIPS

FRAMES = 7


class Pool3(InceptionFeatures):
    """Without a file: random weights."""

    def __init__(self, network, device):
        self._network, self._device, self._resize = network, device, "tf1"


def seeded(network):
    torch.manual_seed(3)
    return network().eval().requires_grad_(False)


def networks(device):
    """Of equal weights, on the CPU or the pretended device."""
    made = [seeded(make) for make in (lambda: LPIPS(BACKBONES["alex"]), SyncNet, Inception)]
    return made if device == "cpu" else [to_device(network) for network in made]


def figures(device):
    """All that networks say of a pair of films."""
    lpips, syncnet, inception = networks(device)
    real, made = film(0), film(1)
    figures = measure_pair(real, made, Setup(lpips=lpips, syncnet=syncnet)).figures
    return figures, Pool3(inception, device).features(made.frames[:1])


def film(seed):
    track = replace(without_mesh(moving_face(FRAMES)), size=(96, 96))
    width, height = track.size
    noise = np.random.default_rng(seed)
    frames = noise.integers(0, 256, (FRAMES, height, width, 3), dtype=np.uint8)
    speech = noise.standard_normal(FRAMES * 640).astype(np.float32) / 10
    return Film(f"{seed}", frames, speech, track.fps, track)


def test_figures_are_those_of_the_cpu():
    expected, expected_features = figures("cpu")
    with PretendDevice() as device:
        found, features = figures(DEVICE)
    assert {"aten.convolution.default", "aten.max_pool2d_with_indices.default"} <= device.operations
    assert {"lpips", "sync_c", "sync_d"} <= found.keys()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    error = np.linalg.norm(features - expected_features)
    assert error < 1e-4 * np.linalg.norm(expected_features)


def test_networks_compute_in_full_precision_and_settings_come_back(monkeypatch):
    """TF32 of CUDA has 10 bits of fraction, which moves features by a thousandth."""
    seen, before = [], torch.backends.cudnn.allow_tf32

    def look(*_):
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))

    monkeypatch.setattr(measure, "_measure", look)
    measure_pair(None, None, Setup())
    assert seen == [(False, True)]
    assert torch.backends.cudnn.allow_tf32 is before

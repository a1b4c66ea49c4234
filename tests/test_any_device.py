"""From portrait and voice to frames on a device without float64, in which nothing is CUDA's."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from faces import face, poses, track_of
from pretend_device import DEVICE, DeviceTensor, PretendDevice, to_device

from echomimic.conditions import Conditions, encode_face, encode_reference, encode_voice
from echomimic.config import Compatibility, SamplingOptions, variant
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.landmarks.portrait import prepare_portrait
from echomimic.models.vae import decode_frames
from echomimic.sampling.schedule import SCHEDULERS
from echomimic.weights.files import find_models
from echomimic.weights.load import LOADERS

SIZE, FPS, FRAMES = (64, 64), 12.5, 5
WINDOWS = {"context_frames": 3, "context_overlap": 1}  # several per step
HOST = torch.device("cpu")
KINDS = ("audio", "landmark")


@pytest.fixture(scope="module")
def networks(tiny_models):
    """Networks by variant, device and dtype, each loaded once."""
    loaded = {}

    def get(kind, device, dtype):
        if (kind, device, dtype) not in loaded:
            files = find_models([tiny_models], kind)
            parts = {name: load(files, dtype=dtype) for name, load in LOADERS.items()}
            for part in parts.values() if device == DEVICE else ():
                to_device(getattr(part, "model", part))
            loaded[kind, device, dtype] = parts
        return loaded[kind, device, dtype]

    return get


def portrait():
    picture = np.random.default_rng(1).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    return prepare_portrait(picture, SIZE, face_box=(20, 24, 60, 72))


def moving_face():
    turns = np.linspace((0, 0, 0), (4, 8, 2), FRAMES)
    return track_of(face(), poses(turns, (0, 0, -35)), SIZE, FPS)


def clip(parts, kind, device, dtype=torch.float32, goes_on=None, **choices):
    """Latents and frames of a short clip: everything that the library computes on a device.

    `goes_on` is what `sample_clip` takes for a clip that follows another.
    """
    row = variant(kind)
    options = SamplingOptions.for_variant(row, num_inference_steps=2, **WINDOWS | choices)
    place = {"device": device, "dtype": dtype}
    speech = torch.randn(6400, generator=torch.Generator().manual_seed(0)) / 10
    voice = encode_voice(parts["audio_encoder"], speech, fps=FPS, length=FRAMES)
    landmarks = None if kind == "audio" else moving_face()
    seen = encode_face(parts["landmark_encoder"], portrait(), row, landmarks, **place)
    reference = encode_reference(
        parts["reference_unet"], parts["vae"], portrait(), compatibility=options.compatibility,
        **place,
    )  # fmt: skip
    denoiser = Denoiser(
        parts["denoising_unet"], Conditions(reference, voice, seen),
        landmark_encoder=parts["landmark_encoder"], **place,
    )  # fmt: skip
    if denoiser.unet.motion_frames:
        goes_on = {"reference_unet": parts["reference_unet"]}
    latents = sample_clip(denoiser, row, options, **goes_on or {})
    return latents, torch.cat(list(decode_frames(parts["vae"], latents)))


def seeing(networks):
    """The networks, of which the denoising UNet sees two frames before each window."""

    def get(kind, device, dtype):
        parts = networks(kind, device, dtype)
        unet = copy(parts["denoising_unet"])  # no weight is added
        motion = replace(unet.config.motion, motion_frames=2)
        unet.config = replace(unet.config, motion=motion)
        return parts | {"denoising_unet": unet}

    return get


def check_same(kind, networks, **choices):
    here, there = (networks(kind, device, torch.float32) for device in (HOST, DEVICE))
    with PretendDevice() as device:
        latents, frames = clip(there, kind, DEVICE, **choices)
    expected_latents, expected = clip(here, kind, HOST, **choices)
    assert type(frames) is torch.Tensor and frames.shape == (FRAMES, 3, *SIZE)
    assert {"aten.convolution.default", "aten.native_layer_norm.default"} <= device.operations
    for ours, theirs in ((latents, expected_latents), (frames, expected)):
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_samples_without_float64(networks, scheduler):
    check_same("audio", networks, scheduler=scheduler, guidance_scale=2.5)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_to_drive_a_face_work_without_guidance_in_looped_windows(networks, kind):
    check_same(
        kind, networks, guidance_scale=1.0, windows="looped", overlap_weights="pyramid",
        window_batch=2,
    )  # fmt: skip


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_clip_goes_on_from_known_frames(networks, scheduler):
    generator = torch.Generator().manual_seed(2)
    before = {
        "first": 7,
        "known": torch.randn(2, 4, SIZE[1] // 8, SIZE[0] // 8, generator=generator),
    }
    # Without guidance: with it, dpmpp_2m turns 1e-6 of known frames into 7e-4 of this clip, on any
    # device.
    check_same("audio", networks, goes_on=before, scheduler=scheduler, guidance_scale=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_sees_the_frames_before_each_window_works(networks, kind):
    check_same(kind, seeing(networks), guidance_scale=2.5)


def test_the_ways_of_the_official_code_work(networks):
    check_same("landmark", networks, compatibility=Compatibility.parity(), windows="looped")


def test_half_precision_stays_half(networks):
    parts = networks("audio", DEVICE, torch.bfloat16)
    with PretendDevice() as device:
        latents, _ = clip(parts, "audio", DEVICE, torch.bfloat16, guidance_scale=2.5)
    assert latents.isfinite().all() and latents.dtype == torch.float32
    assert "aten.convolution.default" in device.operations


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x.double(),
        lambda x: x.to(DEVICE, torch.float64),
        lambda x: x * torch.ones(2, dtype=torch.float64).to(DEVICE),
        lambda x: torch.zeros(2, device=DEVICE, dtype=torch.float64),
        lambda x: torch.as_tensor(np.ones(2), device=x.device),
        lambda x: torch.arange(2, device=x.device).double(),
    ],
)
def test_float64_on_the_device_is_found(act):
    with PretendDevice(), pytest.raises(AssertionError, match="float64"):
        act(torch.ones(2).to(DEVICE))


def test_tensors_of_two_devices_do_not_mix_but_numbers_do():
    with PretendDevice():
        x = torch.ones(2).to(DEVICE)
        with pytest.raises(AssertionError, match="mixes"):
            x + torch.ones(2)
        half = x * torch.tensor(0.5, dtype=torch.float64)
        assert isinstance(half, DeviceTensor) and half.cpu().tolist() == [0.5, 0.5]

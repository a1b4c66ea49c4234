"""Conditions bound to the UNet: caches, clip length, window batches, whole clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_unet import CONFIG, make

from echomimic.audio.tokens import AudioTrack
from echomimic.conditions import Conditions, DrawnFace, encode_face, encode_voice, landmarks_of_clip
from echomimic.config import VARIANTS, Compatibility, LandmarkEncoderConfig, SamplingOptions
from echomimic.denoiser import Denoiser, choose_window_batch, sample_clip
from echomimic.errors import OptionsError, SamplingError, WeightsError
from echomimic.landmarks.track import LandmarkTrack
from echomimic.models.landmark_encoder import LandmarkEncoder

AUDIO = VARIANTS["audio"]


def track(num_frames=20):
    torch.manual_seed(3)
    return AudioTrack(torch.randn(2 * num_frames, 1, 6), 25.0, num_frames)


def conditions(num_frames=20, face_frames=1):
    torch.manual_seed(4)
    with torch.inference_mode():
        features, _ = make(CONFIG.as_reference()).reference_features(torch.randn(1, 4, 8, 8))
    return Conditions(features, track(num_frames), torch.randn(face_frames, 8, 8, 8))


def denoiser(clip=None, **options):
    options = {"device": "cpu", "dtype": torch.float32} | options
    return Denoiser(make(), clip or conditions(), **options)


def options(**changes):
    small = {"num_inference_steps": 2, "context_frames": 6, "context_overlap": 2}
    return SamplingOptions(**small | changes)


def test_clip_is_as_long_as_the_voice_or_the_landmarks():
    assert conditions(20).num_frames == 20
    assert conditions(20, face_frames=7).num_frames == 7
    assert conditions(5, face_frames=7).num_frames == 5


@pytest.mark.parametrize("num_frames", [1, 5, 6, 17])
@pytest.mark.parametrize("windows", ["open", "looped"])
def test_clips_of_any_length_are_denoised(num_frames, windows):
    latents = sample_clip(denoiser(conditions(num_frames)), AUDIO, options(windows=windows))
    assert latents.shape == (num_frames, 4, 8, 8)
    assert latents.isfinite().all()


@pytest.mark.parametrize("guidance_scale", [1.0, 2.5])
def test_window_batches_change_nothing_but_speed(guidance_scale):
    one, three = (
        sample_clip(denoiser(), AUDIO, options(window_batch=batch, guidance_scale=guidance_scale))
        for batch in (1, 3)
    )
    torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


def test_guidance_of_one_asks_for_conditional_rows_only(monkeypatch):
    asked = []
    original = Denoiser.predict_v

    def watching(self, latents, t, windows, conditional):
        asked.extend(conditional)
        return original(self, latents, t, windows, conditional)

    monkeypatch.setattr(Denoiser, "predict_v", watching)
    sample_clip(denoiser(), AUDIO, options(guidance_scale=1.0))
    assert asked and all(asked)


def test_progress_counts_every_window_of_every_step():
    seen = []
    sample_clip(denoiser(), AUDIO, options(), on_window=lambda *counts: seen.append(counts))
    total = seen[-1][1]
    assert [done for done, _ in seen] == list(range(total + 1))


def test_raising_in_a_callback_cancels():
    class Cancelled(Exception):
        pass

    def cancel(done, total):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        sample_clip(denoiser(), AUDIO, options(), on_window=cancel)


def test_same_seed_same_clip_other_seed_other_clip():
    first, again, other = (sample_clip(denoiser(), AUDIO, options(seed=seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert (first - other).abs().max() > 0.1


def test_moving_landmarks_are_fetched_by_window():
    clip = conditions(20, face_frames=20)
    standing = Conditions(clip.reference, clip.audio, clip.face[:1])
    repeated = Conditions(clip.reference, clip.audio, clip.face[:1].repeat(20, 1, 1, 1))
    latents = [sample_clip(denoiser(c), AUDIO, options()) for c in (clip, standing, repeated)]
    torch.testing.assert_close(latents[1], latents[2])
    assert (latents[0] - latents[1]).abs().max() > 1e-3


def moving_face(num_frames):
    """A landmark track that wanders, as it is drawn for the sampler."""
    points = np.random.default_rng(7).uniform(0.3, 0.7, (num_frames, 478, 3))
    return DrawnFace(LandmarkTrack(points, (64, 64), 25.0), (64, 64))


@pytest.mark.parametrize("kept", [0, 7, 100])
def test_drawn_landmarks_give_what_their_features_give_whatever_is_kept(kept):
    pytest.importorskip("cv2")
    torch.manual_seed(5)
    face, encoder = moving_face(20), LandmarkEncoder(LandmarkEncoderConfig(3, (4, 4, 4, 4), 8))
    encoder.eval().requires_grad_(False)
    features = encoder(face.images(range(20)))
    clip = conditions()
    known = sample_clip(denoiser(replace(clip, face=features)), AUDIO, options())

    bound = denoiser(
        replace(clip, face=face), landmark_encoder=encoder, memory=kept * features[0].nbytes
    )
    drawn = sample_clip(bound, AUDIO, options())

    assert bound._frames._moving.capacity <= kept
    torch.testing.assert_close(drawn, known, atol=1e-5, rtol=1e-5)


def test_without_a_voice_landmarks_decide_the_length_and_the_voice_is_zero():
    pytest.importorskip("cv2")
    face, encoder = moving_face(9), LandmarkEncoder(LandmarkEncoderConfig(3, (4, 4, 4, 4), 8))
    clip = replace(conditions(), audio=None, face=face)
    silent = AudioTrack(torch.zeros(40, 1, 6), 25.0, 20)

    alone, zeros = (
        sample_clip(denoiser(c, landmark_encoder=encoder), AUDIO, options())
        for c in (clip, replace(clip, audio=silent))
    )

    assert len(alone) == 9
    torch.testing.assert_close(alone, zeros)


def test_landmarks_take_the_length_and_rate_of_the_voice():
    landmarks = moving_face(9).track
    assert landmarks_of_clip(None, landmarks) is landmarks
    assert landmarks_of_clip(track(20), None) is None
    for end, expected in (("hold", 20), ("loop", 20), ("cut", 9)):
        assert landmarks_of_clip(track(20), landmarks, end).num_frames == expected
    faster = landmarks_of_clip(replace(track(20), fps=50.0), landmarks, "cut")
    assert (faster.num_frames, faster.fps) == (18, 50.0)
    with pytest.raises(OptionsError, match="Nothing drives the face"):
        landmarks_of_clip(None, None)


def test_windows_longer_than_the_position_table_are_refused():
    with pytest.raises(OptionsError, match="context_frames"):
        sample_clip(denoiser(), AUDIO, options(context_frames=9, context_overlap=1))


def test_nan_names_the_step_and_a_remedy():
    clip = conditions()
    broken = Conditions(clip.reference, clip.audio, clip.face * float("nan"))
    with pytest.raises(SamplingError, match=r"step 1 .*float32"):
        sample_clip(denoiser(broken), AUDIO, options())


@pytest.mark.parametrize(
    "changes",
    [
        {"official_previous_timestep": True},
        {"rotate_single_window": True},
        {"sum_overlaps": True},
        {"clip_noise": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_sampling_switch_does_something(changes):
    num_frames = 6 if "rotate_single_window" in changes else 20
    settings = {"num_inference_steps": 3, "guidance_scale": 1.0, "windows": "looped"}
    ours, official = (
        sample_clip(
            denoiser(conditions(num_frames)),
            AUDIO,
            options(**settings, compatibility=compatibility),
        )
        for compatibility in (Compatibility(), Compatibility(**changes))
    )
    assert (ours - official).abs().max() > 1e-4


def test_latents_dtype_rounds_the_state_of_the_sampler():
    half = {"dtype": torch.bfloat16}
    settings = options(compatibility=Compatibility(latents_dtype="model"))
    clip = conditions()
    unet = make().to(torch.bfloat16)
    ours = sample_clip(Denoiser(unet, clip, device="cpu", **half), AUDIO, options())
    official = sample_clip(Denoiser(unet, clip, device="cpu", **half), AUDIO, settings)
    assert official.dtype == ours.dtype == torch.float32
    torch.testing.assert_close(official, official.bfloat16().float(), atol=0, rtol=0)
    assert (ours - ours.bfloat16().float()).abs().max() > 0


def test_half_precision_stays_near_full_precision():
    """Error of bfloat16 on a random network; the README states that of the full-size one."""
    clip = conditions()
    exact = sample_clip(denoiser(clip), AUDIO, options())
    unet = make().to(torch.bfloat16)
    half = sample_clip(Denoiser(unet, clip, device="cpu", dtype=torch.bfloat16), AUDIO, options())
    assert (half - exact).std() / exact.std() < 0.05


def test_no_double_precision_reaches_the_model():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        doubles = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            self.doubles += isinstance(result, torch.Tensor) and result.dtype == torch.float64
            return result

    bound = denoiser()
    bound._audio(range(6))  # looked up on the CPU
    with Watch() as watch, torch.inference_mode():
        bound.predict_v(torch.randn(1, 6, 4, 8, 8), 999, [range(6)], [True])
    assert watch.doubles == 0


def test_on_the_cpu_windows_go_one_by_one():
    place = {"device": torch.device("cpu"), "dtype": torch.float32}
    assert choose_window_batch(options(), CONFIG, (8, 8), **place) == 1
    assert choose_window_batch(options(window_batch=5), CONFIG, (8, 8), **place) == 5


def test_an_audio_encoder_of_another_width_is_explained():
    clip = conditions()
    wide = Conditions(clip.reference, AudioTrack(torch.randn(40, 1, 12), 25.0, 20), clip.face)
    with pytest.raises(WeightsError, match="12 wide but the denoising UNet takes 6"):
        denoiser(wide)


def test_landmarks_must_suit_the_variant():
    landmarks = LandmarkTrack(np.full((2, 478, 3), 0.5), (64, 64), 25.0)
    place = {"device": "cpu", "dtype": torch.float32}
    with pytest.raises(OptionsError, match="driven by landmarks and was given none"):
        encode_face(None, None, VARIANTS["landmark"], **place)
    with pytest.raises(OptionsError, match="takes no landmarks"):
        encode_face(None, None, VARIANTS["audio"], landmarks, **place)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1000])
def test_impossible_frame_rates_are_explained(fps):
    with pytest.raises(OptionsError, match="fps must be"):
        encode_voice(None, torch.zeros(10), fps=fps)


def test_a_clip_has_at_least_one_frame():
    with pytest.raises(OptionsError, match="length must be 1 frame or more"):
        encode_voice(None, torch.zeros(10), fps=24, length=0)

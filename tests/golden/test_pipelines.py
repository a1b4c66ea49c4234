"""Whole runs against those of the official pipelines (golden h)."""

import copy
from pathlib import Path

import pytest
import torch
from support import (
    GOLDEN,
    fill_from_recipe,
    fold,
    golden_config,
    golden_info,
    golden_json,
    golden_landmark_encoder_config,
    golden_tensors,
    golden_unet_config,
)

from echomimic.audio.tokens import AudioTrack
from echomimic.conditions import Conditions, reference_features
from echomimic.config import VARIANTS, Compatibility, SamplingOptions
from echomimic.denoiser import Denoiser, sample_clip
from echomimic.models.landmark_encoder import LandmarkEncoder
from echomimic.models.unet import UNet
from echomimic.models.vae import DiffusersVAE, decode_frames, make_vae
from echomimic.sampling.schedule import make_schedule

KINDS = {"plain": "audio", "acc": "audio_acc", "pose": "landmark", "pose_acc": "landmark_acc"}


def runs():
    """Names of the stored runs; the official code fails in those marked `error`."""
    path = GOLDEN / "tiny/h_pipes.json"
    if not path.is_file():
        return []
    stored = golden_json("tiny/h_pipes.json")
    return [name for name, run in stored.items() if "error" not in run]


class Run:
    """A stored run: its tensors, its parameters, and the same run by our code."""

    def __init__(self, name):
        file = f"tiny/h_pipe_{name}.safetensors"
        self.stored = golden_tensors(file)[0]
        self.parameters = golden_info(file)["run"]
        self.variant = VARIANTS[KINDS[self.parameters["kind"]]]
        half = bool(self.parameters.get("bank16"))
        self.compatibility = Compatibility(
            official_previous_timestep=True,
            rotate_single_window=True,
            sum_overlaps=True,
            clip_noise=True,
            reference_dtype="float16" if half else "model",
        )

    @property
    def options(self):
        run = self.parameters
        defaults = SamplingOptions()
        return SamplingOptions(
            num_inference_steps=run["steps"],
            guidance_scale=run["cfg"],
            seed=run["seed"],
            windows="looped",
            context_frames=run.get("context", defaults.context_frames),
            context_overlap=run.get("overlap", defaults.context_overlap),
            compatibility=self.compatibility,
        )

    def landmark_images(self):
        if "mask_u8" in self.stored:
            return self.stored["mask_u8"] / 255  # (1, 1, H, W)
        small = self.stored["pose_small_u8"]  # (3, f, h, w)
        enlarged = small.repeat_interleave(8, -1).repeat_interleave(8, -2)
        return enlarged.transpose(0, 1) / 255  # (f, 3, H, W)

    def audio(self):
        stored, _ = golden_tensors("tiny/h_audio_chunks.safetensors")
        states = stored[f"features.{Path(self.parameters['audio']).stem}"]
        return AudioTrack(states, self.parameters["fps"], self.parameters["frames"])

    def landmark_encoder(self):
        images = self.landmark_images()
        component = "face_locator" if images.shape[1] == 1 else "face_locator_pose"
        config = golden_landmark_encoder_config(images.shape[1])
        return fill_from_recipe(LandmarkEncoder(config), component)

    def face(self):
        return self.landmark_encoder()(self.landmark_images())


@pytest.fixture(scope="module")
def networks():
    config = golden_unet_config()
    vae = make_vae(golden_config()["vae"])
    return {
        "reference_unet": fill_from_recipe(UNet(config.as_reference()), "reference_unet"),
        "denoising_unet": fill_from_recipe(UNet(config), "denoising_unet"),
        "vae": DiffusersVAE(fill_from_recipe(vae, "vae")),
    }


@torch.inference_mode()
def encode(run, networks):
    """Our latents of the stored picture; the stored ones where a lone clone lacks the picture."""
    if "ref_image_u8" not in run.stored:
        return run.stored["ref_latents"]
    image = run.stored["ref_image_u8"].permute(2, 0, 1)[None] / 255 * 2 - 1  # (1, 3, H, W)
    return networks["vae"].encode(image)


@torch.inference_mode()
def denoise(run, networks, reference_latents):
    features = reference_features(networks["reference_unet"], reference_latents, run.compatibility)
    conditions = Conditions(features, run.audio(), run.face())
    unet = networks["denoising_unet"]
    denoiser = Denoiser(unet, conditions, device="cpu", dtype=unet.dtype)
    states = [initial_state(run)]
    latents = sample_clip(
        denoiser,
        run.variant,
        run.options,
        on_step=lambda step, latents, clean: states.append((latents.clone(), clean)),
    )
    return latents, states


def initial_state(run):
    return fold(run.stored["init_latents"]), None


def predictions(states, timesteps, alphas):
    """The v of every step, from the latents before it and the clean clip that it points at."""
    for t, (before, _), (_, clean) in zip(timesteps, states, states[1:], strict=False):
        signal, noise = alphas[t].sqrt(), (1 - alphas[t]).sqrt()
        yield (signal * before - clean) / noise


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", runs())
def test_whole_run_gives_the_official_clip(name, networks):
    run = Run(name)
    stored = run.stored
    half = run.compatibility.reference_dtype == "float16"
    tolerance, video_tolerance = (2e-3, 3e-3) if half else (5e-4, 2e-3)

    reference_latents = encode(run, networks)
    latents, states = denoise(run, networks, reference_latents)

    close(reference_latents, stored["ref_latents"], 5e-5)
    if "face_feature" in stored:
        close(run.face(), fold(stored["face_feature"]), 1e-5)
    schedule = make_schedule("ddim", run.options.num_inference_steps)
    assert schedule.timesteps == stored["timesteps"].tolist()
    for step, expected in enumerate(stored.get("step_latents", [])):
        close(states[step + 1][0], fold(expected), tolerance)
    alphas = golden_tensors("tiny/f_scheduler.safetensors")[0]["alphas_cumprod"]
    predicted = list(predictions(states, schedule.timesteps, alphas))
    for step, expected in enumerate(stored.get("step_noise_pred", [])):
        close(predicted[step], fold(expected), tolerance)
    close(latents, fold(stored["final_latents"]), tolerance)

    if "video_f16" in stored:
        chosen = latents[stored["video_frames"]]
        video = torch.cat(list(decode_frames(networks["vae"], chosen))) / 2 + 0.5
        close(video.clamp(0, 1), fold(stored["video_f16"]).float(), video_tolerance)


# Root mean square of the difference to float32, relative to the clip's own. Measured on all
# stored runs: bfloat16 0.017 to 0.035, float16 0.002 to 0.004.
HALF_PRECISION = {torch.bfloat16: 0.1, torch.float16: 0.02}


@pytest.fixture(scope="module")
def exact(networks):
    """A stored run with our noise, which is the same in every precision (D15), in float32."""
    names = runs()
    if not names:
        pytest.skip("golden tiny/h_pipes.json is not at hand (set ECHOMIMIC_GOLDEN)")
    run = Run(names[0])
    run.compatibility = Compatibility()
    return run, denoise(run, networks, run.stored["ref_latents"])[0]


@pytest.mark.parametrize("dtype", HALF_PRECISION, ids=str)
def test_half_precision_stays_near_full_precision(dtype, exact, networks):
    run, expected = exact
    halves = {name: copy.deepcopy(networks[name]).to(dtype) for name in networks if name != "vae"}
    latents, _ = denoise(run, halves, run.stored["ref_latents"].to(dtype))
    error = (latents - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0 < error < HALF_PRECISION[dtype]

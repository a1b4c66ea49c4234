"""Tiny clips through ComfyUI's own samplers, and through ours."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from support import ROOT

SIZE, FRAMES, FPS = 128, 7, 24.0  # tiny random networks are ill-conditioned below 128 pixels
SEED, LATENT_SCALE = 7, 0.18215
WINDOW, OVERLAP = 4, 1  # small enough for several in a clip, which also lie otherwise at step 1
WHISPER = "audio_processor/whisper_tiny.pt"


def module(name: str):
    """A module of the pack as ComfyUI imported it."""
    return sys.modules[f"{str(ROOT).replace('.', '_x_')}.{name}"]


@dataclass(frozen=True)
class Clip:
    """Networks of a variant, and what they animate."""

    pack: dict
    networks: tuple  # model, reference UNet, landmark encoder, VAE
    portrait: object
    audio_track: object
    landmarks: object

    def model(self):
        return self.networks[0]

    def with_model(self, model) -> "Clip":
        return replace(self, networks=(model, *self.networks[1:]))

    def windowed(self, windows):
        """The model with windows that are small enough for several in a short clip."""
        node = self.pack["EchoMimicContextWindows"]
        return node.execute(self.model(), windows, context_frames=WINDOW, context_overlap=OVERLAP)[
            0
        ]

    @torch.inference_mode()
    def conditioning(self) -> tuple:
        """positive, negative, latent"""
        node = self.pack["EchoMimicConditioning"]
        driven = {"audio_track": self.audio_track, "landmarks": self.landmarks}
        return node.execute(*self.networks, self.portrait, **driven).args

    @torch.inference_mode()
    def ours(self, steps=2, cfg=2.5, **choices) -> torch.Tensor:
        """What EchoMimic Sampler makes, scaled: (f, 4, h, w)."""
        settings = {
            "seed": SEED, "steps": steps, "cfg": cfg, "scheduler": "ddim", "windows": "open",
            "context_frames": WINDOW, "context_overlap": OVERLAP, "overlap_weights": "flat",
            "window_batch": 0, "parity": False,
        } | choices  # fmt: skip
        driven = {"audio_track": self.audio_track, "landmarks": self.landmarks}
        node = self.pack["EchoMimicSampler"]
        latent = node.execute(*self.networks, self.portrait, **driven, **settings)[0]
        return latent["samples"] * LATENT_SCALE

    @torch.inference_mode()
    def stock(self, model=None, steps=2, cfg=2.5, sampler="euler", conditions=None) -> torch.Tensor:
        """What KSampler makes of the same noise, scaled: (f, 4, h, w)."""
        import comfy.sample

        import nodes

        positive, negative, latent = conditions or self.conditioning()
        noise = self.pack["EchoMimicNoise"].execute(self.model(), SEED)[0]
        drawn, comfy.sample.prepare_noise = comfy.sample.prepare_noise, None
        try:
            comfy.sample.prepare_noise = lambda *_: noise.generate_noise(latent)
            made = nodes.KSampler().sample(
                model or self.model(), SEED, steps, cfg, sampler, "simple", positive, negative,
                latent,
            )  # fmt: skip
        finally:
            comfy.sample.prepare_noise = drawn
        return made[0]["samples"] * LATENT_SCALE


def load(pack, name="denoising_unet.pth", dtype="fp32") -> tuple:
    """The networks of a tiny random set."""
    return pack["EchoMimicModelLoader"].execute(model=name, dtype=dtype).args


def make_clip(pack, name="denoising_unet.pth", frames=FRAMES, dtype="fp32") -> Clip:
    """A clip driven by what the variant of the file is driven by."""
    image, box, audio, landmarks, *_ = pack["EchoMimicPuppet"].execute(3, "lively", frames, SIZE)
    portrait = pack["EchoMimicPortrait"].execute(
        image, SIZE, SIZE, crop_ratio=0.5, mask_ratio=0.1, parity=False, face_box=box
    )[0]
    networks = load(pack, name, dtype)
    if "pose" in Path(name).name:
        return Clip(pack, networks, portrait, None, landmarks)
    encoder = pack["EchoMimicAudioEncoderLoader"].execute(WHISPER)[0]
    track = pack["EchoMimicAudioEncode"].execute(encoder, audio, FPS, frames, parity=False)[0]
    return Clip(pack, networks, portrait, track, None)

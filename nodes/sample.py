"""Noise → the latents of a clip."""

from __future__ import annotations

from functools import partial

import torch
from comfy_api.latest import io

from ..echomimic.conditions import Conditions, DrawnFace
from ..echomimic.config import Compatibility, SamplingOptions, Variant
from ..echomimic.denoiser import Denoiser, activation_bytes, check_sampling, sample_clip
from ..echomimic.motion.retime import ENDS
from ..echomimic.sampling.schedule import SCHEDULERS
from . import types
from .convert import latent_from_latents
from .model import attend, compute_dtype, variant_of
from .prepare import Networks, prepare
from .preview import ClipPreview, clip_preview
from .provenance import marked
from .runtime import load


class EchoMimicSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicSampler",
            display_name="EchoMimic Sampler",
            category="EchoMimic",
            description="Denoise the clip, window by window. The latent has a frame per batch "
            "item; VAE Decode and EchoMimic Decode to Video take it.",
            search_aliases=["echomimic ksampler", "talking head sampler"],
            inputs=[
                io.Model.Input("model", tooltip="From EchoMimic Model Loader."),
                types.ReferenceUNet.Input("reference_unet", tooltip="From the same loader."),
                types.LandmarkEncoder.Input("landmark_encoder", tooltip="From the same loader."),
                io.Vae.Input("vae", tooltip="That of the loader, or any of Stable Diffusion 1."),
                types.Portrait.Input("portrait", tooltip="Who will move; from EchoMimic Portrait."),
                types.AudioTrack.Input(
                    "audio_track",
                    optional=True,
                    tooltip="The voice, from EchoMimic Audio Encode. Without it, landmarks alone "
                    "drive the face and decide the length.",
                ),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Landmarks in the portrait's picture, from EchoMimic Motion Sync. "
                    "Needs a model whose name has _pose in it, and only such a model takes them.",
                ),
                io.Int.Input(
                    "seed",
                    default=420,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="Every frame has noise of its own that depends on seed and frame "
                    "only, so the start of a longer clip looks the same.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="0: the variant's own: 30, 6 for those named _acc, 8 for mini.",
                ),
                io.Float.Input(
                    "cfg",
                    default=0.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="How strongly portrait and voice guide; 1 is without guidance and "
                    "twice as fast. 0: the variant's own: 2.5, 1 for those named _acc, 1.5 for "
                    "mini.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=list(SCHEDULERS),
                    default="ddim",
                    tooltip="ddim is what the models were published with.",
                ),
                io.Combo.Input(
                    "windows",
                    options=["open", "looped"],
                    default="open",
                    tooltip="How windows lie on the clip. looped: the last one wraps to the "
                    "first frames, as the official code does, for clips that loop.",
                ),
                io.Int.Input(
                    "context_frames",
                    default=12,
                    min=1,
                    max=32,
                    tooltip="Frames in a window. More are smoother and need more memory.",
                ),
                io.Int.Input(
                    "context_overlap",
                    default=-1,
                    min=-1,
                    max=31,
                    tooltip="Frames that a window shares with the next. More are slower. -1: the "
                    "variant's own: 3, 0 for mini.",
                ),
                io.Combo.Input(
                    "overlap_weights",
                    options=["flat", "pyramid"],
                    default="flat",
                    advanced=True,
                    tooltip="Whether the middle of a window counts more where two overlap.",
                ),
                io.Int.Input(
                    "window_batch",
                    default=0,
                    min=0,
                    max=64,
                    advanced=True,
                    tooltip="Windows denoised at once. 0: as many as the memory allows.",
                ),
                io.Boolean.Input(
                    "parity",
                    default=False,
                    advanced=True,
                    tooltip="Do as the official code does, its mistakes included; for "
                    "comparisons. Choose windows looped, and switch parity on in the other "
                    "nodes too.",
                ),
                io.Combo.Input(
                    "landmarks_end",
                    options=list(ENDS),
                    default="hold",
                    tooltip="What landmarks do that end before the voice: hold the last frame, "
                    "loop, go back and forth, or cut the video there.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model,
        reference_unet,
        landmark_encoder,
        vae,
        portrait,
        audio_track=None,
        landmarks=None,
        **choices,
    ) -> io.NodeOutput:
        end = choices.pop("landmarks_end", "hold")  # workflows saved before it lack it
        networks = Networks(model, reference_unet, landmark_encoder, vae)
        options = sampling_options(variant_of(model), **choices)
        check_sampling(options)
        conditions = prepare(networks, portrait, audio_track, landmarks, end, options.compatibility)
        preview = preview_of(vae, portrait, conditions)
        latents = _denoise(networks, conditions, options, preview)
        return io.NodeOutput(marked(latent_from_latents(latents), model, options))


def sampling_options(
    variant: Variant,
    *,
    steps: int,
    cfg: float,
    context_overlap: int,
    window_batch: int,
    parity: bool = False,
    **choices,
) -> SamplingOptions:
    """Widgets → options; 0, of the overlap -1, is the variant's own, or automatic."""
    return SamplingOptions.for_variant(
        variant,
        num_inference_steps=steps or None,
        guidance_scale=cfg or None,
        context_overlap=own_if_negative(context_overlap),
        window_batch=window_batch or None,
        compatibility=Compatibility.parity() if parity else Compatibility(),
        **choices,
    )


def own_if_negative(value: int) -> int | None:
    return None if value < 0 else value


def preview_of(vae, portrait, conditions: Conditions) -> ClipPreview:
    return clip_preview(vae, portrait.image, conditions.fps)


def _denoise(
    networks: Networks, conditions: Conditions, options: SamplingOptions, preview: ClipPreview
) -> torch.Tensor:
    model, reference_unet = networks.model, networks.reference_unet
    landmark_encoder, unet = networks.landmark_encoder, model.model.diffusion_model
    dtype, halves = compute_dtype(unet), 2 if options.guidance_scale > 1 else 1
    windows = options.window_batch or 2  # the library's own choice fills half of the free memory
    rows = windows * options.context_frames * halves
    memory = activation_bytes(unet.config, rows, conditions.latent_size, dtype)
    drawn = isinstance(conditions.face, DrawnFace)  # and encoded while sampling
    reads = unet.motion_frames > 0  # the frames before each window, with the reference UNet
    others = [landmark_encoder] * drawn + [reference_unet] * reads
    load(model, memory, *others)
    denoiser = Denoiser(
        unet,
        conditions,
        device=model.load_device,
        dtype=dtype,
        landmark_encoder=landmark_encoder.model if drawn else None,
        attention=partial(attend, transformer_options=model.model_options["transformer_options"]),
    )
    return sample_clip(
        denoiser,
        variant_of(model),
        options,
        reference_unet=reference_unet.model if reads else None,
        on_window=preview,
        on_step=preview.on_step,
    )

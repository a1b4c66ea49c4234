"""Noise → a video file, segment by segment, so that a crash costs no more than one of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ..echomimic.conditions import Conditions, DrawnFace
from ..echomimic.config import LATENT_STRIDE, SamplingOptions
from ..echomimic.denoiser import Denoiser, activation_bytes, check_sampling
from ..echomimic.fingerprint import digest
from ..echomimic.landmarks.portrait import Portrait
from ..echomimic.media.provenance import KEY
from ..echomimic.media.video import to_uint8
from ..echomimic.render_folder import RenderFolder
from ..echomimic.segments import (
    WINDOWS,
    Segments,
    decode_segments,
    kept_memory,
    place_of,
    plan_segments,
    render_segments,
    render_settings,
)
from .files import new_file
from .model import attend, compute_dtype, variant_of
from .prepare import Networks, prepare
from .preview import watched
from .provenance import HIDDEN, mark_of, provenance
from .runtime import load
from .sample import EchoMimicSampler, preview_of, sampling_options
from .segments_preview import SegmentsPreview
from .vae import ComfyVAE
from .video_file import file_inputs, save_video, sound_input, sound_of

FOLDER = "echomimic_renders"  # below the output folder: the temp folder is emptied at every start
FILE_INPUTS = ("filename_prefix", "save_output", "crf")


class EchoMimicLongRender(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicLongRender",
            display_name="EchoMimic Long Render",
            category="EchoMimic",
            description="Sampler and Decode to Video in one, for long clips: what is finished is "
            "kept on disk. If ComfyUI is stopped or crashes, queue the same graph again, and it "
            "goes on from there. Memory does not grow with the length.",
            search_aliases=["echomimic resume", "long video", "segments", "continue after crash"],
            is_output_node=True,
            inputs=[
                *EchoMimicSampler.define_schema().inputs,
                io.Int.Input(
                    "segment_windows",
                    default=WINDOWS,
                    min=1,
                    max=10_000,
                    tooltip="Windows that are finished together. Fewer lose less in a crash; each "
                    "segment costs one or two windows more.",
                ),
                io.Boolean.Input(
                    "keep_latents",
                    default=False,
                    advanced=True,
                    tooltip="Keep the finished latents after the video is made, so that another "
                    f"crf or file name needs no sampling. They lie in output/{FOLDER}.",
                ),
                *file_inputs(),
                sound_input(),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[*HIDDEN],
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
        file = {name: choices.pop(name) for name in FILE_INPUTS}
        new_file(file["filename_prefix"], "output" if file["save_output"] else "temp", ".mp4")
        segments = Segments(
            Path(folder_paths.get_output_directory()) / FOLDER,
            choices.pop("segment_windows"),
            choices.pop("keep_latents"),
        )
        sound, end = sound_of(choices.pop("audio", None)), choices.pop("landmarks_end")
        networks = Networks(model, reference_unet, landmark_encoder, vae)
        options = sampling_options(variant_of(model), **choices)
        check_sampling(options)
        conditions = prepare(networks, portrait, audio_track, landmarks, end, options.compatibility)
        folder = _folder(segments, portrait, conditions, options, networks)
        preview = SegmentsPreview(preview_of(vae, portrait, conditions), folder)
        _denoise(folder, networks, conditions, options, preview)
        video = save_video(
            watched(
                _frames(folder, vae, truncate=options.compatibility.truncate_frames),
                folder.num_frames,
                conditions.fps,
            ),
            fps=conditions.fps,
            num_frames=folder.num_frames,
            size=tuple(LATENT_STRIDE * side for side in reversed(conditions.latent_size)),
            sound=sound,
            provenance=provenance(cls.hidden, model={KEY: mark_of(model, options)}),
            written_at=folder.video,
            **file,
        )
        if not segments.keep:
            folder.remove()
        return video


def _folder(
    segments: Segments,
    portrait: Portrait,
    conditions: Conditions,
    options: SamplingOptions,
    networks: Networks,
) -> RenderFolder:
    """Where this very clip is rendered, or goes on being rendered."""
    model = networks.model
    weights = {
        "denoising_unet": model,
        "reference_unet": networks.reference_unet,
        "landmark_encoder": networks.landmark_encoder,
        "vae": networks.vae.patcher,
    }
    settings = render_settings(
        variant_of(model),
        options,
        portrait=portrait,
        conditions=conditions,
        weights={name: _weights_digest(patcher) for name, patcher in weights.items()},
        place=place_of(model.load_device, compute_dtype(model.model.diffusion_model)),
    )
    plan = plan_segments(conditions.num_frames, options, segments.windows)
    return RenderFolder.open(segments.folder, settings, plan)


def _weights_digest(patcher: ModelPatcher) -> str:
    """Of the weights as they were loaded and the patches (LoRA) on them, applied or not."""
    return digest(patcher.get_key_patches())


def _denoise(
    folder: RenderFolder,
    networks: Networks,
    conditions: Conditions,
    options: SamplingOptions,
    preview: SegmentsPreview,
) -> None:
    if folder.num_finished == len(folder.segments):
        return
    model, landmark_encoder = networks.model, networks.landmark_encoder
    unet, drawn = model.model.diffusion_model, isinstance(conditions.face, DrawnFace)
    dtype, halves = compute_dtype(unet), 2 if options.guidance_scale > 1 else 1
    rows = (options.window_batch or 2) * options.context_frames * halves  # as the sampler does
    memory = activation_bytes(unet.config, rows, conditions.latent_size, dtype)
    load(model, memory, *([landmark_encoder] if drawn else []))
    make_denoiser = partial(
        Denoiser,
        unet,
        device=model.load_device,
        dtype=dtype,
        landmark_encoder=landmark_encoder.model if drawn else None,
        attention=partial(attend, transformer_options=model.model_options["transformer_options"]),
        memory=kept_memory(folder, model.load_device),
    )
    render_segments(
        folder,
        conditions,
        variant_of(model),
        options,
        make_denoiser,
        on_window=preview.on_window,
        on_step=preview.on_step,
    )


def _frames(folder: RenderFolder, vae: VAE, *, truncate: bool) -> Any:
    """uint8 (n, H, W, 3), a few at a time."""
    return (
        to_uint8(images, truncate=truncate) for images in decode_segments(ComfyVAE(vae), folder)
    )

"""What a clip will cost, said before the sampler starts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..echomimic.bench import time_decoding
from ..echomimic.config import SamplingOptions
from ..echomimic.denoiser import check_sampling
from ..echomimic.errors import OptionsError
from ..echomimic.plan import Clip, Machine, Plan, make_plan, measure_window
from ..echomimic.plan_needs import clip_segments
from ..echomimic.plan_text import plan_text
from . import types
from .long_render import FOLDER
from .model import attend, compute_dtype, variant_of
from .runtime import load
from .sample import sampling_options
from .vae import ComfyVAE


class EchoMimicPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EchoMimicPlan",
            display_name="EchoMimic Plan",
            category="EchoMimic",
            description="Before you wait: how many windows and model calls a clip takes, how long "
            "that will be, what memory and disk it needs, and which setting to change if it will "
            "not fit. Give it the settings of EchoMimic Sampler or EchoMimic Long Render.",
            search_aliases=[
                "echomimic estimate",
                "how long will it take",
                "render time",
                "vram estimate",
                "memory needed",
            ],
            is_output_node=True,
            not_idempotent=True,
            inputs=[
                io.Model.Input("model", tooltip="From EchoMimic Model Loader."),
                types.Portrait.Input("portrait", tooltip="Its size is that of the video."),
                types.AudioTrack.Input(
                    "audio_track", optional=True, tooltip="The voice, whose length counts."
                ),
                types.Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Landmarks, whose length counts where there is no voice.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="To measure how long decoding a frame takes."
                ),
                io.Int.Input(
                    "steps", default=0, min=0, max=1000, tooltip="0: the variant's own number."
                ),
                io.Float.Input(
                    "cfg",
                    default=0.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Above 1 every window is computed twice. 0: the variant's own.",
                ),
                io.Combo.Input(
                    "windows",
                    options=["open", "looped"],
                    default="open",
                    tooltip="How windows lie on the clip.",
                ),
                io.Int.Input(
                    "context_frames",
                    default=12,
                    min=1,
                    max=32,
                    tooltip="Frames in a window; memory grows with them.",
                ),
                io.Int.Input(
                    "context_overlap",
                    default=-1,
                    min=-1,
                    max=31,
                    tooltip="Frames that a window shares with the next; time grows with them. -1: "
                    "the variant's own.",
                ),
                io.Int.Input(
                    "window_batch",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="Windows denoised at once. 0: as many as the memory allows.",
                ),
                io.Boolean.Input(
                    "measure",
                    default=True,
                    tooltip="Run one window, to tell the time from it. Off: only count.",
                ),
                io.Int.Input(
                    "segment_windows",
                    default=0,
                    min=0,
                    max=10_000,
                    optional=True,
                    tooltip="That of EchoMimic Long Render, which keeps finished segments on disk. "
                    "0: EchoMimic Sampler, which makes the clip in one piece.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="plan", tooltip="All of it in words."),
                io.Float.Output(
                    display_name="seconds",
                    tooltip="Time of sampling, and of decoding with a VAE; 0 if not measured.",
                ),
                io.Boolean.Output(display_name="fits", tooltip="Whether memory and disk suffice."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        portrait,
        measure,
        audio_track=None,
        landmarks=None,
        vae=None,
        segment_windows=0,
        **choices,
    ) -> io.NodeOutput:
        options, config = _options(model, choices), model.model.diffusion_model.config
        clip = _clip(portrait, audio_track, landmarks)
        clip_segments(config, options, clip.num_frames, segment_windows)  # may be refused
        machine = _machine(model, _place(segmented=bool(segment_windows)))
        seconds = _seconds(model, vae, options, clip, machine) if measure else {}
        plan = make_plan(
            config,
            variant_of(model),
            options,
            clip,
            machine,
            weight_bytes=int(model.model_size()),
            segment_windows=segment_windows,
            **seconds,
        )
        text = plan_text(plan)
        return io.NodeOutput(text, _total(plan), plan.fits, ui=ui.PreviewText(text))


def _options(model: ModelPatcher, choices: dict[str, Any]) -> SamplingOptions:
    options = sampling_options(variant_of(model), **choices)
    check_sampling(options)
    return options


def _clip(portrait, audio_track, landmarks) -> Clip:
    """With a voice, landmarks are fitted to its length."""
    track = landmarks if audio_track is None else audio_track
    if track is None:
        raise OptionsError(
            "Nothing says how long the clip is; connect an audio_track or landmarks."
        )
    return Clip(track.num_frames, track.fps, portrait.crop.size)


def _place(*, segmented: bool) -> Path:
    """The folder that is written to."""
    output = Path(folder_paths.get_output_directory())
    renders = output / FOLDER  # may be a link to another disk
    return renders if segmented and renders.is_dir() else output


def _machine(model: ModelPatcher, folder: Path) -> Machine:
    """What is free here once ComfyUI has made room, as it does before sampling."""
    device, dtype = model.load_device, compute_dtype(model.model.diffusion_model)
    machine = Machine.here(device, dtype, folder)
    evicted = sum(
        loaded.model_loaded_memory()
        for loaded in comfy.model_management.current_loaded_models
        if loaded.device == device
    )
    free = int(comfy.model_management.get_free_memory(device) + evicted)
    return replace(machine, free_device=free)


def _seconds(
    model: ModelPatcher, vae, options: SamplingOptions, clip: Clip, machine: Machine
) -> dict[str, float]:
    seconds = {}
    if vae is not None:
        decoding = time_decoding(ComfyVAE(vae), clip.latent_size, machine.device)
        seconds["seconds_per_decoded_frame"] = decoding
    load(model)
    attention = partial(attend, transformer_options=model.model_options["transformer_options"])
    unet = model.model.diffusion_model
    window = measure_window(unet, options, clip, machine, attention=attention)
    return seconds | {"seconds_per_window": window}


def _total(plan: Plan) -> float:
    return (plan.sampling_seconds or 0.0) + (plan.decoding_seconds or 0.0)

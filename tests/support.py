"""Fixtures shared by the tests: where stored tensors are, and how random weights are made."""

import json
import math
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"


def _golden_dir() -> Path:
    chosen = os.environ.get("ECHOMIMIC_GOLDEN")
    if chosen:
        return (ROOT / chosen).resolve()
    shared = ROOT / "../shared/golden"
    return shared.resolve() if shared.is_dir() else DATA / "golden"


GOLDEN = _golden_dir()


def _golden_eval_dir() -> Path:
    chosen = os.environ.get("ECHOMIMIC_GOLDEN_EVAL")
    if chosen:
        return (ROOT / chosen).resolve()
    return GOLDEN / "eval" if (GOLDEN / "eval").is_dir() else DATA / "golden/eval"


GOLDEN_EVAL = _golden_eval_dir()  # of the measures; may be a folder of its own


def inputs_dir() -> Path | None:
    """The real portraits and voices, or None where they are not at hand."""
    candidates = [GOLDEN / "inputs", GOLDEN / "../inputs"]
    if "ECHOMIMIC_INPUTS" in os.environ:
        candidates.insert(0, ROOT / os.environ["ECHOMIMIC_INPUTS"])
    return next((path.resolve() for path in candidates if path.is_dir()), None)


def real_input(name: str) -> Path:
    """A file of the real inputs; a name without suffix may have any. Skips where it is absent."""
    folder = inputs_dir()
    pattern = name if Path(name).suffix else f"{name}.*"
    found = sorted(folder.glob(pattern)) if folder else []
    if not found:
        pytest.skip(f"real input {name} is not at hand (set ECHOMIMIC_INPUTS)")
    return found[0]


def golden_file(name: str) -> Path:
    """A stored file of the official code; skips the test where it is absent."""
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"golden {name} is not at hand (set ECHOMIMIC_GOLDEN)")
    return path


def golden_tensors(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a golden safetensors file."""
    with safe_open(golden_file(name), "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(golden_file(name)))


def golden_json(name: str) -> dict:
    return json.loads(golden_file(name).read_text())


def eval_file(name: str) -> Path:
    """A stored file of the measures' own codes; skips the test where it is absent."""
    path = GOLDEN_EVAL / name
    if not path.is_file():
        pytest.skip(f"golden eval/{name} is not at hand (set ECHOMIMIC_GOLDEN_EVAL)")
    return path


def eval_tensors(name: str, *wanted: str) -> dict[str, torch.Tensor]:
    """Tensors of such a safetensors file; skips if it lacks one of those that are wanted."""
    with safe_open(eval_file(name), "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if lacking := {*wanted} - {*tensors}:
        pytest.skip(f"golden eval/{name} lacks {min(lacking)} (set ECHOMIMIC_GOLDEN_EVAL)")
    return tensors


def eval_json(name: str) -> dict:
    return json.loads(eval_file(name).read_text())


def golden_config() -> dict:
    return golden_json("tiny/config.json")


def recipe_tensor(tag: str, component: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Random weight made from its official name (golden README, "Weights")."""
    seed = zlib.crc32(f"{tag}/{component}/{name}".encode())
    weight = torch.randn(
        shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32
    )
    if name.endswith("running_mean"):
        weight = 0.05 * weight
    elif name.endswith("running_var"):
        weight = 1 + 0.1 * weight.abs()
    elif len(shape) >= 2:
        weight = weight * (1 / math.sqrt(math.prod(shape[1:])))
    elif name.endswith("weight"):
        weight = 1 + 0.1 * weight
    else:
        weight = 0.05 * weight
    return weight.half().float()


def fill_from_recipe(module: torch.nn.Module, component: str, tag: str | None = None):
    """Give `module`, whose parameter names are the official ones, the recipe's weights."""
    tag = tag or golden_config()["tag"]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(recipe_tensor(tag, component, name, tuple(parameter.shape)))
    return module.eval().requires_grad_(False)


def golden_unet_config():
    """The denoising UNet's configuration, read from the official one beside the goldens."""
    from echomimic.config import MotionConfig, UNetConfig

    stored = golden_config()
    unet, extra = stored["unet"], stored["denoising_additional"]
    motion = extra["motion_module_kwargs"]
    widths = tuple(unet["block_out_channels"])
    return UNetConfig(
        channels=widths,
        attention=(True,) * (len(widths) - 1) + (False,),
        layers_per_level=unet["layers_per_block"],
        num_heads=unet["attention_head_dim"],  # historical misnaming, spec 1.4
        norm_groups=unet["norm_num_groups"],
        audio_dim=extra["cross_attention_dim"],
        motion=MotionConfig(
            motion["num_attention_heads"], motion["temporal_position_encoding_max_len"]
        ),
    )


def golden_landmark_encoder_config(in_channels: int):
    from echomimic.config import LandmarkEncoderConfig

    stored = golden_config()["face_locator"]
    return LandmarkEncoderConfig(
        in_channels,
        tuple(stored["block_out_channels"]),
        stored["conditioning_embedding_channels"],
    )


def in_two_processes(script: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run a script in two processes on the CPU, joined by gloo.

    `accelerate launch --cpu` starts only one (its launcher of several is for GPUs).
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return [sys.executable, *launcher, str(script)], environment


def fold(clips: torch.Tensor) -> torch.Tensor:
    """The official (b, c, f, h, w) → ours, (b f, c, h, w)."""
    return clips.transpose(1, 2).flatten(0, 1)


def golden_info(name: str) -> dict:
    """What a golden safetensors file says of itself."""
    return json.loads(golden_tensors(name)[1].get("info", "{}"))

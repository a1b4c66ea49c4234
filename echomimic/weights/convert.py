"""Turn `.pth` files into half-precision safetensors: half the disk, a faster start (spec E11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import VARIANTS, Variant, variant
from ..errors import WeightsError
from ..models.landmark_encoder import LandmarkEncoder
from ..models.unet import UNet
from .files import find_file, look_up
from .load import DType, check, choose_dtype, is_random, merged_state, with_position_tables
from .read import read_state, shapes
from .settings import landmark_config, make_metadata, unet_config
from .write import write_safetensors


@dataclass(frozen=True)
class Source:
    """A checked network, ready to be written."""

    component: str
    state: Mapping[str, Tensor]
    config: Any
    random: bool

    def write(self, path: Path, row: Variant, dtype: torch.dtype) -> None:
        # Shared files belong to both variants of a family, so they name none.
        name = row.name if self.component == "denoising_unet" else None
        metadata = make_metadata(self.component, name, asdict(self.config), random=self.random)
        write_safetensors(
            path, shapes(self.state), self.state.__getitem__, dtype=dtype, metadata=metadata
        )


def convert(
    folders: Sequence[Path],
    destination: Path,
    variants: Sequence[str] | None = None,
    dtype: DType = "float16",
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write safetensors of the variants found in `folders` (None: of all that are there).

    The motion module is merged into the denoising UNet; the configuration goes into the
    metadata. Files that exist already are kept, and tensors are checked and written one by one.
    Raises `WeightsError` for a file that is missing or does not fit.
    """
    dtype, jobs = choose_dtype(dtype, "cpu"), {}
    for row in _rows(folders, variants):
        for component in ("denoising_unet", "reference_unet", "landmark_encoder"):
            path = Path(destination) / f"{getattr(row, component)}.safetensors"
            jobs.setdefault(path, (component, row))
    for done, (path, (component, row)) in enumerate(jobs.items(), 1):
        if not path.exists():
            _source(folders, row, component).write(path, row, dtype)
        if on_progress is not None:
            on_progress(done, len(jobs))
    return list(jobs)


def _rows(folders: Sequence[Path], variants: Sequence[str] | None) -> list[Variant]:
    if variants is not None:
        return [variant(name) for name in variants]
    rows = [row for row in VARIANTS.values() if look_up(folders, row, "denoising_unet")]
    if not rows:
        searched = ", ".join(map(str, folders))
        raise WeightsError(f"There is no denoising UNet to convert in {searched}.")
    return rows


def _source(folders: Sequence[Path], row: Variant, component: str) -> Source:
    path = find_file(folders, row.name, component)
    if component == "denoising_unet":
        motion = find_file(folders, row.name, "motion_module")
        state, metadata = merged_state(path, motion)
    else:
        state, metadata = read_state(path)
    if component == "landmark_encoder":
        config = landmark_config(path, metadata, row.landmark_channels)
        model = LandmarkEncoder(config, device="meta")
    else:
        config = unet_config(path, metadata, component)
        model = UNet(config, device="meta")
        state = with_position_tables(state, model)
    check(model.state_dict(), state, [path], component.replace("_", " "))
    return Source(component, state, config, is_random(path, metadata, component))

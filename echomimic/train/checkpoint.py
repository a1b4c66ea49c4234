"""The state of a run on disk: whole folders, which appear when they are complete."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import TrainingError
from ..files import replacing_folder

WEIGHTS, AVERAGES, OPTIMIZER, STATE = (
    "weights.safetensors",
    "ema.safetensors",
    "optimizer.pt",
    "state.json",
)


DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError,
)  # that reading raises  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on as if it had never stopped. Random numbers need no state."""

    step: int  # steps done
    weights: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


def save_checkpoint(
    folder: Path, checkpoint: Checkpoint, settings: Mapping[str, Any], *, keep_last: int
) -> Path:
    """Write `folder/step-000010` and remove older ones; the last whole one always stays.

    Raises `TrainingError` where it cannot be written.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    state = {"step": checkpoint.step, "settings": settings}
    try:
        with replacing_folder(final) as unfinished:
            save_file(_contiguous(checkpoint.weights), unfinished / WEIGHTS)
            save_file(_contiguous(checkpoint.averages), unfinished / AVERAGES)
            torch.save(dict(checkpoint.optimizer), unfinished / OPTIMIZER)
            (unfinished / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"The checkpoint {final} cannot be written ({error}); free some space and resume, the "
            "previous checkpoint is whole."
        ) from error
    for old in checkpoints(folder)[:-keep_last]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    return sorted(state.parent for state in folder.glob(f"step-*/{STATE}"))


def load_checkpoint(folder: Path, settings: Mapping[str, Any]) -> Checkpoint | None:
    """The newest whole checkpoint, or None.

    Raises `TrainingError` if it was made with other settings, or cannot be read.
    """
    found = checkpoints(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        state = json.loads((newest / STATE).read_text(encoding="utf-8"))
        _check_settings(newest, state["settings"], settings)
        return Checkpoint(
            step=state["step"],
            weights=load_file(newest / WEIGHTS),
            averages=load_file(newest / AVERAGES),
            optimizer=torch.load(newest / OPTIMIZER, weights_only=True),
        )
    except DAMAGE as error:
        raise TrainingError(
            f"The checkpoint {newest} cannot be read ({error}); remove it to go on from the one "
            "before."
        ) from error


def _check_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(now))
    for key in sorted(set(before) | set(now)):
        if before.get(key) != now.get(key):
            raise TrainingError(
                f"{path} was made with {key} = {before.get(key)!r}, not {now.get(key)!r}; restore "
                "the setting, or start anew with --fresh or in another folder."
            )


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

"""The state of a run on disk: whole folders, which appear when they are complete."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import TrainingError, brief
from ..files import is_disk_full, replacing_folder
from .workers import worker_death

log = logging.getLogger(__name__)

WEIGHTS, AVERAGES, OPTIMIZER, STATE = (
    "weights.safetensors",
    "ema.safetensors",
    "optimizer.pt",
    "state.json",
)


DIGESTS = {  # of settings whose values say nothing to people: what was another
    "clips": "other clips (their names, lengths or people); restore the data",
    "latents": "latents of another VAE; restore its file",
    "voices": "voices as another audio encoder hears them; restore its file",
    "frozen": "other networks beside those that train; restore the files of the stage before",
}
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

    Raises `TrainingError` where it cannot be written. The death of a worker that loads data, which
    torch tells of wherever the process is at that moment, is raised as it is.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    state = {"step": checkpoint.step, "settings": settings}
    try:
        with replacing_folder(final) as unfinished:
            save_file(_contiguous(checkpoint.weights), unfinished / WEIGHTS)
            save_file(_contiguous(checkpoint.averages), unfinished / AVERAGES)
            # Through a file of Python's, whose errors say what is wrong: torch's own do not.
            with (unfinished / OPTIMIZER).open("wb") as file:
                torch.save(dict(checkpoint.optimizer), file)
            (unfinished / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    except (OSError, RuntimeError, SafetensorError) as error:
        if death := worker_death(error):
            raise death from None
        raise TrainingError(_not_written(final, error)) from error
    for old in checkpoints(folder)[:-keep_last]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _not_written(path: Path, error: Exception) -> str:
    reason, mend = f"({brief(error)})", "check the folder"
    if is_disk_full(error):
        reason, mend = "because the disk is full", "free some space"
    kept = checkpoints(path.parent)
    onward = f"goes on from {kept[-1].name}" if kept else "begins anew, for there is none before it"
    return f"The checkpoint {path} cannot be written {reason}; {mend}: the same command {onward}."


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    return sorted(state.parent for state in folder.glob(f"step-*/{STATE}"))


def load_checkpoint(
    folder: Path, settings: Mapping[str, Any], *, free: Collection[str] = ()
) -> Checkpoint | None:
    """The newest whole checkpoint, or None. Of `free` settings it is logged what changed.

    Raises `TrainingError` if it was made with other settings, or cannot be read.
    """
    found = checkpoints(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        state = json.loads((newest / STATE).read_text(encoding="utf-8"))
        _check_settings(newest, state["settings"], settings, free)
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


def _check_settings(
    path: Path, before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]
) -> None:
    now = json.loads(json.dumps(now))
    changed = [key for key in sorted(set(before) | set(now)) if before.get(key) != now.get(key)]
    for key in changed:
        if key in free:
            log.info("%s is %s from here on; it was %s.", key, now.get(key), before.get(key))
            continue
        made_with = f"{key} = {before.get(key)!r}, not {now.get(key)!r}; restore the setting"
        raise TrainingError(
            f"{path} was made with {DIGESTS.get(key, made_with)}, or start anew with --fresh or in "
            "another folder."
        )


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

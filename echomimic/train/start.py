"""What networks begin from: files that an earlier stage left, published ones, or others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..config import Variant
from ..errors import WeightsError
from ..models.unet import UNet
from ..weights.files import look_up
from ..weights.networks import POSITION_TABLE, check_motion_frames
from ..weights.read import read_state
from .export import MOTION

PARALLEL = "module."  # what DataParallel puts before every name, as in AnimateDiff's files


def find_start(folder: Path, row: Variant, component: str) -> Path:
    """The file of a component in a folder. Raises `WeightsError` if there is none."""
    path = look_up([folder], row, component)
    if path is None:
        raise WeightsError(
            f"{folder} holds no {getattr(row, component)}; run stage 'stage1' first, or correct "
            "`start`."
        )
    return path


def fill_spatial(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a file, all but those of motion modules."""
    wanted = {name for name in network.state_dict() if MOTION not in name}
    _fill(network, path, wanted, read_state(path)[0])


def fill_motion(network: UNet, path: Path) -> None:
    """Give a UNet's motion modules the weights of a file: ours, published, or AnimateDiff's.

    Positions follow from a formula: a table in the file may be shorter or longer, or be absent.
    Raises `WeightsError` for a file that does not fit, or that was trained with another number of
    motion frames.
    """
    state = {name.removeprefix(PARALLEL): x for name, x in read_state(path)[0].items()}
    if not any(MOTION in name for name in state):
        raise WeightsError(f"{path} is not a motion module; give one, such as AnimateDiff's.")
    check_motion_frames(path, network.motion_frames)
    names = (name for name in network.state_dict() if MOTION in name)
    _fill(network, path, {n for n in names if not n.endswith(POSITION_TABLE)}, state)


def _fill(network: nn.Module, path: Path, wanted: set[str], state: Mapping[str, Tensor]) -> None:
    missing = sorted(wanted - set(state))
    if missing:
        raise WeightsError(
            f"{path} does not fit the {type(network).__name__} of the recipe: {missing[0]} and "
            f"{len(missing) - 1} more are missing; correct the recipe's model or the file."
        )
    chosen = {name: state[name].float() for name in wanted}
    try:
        network.load_state_dict(chosen, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} does not fit the recipe's model ({reason}).") from None

"""Training whose weights are spread over processes (FSDP 2): shares gathered, and spread again.

What gathers or spreads must be called by every process, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds a share of every weight."""
    return bool(getattr(accelerator, "is_fsdp2", False))


def compute_by_autocast(accelerator: Accelerator) -> None:
    """Leave weights and inputs as they are: autocast alone decides what runs in half precision.

    FSDP's own way casts all of them, also what losses and LPIPS need in full.
    """
    if is_sharded(accelerator):
        accelerator.state.fsdp_plugin.mixed_precision_policy = None


def whole(value: Any, *, keep: bool) -> Any:
    """Tensors, and what holds some, with their shares gathered in the processes that keep them.

    Gathered are one at a time, in main memory. Other processes get None in their places.
    """
    if isinstance(value, DTensor):
        gathered = value.detach().full_tensor()
        return gathered.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: whole(part, keep=keep) for key, part in value.items()}
    if isinstance(value, list):
        return [whole(part, keep=keep) for part in value]
    return value


def own_share(value: Tensor) -> Tensor:
    """What this process holds of a tensor: all of it, if it is not spread."""
    return value.to_local() if isinstance(value, DTensor) else value


def spread(value: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, as `like` is spread; the tensor if it is not."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def spread_state(state: Mapping[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The state of an optimiser of these parameters, as they are spread."""
    averages = {
        number: {
            key: spread(value, parameters[number]) if _is_like(value, parameters[number]) else value
            for key, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": averages}


def make_whole(module: nn.Module, *, keep: bool) -> None:
    """Replace shares by whole weights in main memory, in the processes that keep them.

    The module can be written to files then, but trains no more.
    """
    for owner in module.modules():
        for name, parameter in list(owner._parameters.items()):
            if isinstance(parameter, DTensor):
                gathered = whole(parameter, keep=keep)
                if keep:
                    owner._parameters[name] = nn.Parameter(gathered, parameter.requires_grad)


def _is_like(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape

"""A compute device that no machine needs to have, as strict as the strictest.

Its tensors keep their values in main memory, but PyTorch takes them for those of another device.
As on Apple's MPS there is no float64, and as everywhere tensors of two devices do not mix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # the only device that PyTorch knows of without a driver
TOO_WIDE = (torch.float64, torch.complex128)
# These would make real meta tensors of data from Python, which have no values.
MAKERS = (torch.tensor, torch.as_tensor, torch.asarray)
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
# These take tensors of several devices everywhere: copies, and indices from main memory.
BETWEEN_DEVICES = {"aten::_to_copy", "aten::copy_", "aten::index", "aten::index_put_"}


class DeviceTensor(Tensor):
    """A tensor on the pretended device; `value` is the same one in main memory."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value: Tensor) -> DeviceTensor:
        return Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=DEVICE,
        )

    def __init__(self, value: Tensor) -> None:
        self.value = value

    @classmethod
    def __torch_dispatch__(cls, operation: Any, *_: Any) -> Any:
        raise AssertionError(f"{operation} on the pretended device, outside of PretendDevice")


class PretendDevice:
    """While this context lasts `DEVICE` computes, and breaking its rules is an `AssertionError`.

    `operations` are the names of all that ran there.
    """

    def __init__(self) -> None:
        self.operations: set[str] = set()
        # Without gradients, as the library samples; views of weights need them made likewise.
        self._modes = (torch.inference_mode(), _Factories(), _Operations(self.operations))

    def __enter__(self) -> PretendDevice:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


@torch.inference_mode()
def to_device(network: nn.Module) -> nn.Module:
    """The network with its weights on the pretended device."""
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    _check_width(tensor, f"the weight {name}")
                    tensors[name] = DeviceTensor(tensor.data)
    return network


class _Factories(TorchFunctionMode):
    """Data from Python is made in main memory and brought to the device, as it really is."""

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        kwargs = dict(kwargs or {})
        if function in MAKERS and _names_device(kwargs.get("device")):
            del kwargs["device"]
            return function(*args, **kwargs).to(DEVICE)
        if function in INDEXING and isinstance(args[0], DeviceTensor):
            args = (args[0], _index(args[1]), *args[2:])
        return function(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, operations: set[str]) -> None:
        super().__init__()
        self._seen = operations

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
        if not here and not any(map(_names_device, leaves)):
            return operation(*args, **kwargs)
        with self:  # what consists of others is looked at part by part
            result = operation.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        self._check_inputs(operation, tensors, here)
        result = operation(*_in_main_memory(args), **_in_main_memory(kwargs))
        devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        if devices and not any(map(_names_device, devices)):
            return result  # it was brought to main memory
        return self._returned(operation, result, here)

    def _check_inputs(self, operation, tensors: list[Tensor], here: list[DeviceTensor]) -> None:
        self._seen.add(str(operation))
        for tensor in tensors:
            hollow = tensor.is_meta and not isinstance(tensor, DeviceTensor)
            assert not hollow, f"{operation} takes a tensor that was made without its values"
        for tensor in here:
            _check_width(tensor, operation)
        if operation._schema.name in BETWEEN_DEVICES:
            return
        for tensor in tensors if here else ():
            mixes = not isinstance(tensor, DeviceTensor) and tensor.ndim
            assert not mixes, f"{operation} mixes tensors of the device and of main memory"

    def _returned(self, operation, result: Any, here: list[DeviceTensor]) -> Any:
        known = {id(tensor.value): tensor for tensor in here}  # in-place operations return them

        def wrapped(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            _check_width(leaf, operation)
            return known[id(leaf)] if id(leaf) in known else DeviceTensor(leaf)

        for tensor in here:
            assert tensor.value.shape == tensor.shape, f"{operation} changes a shape in place"
        return tree_map(wrapped, result)


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _names_device(leaf: Any) -> bool:
    if isinstance(leaf, str):
        return leaf == DEVICE.type
    return isinstance(leaf, torch.device) and leaf == DEVICE


def _check_width(tensor: Tensor, where: Any) -> None:
    assert tensor.dtype not in TOO_WIDE, f"{where} has {tensor.dtype} on the compute device"


def _in_main_memory(values: Any) -> Any:
    def moved(leaf: Any) -> Any:
        if isinstance(leaf, DeviceTensor):
            return leaf.value
        return torch.device("cpu") if _names_device(leaf) else leaf

    return tree_map(moved, values)

"""Modules on several devices: here one, to which the wrappers move what a module is called with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ... import _C
from ..module import Module
from .moving import moved

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


class DataParallel(Module):
    """Calls ``module``, which is the attribute ``module`` and whose state has that prefix.

    With one device there is nothing to divide: the module is moved to it, and so is whatever it is
    called with. ``device_ids``: the number of the device, the first one unless given; without any
    device modules and inputs stay on the CPU. Raises NotImplementedError for several
    ``device_ids``, RuntimeError for a call when the module is elsewhere.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids is not None and len(device_ids) > 1:
            raise NotImplementedError(
                f"DataParallel: one device is supported, got device_ids={list(device_ids)}"
            )
        self.module = module
        self.device_ids: list[int] = []
        self.output_device, self.dim = output_device, dim
        if _C.cuda_device_count() == 0:
            return
        device = _device_of(device_ids or [0])
        self.device_ids, self.src_device_obj = [device.index], device
        self.output_device = device.index if output_device is None else output_device
        self.module.to(device)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module returns, which is called with tensors on its device."""
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        device = self.src_device_obj
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.device != device:
                raise RuntimeError(
                    "module must have its parameters and buffers on device "
                    f"{device} (device_ids[0]) but found one of them on device: {tensor.device}"
                )
        return self.module(*moved(inputs, device), **moved(kwargs, device))


def _device_of(device_ids: Any) -> Any:
    """The device that is named first, by a number, a string or itself."""
    first = next(iter(device_ids))
    return _C.device("cuda", first) if isinstance(first, int) else _C.device(first)


class DistributedDataParallel(Module):
    """Calls ``module``; gradients are those of the one process of the group.

    ``device_ids``: the device of the module, to which tensors that it is called with are moved.
    Raises ValueError before ``tilegrad.distributed.init_process_group``, and for ``device_ids`` of
    a module on the CPU or of more than one device.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        **options: Any,
    ) -> None:
        from ... import distributed

        super().__init__()
        distributed.get_world_size()
        devices = {str(p.device) for p in module.parameters()}
        if device_ids and (len(device_ids) > 1 or devices <= {"cpu"} or len(devices) > 1):
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with "
                f"single-device GPU modules, but got device_ids {list(device_ids)}, output_device "
                f"{output_device}, and module parameters on {sorted(devices)}"
            )
        self.module, self.device_ids, self.dim = module, device_ids, dim
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module returns, which is called with tensors on its device."""
        if self.device_ids:
            device = _device_of(self.device_ids)
            inputs, kwargs = moved(inputs, device), moved(kwargs, device)
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """A ``with`` block without exchange of gradients; there is none anyway."""
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:
    """Calls the module; NotImplementedError for several devices."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*inputs, **(module_kwargs or {}))

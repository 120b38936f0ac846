"""Tensors of another shape with the dtype and device of one: new_zeros, new_full, new_tensor."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..tensor import Tensor
from ._pinning import empty_pinned
from ._register import method
from .fill import _finish, _like, _shape, tensor


@method()
def new_zeros(
    input: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Zeros of another shape, of this tensor's dtype and device."""
    size = _shape("new_zeros", sizes, size)
    output = new_full(input, size, 0, dtype=dtype, device=device, pin_memory=pin_memory)
    return _finish(output, requires_grad)


@method()
def new_ones(
    input: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Ones of another shape, of this tensor's dtype and device."""
    size = _shape("new_ones", sizes, size)
    output = new_full(input, size, 1, dtype=dtype, device=device, pin_memory=pin_memory)
    return _finish(output, requires_grad)


@method()
def new_full(
    input: Any,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """One number in another shape, of this tensor's dtype and device."""
    dtype, device = _like(input, dtype, device)
    return _finish(_C.full(size, fill_value, dtype, device), requires_grad, pin_memory=pin_memory)


@method()
def new_empty(
    input: Any, *sizes: Any, size: Any = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Undefined content in another shape, of this tensor's dtype and device."""
    dtype, device = _like(input, dtype, device)
    size = _shape("new_empty", sizes, size)
    if pin_memory:
        return _finish(empty_pinned(size, dtype, device, pin_memory), requires_grad)
    return _finish(_C.empty(size, dtype, device, "new_empty"), requires_grad)


@method()
def new_tensor(
    input: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A copy of ``data`` with this tensor's dtype and device."""
    dtype, device = _like(input, dtype, device)
    return tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)

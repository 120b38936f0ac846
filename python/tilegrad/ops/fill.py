"""Tensors made from numbers, data and other tensors: tensor, zeros, full, arange, eye, ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from .._memory_format import in_format, preserve_format
from ..autograd.graph import needs_grad, record
from ..autograd.views import in_place
from ..tensor import Tensor
from ._data import array_of, check_range, default_dtype, holds_double
from ._default_device import device_of as _device
from ._default_device import get_default_device, set_default_device
from ._pinning import empty_pinned, pinned
from ._register import method, put_out, takes_tensors

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "get_default_device",
    "linspace",
    "ones",
    "ones_like",
    "set_default_device",
    "tensor",
    "zeros",
    "zeros_like",
]


def _finish(output: Any, requires_grad: bool, out: Any = None, pin_memory: bool = False) -> Any:
    if out is not None:
        output = put_out(out, output)
    elif pin_memory:
        output = pinned(output, pin_memory)
    return output.requires_grad_() if requires_grad else output


def _shape(op: str, size: tuple, named: Any = None) -> Any:
    """Accepts ``f(2, 3)``, ``f((2, 3))`` and ``f(size=(2, 3))``; TypeError for no integers."""
    if named is not None:
        if size:
            raise TypeError(f"{op}: got sizes both by position and as 'size'")
        size = (named,)
    sizes: Any = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    for item in sizes:
        if type(item) is not int and (isinstance(item, bool) or not hasattr(item, "__index__")):
            raise TypeError(f"{op}: argument 'size': expected integers, got {item!r}")
    return sizes


def _dtype(dtype: Any, out: Any = None) -> Any:
    """The dtype asked for, else that of ``out=``, else the default."""
    if dtype is not None:
        return dtype
    return _C.get_default_dtype() if out is None else _out_dtype(out)


def _out_dtype(out: Any) -> Any:
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out': expected a Tensor, got {type(out).__name__}")
    return out.dtype


@takes_tensors
def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested sequences, NumPy arrays or tensors.

    Without ``dtype`` Python floats become the default dtype, integers int64, bools bool; arrays and
    tensors keep theirs. Raises ValueError for ragged sequences, TypeError for other objects.
    """
    if isinstance(data, Tensor):
        output = _C.clone(data)
    else:
        array = array_of(data, dtype)
        if isinstance(data, (int, float, complex, list, tuple)):
            check_range(array, dtype)
        output = _C.clone(_C.from_numpy(array))
        from_python = isinstance(data, (float, complex, list, tuple)) and not holds_double(data)
        if dtype is None and from_python and output.dtype in (_C.float64, _C.complex128):
            dtype = default_dtype(output.dtype.is_complex)
    return _finish(_moved(output, dtype, device), requires_grad, None, pin_memory)


def _moved(output: Any, dtype: Any, device: Any) -> Any:
    if dtype is not None:
        output = _C.to_dtype(output, dtype)
    place = _device(device)
    if device is not None or place.type != "cpu":
        output = _C.to_device(output, place)
    return output


@takes_tensors
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Like :func:`tensor`, but shares memory with arrays and tensors when nothing changes.

    Any dtype; Python data becomes what :func:`tensor` makes of it. Errors are those of
    :func:`tensor`, and RuntimeError for an unknown device.
    """
    if isinstance(data, Tensor):
        unchanged = dtype is None and device is None
        return data if unchanged else data.to(device=device, dtype=dtype)
    if isinstance(data, np.ndarray):
        return _moved(_C.from_numpy(array_of(data)), dtype, device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory.

    Raises TypeError for other objects and dtypes without counterpart, ValueError for negative
    strides.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return _C.from_numpy(ndarray)


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of undefined content.

    ``sizes``: integers, or one sequence, also as ``size=``; ``dtype``: the default dtype unless
    given; ``pin_memory``: page-locked memory of the host, from which copies to a card need not wait
    (functions that make tensors have it in common; RuntimeError where there is no card).
    RuntimeError for a negative size, more elements or bytes than 64 bits count, and an
    unknown device; MemoryError for more memory than there is; TypeError for other arguments.
    """
    if pin_memory and out is None:
        size = _shape("empty", sizes, size)
        output = empty_pinned(size, _dtype(dtype), _device(device), pin_memory)
        return _finish(output, requires_grad)
    output = _C.empty(_shape("empty", sizes, size), _dtype(dtype, out), _device(device))
    return _finish(output, requires_grad, out)


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of zeros. Sizes, dtype and errors are those of :func:`empty`."""
    output = _C.full(_shape("zeros", sizes, size), 0, _dtype(dtype, out), _device(device), "zeros")
    return _finish(output, requires_grad, out, pin_memory)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor of ones. Sizes, dtype and errors are those of :func:`empty`."""
    output = _C.full(_shape("ones", sizes, size), 1, _dtype(dtype, out), _device(device), "ones")
    return _finish(output, requires_grad, out, pin_memory)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor filled with one number, whose kind decides the dtype unless one is given: bool,
    int64 for integers, the default dtype for floats. Errors are those of :func:`empty`."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if dtype is None and out is not None:
        dtype = _out_dtype(out)
    if dtype is None:
        if isinstance(fill_value, (bool, np.bool_)):
            dtype = _C.boolean
        elif isinstance(fill_value, (int, np.integer)):
            dtype = _C.int64
        else:
            dtype = default_dtype(isinstance(fill_value, (complex, np.complexfloating)))
    return _finish(
        _C.full(size, fill_value, dtype, _device(device)), requires_grad, out, pin_memory
    )


def _like(input: Any, dtype: Any, device: Any) -> tuple:
    return (
        input.dtype if dtype is None else dtype,
        input.device if device is None else _device(device),
    )


def memory_like(input: Any, dtype: Any, device: Any, memory_format: Any) -> Any:
    """Memory in the shape of ``input`` and in its order, or in ``memory_format``."""
    dtype, device = _like(input, dtype, device)
    if memory_format is None or memory_format is preserve_format:
        return _C.empty_like(input, dtype, device)
    return in_format(_C.empty(input.shape, dtype, device), memory_format)


@takes_tensors
def empty_like(
    input: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Undefined content in the shape of ``input``.

    Any shape; ``dtype`` and ``device`` replace those of ``input``, ``memory_format`` the order of
    its elements. Raises TypeError if ``input`` is
    not a tensor, RuntimeError for an unknown device.
    """
    return _finish(
        memory_like(input, dtype, device, memory_format), requires_grad, None, pin_memory
    )


@takes_tensors
def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """One number in the shape, dtype and device of ``input``.

    Any shape; ``dtype`` and ``device`` replace those of ``input``, ``memory_format`` the order of
    its elements. Raises TypeError if ``input`` is
    not a tensor, RuntimeError for an unknown device. RuntimeError for a number that the dtype
    cannot hold.
    """
    if memory_format is None or memory_format is preserve_format:
        output = _C.full_like(input, fill_value, *_like(input, dtype, device))
    else:
        output = memory_like(input, dtype, device, memory_format)
        _C.fill_(output, fill_value)
    return _finish(output, requires_grad, None, pin_memory)


def zeros_like(
    input: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Zeros in the shape, dtype and device of ``input``.

    Any shape; ``dtype`` and ``device`` replace those of ``input``, ``memory_format`` the order of
    its elements. Raises TypeError if ``input`` is
    not a tensor, RuntimeError for an unknown device.
    """
    return full_like(
        input, 0, dtype=dtype, device=device, requires_grad=requires_grad,
        memory_format=memory_format, pin_memory=pin_memory,
    )  # fmt: skip


@takes_tensors
def ones_like(
    input: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Ones in the shape, dtype and device of ``input``.

    Any shape; ``dtype`` and ``device`` replace those of ``input``, ``memory_format`` the order of
    its elements. Raises TypeError if ``input`` is
    not a tensor, RuntimeError for an unknown device.
    """
    return full_like(
        input, 1, dtype=dtype, device=device, requires_grad=requires_grad,
        memory_format=memory_format, pin_memory=pin_memory,
    )  # fmt: skip


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """``start, start + step, ...`` below ``end``; one argument is the end.

    int64 if all three are integers, else the default dtype. Raises RuntimeError for a zero step and
    bounds that contradict it or are not finite, ValueError for a step that is zero in ``out``.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if dtype is None and out is not None:
        dtype = _out_dtype(out)
        if not dtype.is_floating_point and step and int(step) == 0:
            raise ValueError(f"arange: step must be nonzero, got {step} for {dtype}")
    if dtype is None:
        whole = all(isinstance(x, (int, np.integer)) for x in (start, end, step))
        dtype = _C.int64 if whole else _C.get_default_dtype()
    return _finish(
        _C.arange(start, end, step, dtype, _device(device)), requires_grad, out, pin_memory
    )


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included, evenly spaced.

    (steps), of the default dtype unless given. Raises RuntimeError for a negative ``steps``,
    and for tensors with dimensions, TypeError or ValueError for what is not a number.
    """
    if any(isinstance(x, Tensor) and x.ndim > 0 for x in (start, end)):
        raise RuntimeError("linspace only supports 0-dimensional start and end tensors")
    if steps < 0:
        raise RuntimeError(f"linspace: number of steps must be non-negative, got {steps}")
    values = np.linspace(float(start), float(end), steps)
    output = _C.to_dtype(_C.from_numpy(values), _dtype(dtype, out))
    return _finish(_C.to_device(output, _device(device)), requires_grad, out, pin_memory)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix of zeros; m defaults to n.

    The default dtype unless given. Raises RuntimeError for a negative size, TypeError for one that
    is not an integer.
    """
    output = zeros(n, n if m is None else m, dtype=_dtype(dtype, out), device=device)
    _C.fill_(_C.diagonal(output, 0, 0, 1), 1)
    return _finish(output, requires_grad, out, pin_memory)


@method()
def fill_(input: Any, value: Any) -> Any:
    """Sets every element to a number or to a 0-dimensional tensor; returns ``self``."""
    if isinstance(value, Tensor):
        if value.ndim > 0:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} dimensions."
            )
        if needs_grad(input, value):
            return in_place("fill_", _filled, input, value)
        value = value.item()
    if needs_grad(input):
        return in_place("fill_", _filled, input, value)
    _C.fill_(input, value)
    return input


def _filled(input: Any, value: Any) -> Any:
    number = value.item() if isinstance(value, Tensor) else value
    output = full_like(input, number)
    record(output, fill_backward, (input, value))
    return output


def fill_backward(node: Any, grad: Any) -> tuple:
    return grad * 0 if node.needs(0) else None, grad.sum() if node.needs(1) else None


@method()
def zero_(input: Any) -> Any:
    """Sets every element to zero; returns ``self``."""
    return fill_(input, 0)

"""Copies and conversions: clone, contiguous, to, and the dtype methods."""

from __future__ import annotations

import warnings
from typing import Any

from .. import _C
from .._memory_format import contiguous_format, in_format, preserve_format
from ..autograd.graph import needs_grad, needs_grad_in_place, record
from ..autograd.views import in_place
from ._register import method, takes_tensors

__all__ = ["clone"]

_PYTHON_TYPES = {float: _C.float64, int: _C.int64, bool: _C.boolean, complex: _C.complex128}


@method()
def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy with its own memory, through which gradients flow; in the order of the original unless
    another ``memory_format`` is given."""
    if memory_format is not None and memory_format is not preserve_format:
        copied = in_format(input, memory_format)
        return copied if copied is not input else clone(input)
    output = _C.clone(input)
    if needs_grad(input):
        record(output, clone_backward, (input,))
    return output


def clone_backward(node: Any, grad: Any) -> Any:
    return grad


@method()
def contiguous(input: Any, *, memory_format: Any = None) -> Any:
    """The tensor itself if it is row-major without gaps, else a copy that is.

    ``memory_format``: another order to ask for, ``channels_last`` or ``channels_last_3d``; raises
    RuntimeError if the tensor has another number of dimensions, TypeError for anything else.
    """
    if memory_format is not None and memory_format is not contiguous_format:
        return in_format(input, memory_format)
    if _C.is_contiguous(input):
        return input
    output = _C.contiguous(input)
    if needs_grad(input):
        record(output, clone_backward, (input,))
    return output


@method()
def to(input: Any, *args: Any, **kwargs: Any) -> Any:
    """Converts to a dtype, a device, or both, or to those of another tensor.

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``, each with ``non_blocking``
    and ``copy``. Returns the tensor itself if nothing changes and ``copy`` is False. The result
    lies in ``memory_format`` if one is given, see :meth:`Tensor.contiguous`.
    """
    format = kwargs.get("memory_format")
    if format is not None and format is not preserve_format:
        moved = to(input, *args, **{**kwargs, "memory_format": preserve_format})
        return contiguous(moved, memory_format=format)
    if not args and not kwargs:
        raise TypeError("to: expected a dtype, a device or a tensor, got no arguments")
    dtype, device, copy, non_blocking = _parse_to(*args, **kwargs)
    dtype = input.dtype if dtype is None else dtype
    device = input.device if device is None else device
    if dtype is input.dtype and device == input.device:
        return clone(input) if copy else input
    if input.dtype.is_complex and not dtype.is_complex and dtype is not _C.boolean:
        warnings.warn(
            "Casting complex values to real discards the imaginary part", UserWarning, stacklevel=2
        )
    if device.type == "cpu":  # what need not wait must be last
        output = _C.to_device(_C.to_dtype(input, dtype), device, non_blocking)
    else:
        output = _C.to_dtype(_C.to_device(input, device, non_blocking), dtype)
    if needs_grad(input):
        record(output, to_backward, (input,), (input.device,))
    return output


def to_backward(node: Any, grad: Any) -> Any:
    (device,) = node.saved
    return to(grad, device)  # the engine restores the dtype


def _parse_to(
    *args: Any,
    dtype: Any = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> tuple:
    flags = []
    for arg in args:
        if isinstance(arg, bool):
            flags.append(arg)
        elif hasattr(arg, "requires_grad"):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (_C.device, str, int)):
            device = arg
        elif arg is None or isinstance(arg, (_C.dtype, type)):
            dtype = arg if arg is not None else dtype
        else:
            raise TypeError(f"to: expected a dtype, a device or a tensor, got {type(arg).__name__}")
    if len(flags) > 1:
        copy = flags[1]
    non_blocking = flags[0] if flags else non_blocking
    dtype = _PYTHON_TYPES.get(dtype, dtype) if isinstance(dtype, type) else dtype
    if dtype is not None and not isinstance(dtype, _C.dtype):
        raise TypeError(f"to: argument 'dtype': expected a tilegrad.dtype, got {dtype!r}")
    if device is not None:
        device = _C.device(device)
    return dtype, device, copy, non_blocking


@method()
def cpu(input: Any) -> Any:
    """The tensor in host memory."""
    return to(input, "cpu")


@method()
def cuda(
    input: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Any:
    """The tensor on a CUDA device, the current one or that of this name or number, in
    ``memory_format`` if one is given. Raises RuntimeError for the CPU, and where there is none."""
    place = _C.device("cuda" if device is None else device)
    if place.type != "cuda":
        raise RuntimeError(f"Invalid device, must be cuda device, got {place}")
    return to(input, place, non_blocking=non_blocking, memory_format=memory_format)


@method()
@takes_tensors
def type_as(input: Any, other: Any) -> Any:
    """``input.to(other.dtype)``."""
    return to(input, other.dtype)


@method()
def copy_(input: Any, src: Any, non_blocking: bool = False) -> Any:
    """Writes ``src``, broadcast and converted, into this tensor; returns it."""
    if needs_grad_in_place(input, src):
        return in_place("copy_", _overwritten, input, src)
    _C.copy_(input, src, non_blocking)
    return input


def _overwritten(input: Any, src: Any) -> Any:
    src = to(src, input.device, input.dtype)
    output = _C.clone(_C.expand(src, input.shape))
    if needs_grad(input, src):
        record(output, copy_backward, (input, src))
    return output


def copy_backward(node: Any, grad: Any) -> tuple:
    return grad.new_zeros(grad.shape) if node.needs(0) else None, grad


def _attach_dtype_methods() -> None:
    from ..tensor import Tensor

    def converter(dtype: Any) -> Any:
        def convert(self: Any, memory_format: Any = None) -> Any:
            made = to(self, dtype)
            if memory_format is None or memory_format is preserve_format:
                return made
            return contiguous(made, memory_format=memory_format)

        convert.__doc__ = f"The tensor as {dtype}."
        return convert

    for name, dtype in {
        "float": _C.float32,
        "double": _C.float64,
        "half": _C.float16,
        "bfloat16": _C.bfloat16,
        "long": _C.int64,
        "int": _C.int32,
        "short": _C.int16,
        "char": _C.int8,
        "byte": _C.uint8,
        "bool": _C.boolean,
        "cfloat": _C.complex64,
        "cdouble": _C.complex128,
    }.items():
        setattr(Tensor, name, converter(dtype))


_attach_dtype_methods()

"""How an ops module attaches its functions to ``Tensor``: as methods, operators, in-place forms."""

from __future__ import annotations

import builtins
import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, needs_grad_in_place
from ..autograd.views import in_place
from ..tensor import Tensor

__all__ = [
    "composed_in_place",
    "expect_tensors",
    "in_place_method",
    "method",
    "operator",
    "put_out",
    "rounded_once",
    "takes_tensors",
]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPERANDS = (Tensor, bool, int, float, complex, np.number, np.bool_)


def takes_tensors(function: Function) -> Function:
    """Turns the AttributeError of an argument that should have been a tensor into a TypeError.

    For functions that read a tensor's attributes themselves; where the first thing done with an
    argument is a call of a kernel, the binding already complains. ``axis`` is taken for ``dim``,
    as NumPy has it.
    """
    code = getattr(function, "__wrapped__", function).__code__
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    takes_axis = "dim" in parameters and "axis" not in parameters

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and takes_axis:
            _rename_axis(kwargs, function.__name__)
        try:
            return function(*args, **kwargs)
        except AttributeError as error:
            given = [*args, *kwargs.values()]
            given += [x for items in given if isinstance(items, (tuple, list, str)) for x in items]
            arrays = [x for x in given if isinstance(x, np.ndarray)]  # their dtype is not ours
            wrong = [x for x in given if x is error.obj and not isinstance(x, Tensor)] or arrays
            if not wrong or isinstance(error.obj, Tensor):
                raise
            raise TypeError(
                f"{function.__name__}: expected a Tensor, got {type(wrong[0]).__name__}"
            ) from None

    return call  # type: ignore[return-value]


def expect_tensors(op: str, *operands: Any) -> None:
    """Raises TypeError for a number where an operation takes tensors only."""
    for operand in operands:
        if not isinstance(operand, Tensor):
            raise TypeError(f"{op}(): expected a Tensor, got {type(operand).__name__}")


def _rename_axis(kwargs: dict[str, Any], op: str) -> None:
    """NumPy's names of arguments become PyTorch's. Raises TypeError if both are there."""
    for theirs, name in (("axis", "dim"), ("keepdims", "keepdim")):
        if theirs in kwargs:
            if name in kwargs:
                raise TypeError(f"{op}: got both {name!r} and {theirs!r}")
            kwargs[name] = kwargs.pop(theirs)


def rounded_once(function: Function) -> Function:
    """Computes with halves as kernels do: in float32, and rounds the result once.

    For functions composed of several operations, each of which would round its own result.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if not any(x.dtype.itemsize == 2 and x.dtype.is_floating_point for x in tensors):
            return function(*args, **kwargs)
        dtype = functools.reduce(_C.promote_types, [x.dtype for x in tensors])
        out = kwargs.pop("out", None)
        result = function(
            *(_widened(x) for x in args), **{name: _widened(x) for name, x in kwargs.items()}
        )
        if result.dtype is _C.float32:
            result = result.to(dtype)
        return result if out is None else put_out(out, result)

    return call  # type: ignore[return-value]


def _widened(x: Any) -> Any:
    is_half = isinstance(x, Tensor) and x.dtype.itemsize == 2 and x.dtype.is_floating_point
    return x.float() if is_half else x


def method(*names: str) -> Callable[[Function], Function]:
    """Makes the function a Tensor method, under its own name or under ``names``."""

    def attach(function: Function) -> Function:
        for name in names or (function.__name__,):
            setattr(Tensor, name, function)
        return function

    return attach


def operator(name: str, function: Callable[..., Any], *, reflected: bool = False) -> None:
    """Makes ``Tensor.<name>`` call ``function(self, other)``, or ``(other, self)`` if reflected.

    Operands of foreign types get Python's usual chance to handle the operation themselves.
    """
    if reflected:

        def dunder(self: Any, other: Any) -> Any:
            try:
                return function(other, self)
            except TypeError:
                if isinstance(other, _OPERANDS):
                    raise
                return NotImplemented

    else:

        def dunder(self: Any, other: Any) -> Any:
            try:
                return function(self, other)
            except TypeError:
                if isinstance(other, _OPERANDS):
                    raise
                if isinstance(other, np.ndarray):  # which would not handle it, or without gradient
                    return function(self, _C.from_numpy(other))
                return NotImplemented

    dunder.__name__ = dunder.__qualname__ = name
    dunder.__doc__ = f"See :func:`tilegrad.{function.__name__}`."
    setattr(Tensor, name, dunder)


def in_place_method(
    name: str,
    op: Callable[..., Any],
    raw: Callable[..., Any],
    *,
    operator_name: str | None = None,
) -> None:
    """Makes ``Tensor.<name>`` the in-place form of ``op``.

    ``raw(tensor, ...)`` writes without recording; it takes over whenever no gradient is involved.
    """

    @functools.wraps(op)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        if needs_grad_in_place(self, *args):
            return in_place(name, op, self, *args, **kwargs)
        raw(self, *args, **kwargs)
        return self

    write.__name__ = write.__qualname__ = name
    write.__doc__ = f"In-place form of :func:`tilegrad.{op.__name__}`; returns ``self``."
    setattr(Tensor, name, write)
    if operator_name is not None:
        setattr(Tensor, operator_name, write)


def composed_in_place(op: Callable[..., Any]) -> None:
    """Makes ``Tensor.<op>_`` the in-place form of an op without an in-place kernel."""

    def raw(tensor: Any, *args: Any, **kwargs: Any) -> None:
        result = op(tensor, *args, **kwargs)
        if result.shape != tensor.shape:
            raise RuntimeError(
                f"{op.__name__}_: output with shape {list(tensor.shape)} doesn't match the "
                f"broadcast shape {list(result.shape)}"
            )
        if not _C.can_cast(result.dtype, tensor.dtype):
            raise RuntimeError(
                f"result type {result.dtype} can't be cast to the desired output type "
                f"{tensor.dtype}"
            )
        _C.copy_(tensor, result)

    in_place_method(f"{op.__name__}_", op, raw)


def put_out(out: Any, result: Any, *, exact: bool = False, apart_from: Any = ()) -> Any:
    """Writes ``result`` to ``out=`` and returns it, with PyTorch's rules for every function.

    ``out`` has no gradient and a dtype to which the result may be cast, or with ``exact`` its very
    dtype; its elements lie in places of their own, and not in those of the tensors ``apart_from``.
    It is given the result's shape, with a warning if it had another one and elements in it.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out': expected a Tensor, got {type(out).__name__}")
    if needs_grad(out, result):
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    if exact and out.dtype is not result.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead"
        )
    if not _C.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {result.dtype} can't be cast to the desired output type {out.dtype}"
        )
    _check_places(out, out.shape == result.shape, apart_from)
    if out.shape != result.shape:
        _reshape_out(out, result.shape)
    _C.copy_(out, result)
    return out


def _check_places(out: Any, keeps_shape: bool, others: Any) -> None:
    """Raises RuntimeError if elements of ``out`` share memory, or share it with ``others``."""
    if any(step == 0 and n > 1 for step, n in zip(out.stride(), out.shape, strict=True)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if any(x is out or _may_overlap(out, keeps_shape, x) for x in others):
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor "
            "refer to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )


def _may_overlap(out: Any, keeps_shape: bool, x: Any) -> bool:
    if _C.storage_pointer(out) != _C.storage_pointer(x) or not out.numel() or not x.numel():
        return False
    if not keeps_shape:
        return True
    (first, last), (begin, end) = _extent(out), _extent(x)
    return first <= end and begin <= last


def _extent(x: Any) -> tuple[int, int]:
    """The places of the first and the last element in the storage."""
    first = x.storage_offset()
    steps = (step * (n - 1) for step, n in zip(x.stride(), x.shape, strict=True))
    return first, first + builtins.sum(steps)


def _reshape_out(out: Any, shape: Any) -> None:
    if out.numel():
        warnings.warn(
            f"An output with one or more elements was resized since it had shape "
            f"{list(out.shape)}, which does not match the required output shape {list(shape)}. "
            "This behavior is deprecated: reuse an out tensor only for outputs of its own shape, "
            "or call t.resize_(0) on it first.",
            stacklevel=4,
        )
    out.data = _C.empty(shape, out.dtype, out.device)

"""Names from PyTorch's first years that programs still use: ``FloatTensor(2, 3)``, ``x.type()``.

``torch.Tensor`` and the typed constructors take either sizes or data, and which it is depends on
the arguments: integers are sizes, a list or tuple is data, a ``Size`` is sizes again.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import _C
from ._size import Size
from .ops._register import method
from .ops.copy import to
from .ops.fill import _device, _finish, arange, empty, tensor
from .tensor import Tensor

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "Variable",
    "construct",
    "cuda_tensor_types",
    "inclusive_range",
    "set_default_tensor_type",
]

_DTYPES = {
    "FloatTensor": _C.float32,
    "DoubleTensor": _C.float64,
    "HalfTensor": _C.float16,
    "BFloat16Tensor": _C.bfloat16,
    "LongTensor": _C.int64,
    "IntTensor": _C.int32,
    "ShortTensor": _C.int16,
    "CharTensor": _C.int8,
    "ByteTensor": _C.uint8,
    "BoolTensor": _C.boolean,
    "ComplexFloatTensor": _C.complex64,
    "ComplexDoubleTensor": _C.complex128,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def construct(args: tuple, dtype: Any, device: Any = None, what: str = "new()") -> Tensor:
    """A tensor of ``dtype`` from sizes, from data, or from nothing.

    Raises TypeError for other arguments; for a shape or data that is impossible as :func:`empty`
    and :func:`tensor` do.
    """
    if (len(args) == 1 and not isinstance(args[0], (int, Size))) or any(x is True for x in args):
        data = args[0]
        if isinstance(data, (str, bytes)):
            raise TypeError(f"{what}: invalid data type {type(data).__name__!r}")
        if not isinstance(data, (Tensor, np.ndarray)):
            if isinstance(data, bool) or not hasattr(data, "__len__"):
                raise TypeError(f"{what}: data must be a sequence (got {type(data).__name__})")
            data = list(data)
        return tensor(data, dtype=dtype, device=device)
    sizes = args[0] if len(args) == 1 and isinstance(args[0], Size) else args
    for size in sizes:
        if not isinstance(size, (int, np.integer)):
            raise TypeError(f"{what}: expected sizes or one sequence of data, got {args!r:.80}")
    return empty(*sizes, dtype=dtype, device=device) if sizes else empty(0, dtype=dtype)


class _TypedTensors(type):
    """The type of ``FloatTensor`` and its relatives: calls make tensors, isinstance asks dtypes."""

    dtype: Any
    is_cuda: bool

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        device = ("cuda" if cls.is_cuda else None) if device is None else device
        if cls.is_cuda and _C.cuda_device_count() == 0:
            raise TypeError(
                f"type torch.cuda.{cls.__name__} not available: {_C.cuda_unavailable_reason()}"
            )
        if len(args) == 1 and isinstance(args[0], Tensor):
            if args[0].dtype is not cls.dtype:
                raise TypeError(
                    f"{cls.__name__}: expected a tensor of {cls.dtype} (got {args[0].dtype}); "
                    "convert it with .to()"
                )
            return to(args[0].detach(), device or args[0].device)
        return construct(args, cls.dtype, device, cls.__name__)

    def __instancecheck__(cls, instance: Any) -> bool:
        fits = isinstance(instance, Tensor) and instance.dtype is cls.dtype
        return fits and instance.is_cuda == cls.is_cuda


def _typed(name: str, is_cuda: bool = False) -> Any:
    dtype = _DTYPES[name]
    where = "CUDA" if is_cuda else "CPU"
    doc = (
        f"Makes {dtype} tensors on the {where} from sizes, ``{name}(2, 3)``, or from data, "
        f"``{name}([2, 3])``; an instance is any such tensor.\n\n"
        "Raises TypeError for other arguments and for tensors of other dtypes."
    )
    room = "torch.cuda" if is_cuda else "torch"
    return _TypedTensors(
        name,
        (),
        {"dtype": dtype, "is_cuda": is_cuda, "__doc__": doc, "__module__": room},
    )


FloatTensor = _typed("FloatTensor")
DoubleTensor = _typed("DoubleTensor")
HalfTensor = _typed("HalfTensor")
BFloat16Tensor = _typed("BFloat16Tensor")
LongTensor = _typed("LongTensor")
IntTensor = _typed("IntTensor")
ShortTensor = _typed("ShortTensor")
CharTensor = _typed("CharTensor")
ByteTensor = _typed("ByteTensor")
BoolTensor = _typed("BoolTensor")
cuda_tensor_types = {name: _typed(name, is_cuda=True) for name in _DTYPES}


def _type_named(name: str) -> tuple[Any, str]:
    """The dtype and device type of ``"torch.FloatTensor"`` or ``"torch.cuda.FloatTensor"``."""
    for prefix, device in (("torch.cuda.", "cuda"), ("torch.", "cpu")):
        if name.startswith(prefix) and name[len(prefix) :] in _DTYPES:
            return _DTYPES[name[len(prefix) :]], device
    raise ValueError(f"invalid type: {name!r}")


@method("type")
def tensor_type(self: Tensor, dtype: Any = None, non_blocking: bool = False, **_: Any) -> Any:
    """Without ``dtype`` the name of the tensor's type, such as ``'torch.FloatTensor'``; else the
    tensor converted to a dtype, a typed constructor, or the name of one."""
    if dtype is None:
        return f"torch.{'cuda.' if self.is_cuda else ''}{_NAMES[self.dtype]}"
    if isinstance(dtype, _C.dtype):
        return to(self, dtype)
    if isinstance(dtype, _TypedTensors):
        return to(self, "cuda" if dtype.is_cuda else "cpu", dtype.dtype)
    if not isinstance(dtype, str):
        name = getattr(dtype, "__name__", dtype)
        raise ValueError(f"invalid type: {name!r}")
    wanted, device = _type_named(dtype)
    return to(self, device, wanted)


@method("new")
def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this dtype and device, from sizes or data."""
    return construct(args, self.dtype, self.device if device is None else device)


def set_default_tensor_type(t: Any) -> None:
    """Makes the dtype of a floating type, or of its name, the default; the CPU stays the device.

    Raises TypeError for other types, ValueError for other names.
    """
    dtype, device = _type_named(t) if isinstance(t, str) else (getattr(t, "dtype", t), "cpu")
    if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    if device == "cuda" or getattr(t, "is_cuda", False):
        raise TypeError("set_default_tensor_type: tensors on CUDA cannot be the default")
    _C.set_default_dtype(dtype)


class _Variables(type):
    def __call__(cls, data: Any = None, requires_grad: bool = False, volatile: Any = None) -> Any:
        if volatile:
            warnings.warn(
                "volatile was removed and now has no effect. Use `with torch.no_grad():` instead.",
                UserWarning,
                stacklevel=2,
            )
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        output = data.detach()
        return output.requires_grad_() if requires_grad else output

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Variables):
    """What tensors with gradients were called before tensors could have them.

    ``Variable(data, requires_grad=False)`` is a tensor on the same memory; every tensor is an
    instance. Raises TypeError for what is not a tensor.
    """


def _new_tensor(cls: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
    """``Tensor(2, 3)``, ``Tensor([2, 3])``; for derived classes, which pass a tensor, its alias."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        data = args[0]
        if cls is Tensor:
            return data.view(data.shape) if data.requires_grad else data.detach()
    else:
        if kwargs:
            raise TypeError(f"Tensor: unexpected arguments {', '.join(kwargs)}")
        data = construct(args, _C.get_default_dtype(), device)
        if cls is Tensor:
            return data
    return _C.TensorBase.__new__(cls, data)


Tensor.__new__ = _new_tensor  # type: ignore[method-assign]


def inclusive_range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start + step``, ... up to ``end``, which belongs to it; of the default dtype.

    Deprecated in favour of :func:`arange`, as its warning says. Raises RuntimeError for a step of 0
    or in the wrong direction, TypeError without an end.
    """
    if end is None or not all(isinstance(x, (int, float)) for x in (start, end, step)):
        raise TypeError(f"range: expected the numbers start and end, got {start!r} and {end!r}")
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces "
        "values in [start, end).",
        stacklevel=2,
    )
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = (end - start) / step
    if not 0 <= count < 2**48:
        raise RuntimeError(f"range: unsupported bounds: {start} -> {end}")
    dtype = _C.get_default_dtype() if dtype is None else dtype
    wide = _C.int64 if not dtype.is_floating_point else _C.float64
    places = arange(int(count) + 1, dtype=wide)
    made = (places * step + start).to(dtype).to(_device(device))
    return _finish(made, requires_grad, out)


inclusive_range.__name__ = inclusive_range.__qualname__ = "range"

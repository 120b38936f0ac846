"""Constants, and questions about tensors and dtypes that need no computation."""

from __future__ import annotations

import math
from typing import Any

from . import _C
from .tensor import Tensor

__all__ = [
    "can_cast",
    "e",
    "get_device",
    "inf",
    "is_complex",
    "is_conj",
    "is_distributed",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "nan",
    "newaxis",
    "numel",
    "pi",
    "result_type",
    "typename",
]

inf = math.inf
nan = math.nan
pi = math.pi
e = math.e
newaxis = None


def _tensor(op: str, input: Any) -> Any:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{op}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return input


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor. Raises no error for any object."""
    return isinstance(obj, Tensor)


def numel(input: Any) -> int:
    """The number of elements. Raises TypeError for what is not a tensor."""
    return _tensor("numel", input).numel()


def is_floating_point(input: Any) -> bool:
    """Whether the dtype is a floating-point type. Raises TypeError for what is not a tensor."""
    return _tensor("is_floating_point", input).dtype.is_floating_point


def is_complex(input: Any) -> bool:
    """Whether the dtype is complex. Raises TypeError for what is not a tensor."""
    return _tensor("is_complex", input).is_complex()


def is_conj(input: Any) -> bool:
    """False: conjugates are computed at once. Raises TypeError for what is not a tensor."""
    return _tensor("is_conj", input) is None


def is_signed(input: Any) -> bool:
    """Whether the dtype has negative numbers. Raises TypeError for what is not a tensor."""
    return _tensor("is_signed", input).dtype not in (_C.uint8, _C.boolean)


def is_same_size(input: Any, other: Any) -> bool:
    """Whether two tensors have one shape. Raises TypeError for what is not a tensor."""
    return _tensor("is_same_size", input).shape == _tensor("is_same_size", other).shape


def is_nonzero(input: Any) -> bool:
    """Whether the only element is not zero. Raises RuntimeError for another number of elements,
    TypeError for what is not a tensor."""
    return bool(_tensor("is_nonzero", input))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a result of dtype ``from_`` may be written to a tensor of dtype ``to``. Raises
    TypeError for what is not a dtype."""
    for given in (from_, to):
        if not isinstance(given, _C.dtype):
            raise TypeError(f"can_cast(): expected a dtype, got {type(given).__name__}")
    return _C.can_cast(from_, to)


def result_type(tensor1: Any, tensor2: Any) -> Any:
    """The dtype of a result of two tensors or numbers. Raises TypeError for other objects."""
    given = (tensor1, tensor2)
    if all(isinstance(x, Tensor) and x.ndim for x in given):
        return _C.promote_types(tensor1.dtype, tensor2.dtype)
    small = [x.detach() if isinstance(x, Tensor) else x for x in (tensor1, tensor2)]
    small = [x.reshape(-1)[:1].reshape([1] * x.ndim) if isinstance(x, Tensor) and x.numel() else x
             for x in small]  # fmt: skip
    if not any(isinstance(x, Tensor) for x in small):
        small[0] = _C.full((), small[0], _C.int64 if _is_whole(small[0]) else
                           _C.get_default_dtype(), _C.device("cpu"))  # fmt: skip
    if all(isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype is _C.boolean) for x in small):
        return _C.boolean
    return _C.add(*small).dtype


def _is_whole(x: Any) -> bool:
    if not isinstance(x, (int, float, complex)):
        raise TypeError(f"result_type(): expected a Tensor or a number, got {type(x).__name__}")
    return isinstance(x, int)


for _name in ("is_conj", "is_nonzero", "is_same_size", "is_signed"):
    setattr(Tensor, _name, globals()[_name])


def get_device(input: Any) -> int:
    """The CUDA device index, -1 for the CPU. Raises TypeError for what is not a tensor."""
    return _tensor("get_device", input).get_device()


def is_inference(input: Any) -> bool:
    """Whether it was made under :func:`inference_mode`. Raises TypeError for what is no tensor."""
    return _tensor("is_inference", input).is_inference()


def is_neg(input: Any) -> bool:
    """False: negative views do not exist. Raises TypeError for what is not a tensor."""
    return _tensor("is_neg", input).is_neg()


def is_distributed(input: Any) -> bool:
    """False: tensors lie in one process. Raises TypeError for what is not a tensor."""
    return _tensor("is_distributed", input).is_distributed()


def typename(obj: Any) -> str:
    """The name of an object's type with its module; of a tensor as ``type()`` gives it.

    Raises no error for any object.
    """
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", None) or ""
    return kind.__qualname__ if module in ("", "builtins") else f"{module}.{kind.__qualname__}"

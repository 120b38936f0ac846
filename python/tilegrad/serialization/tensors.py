"""From names and storages to tensors: what a checkpoint's pickle may build."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

import numpy as np

from .. import _C
from .._size import Size
from ..nn.parameter import Buffer, Parameter
from ..tensor import Tensor
from .plain import CALLS, GLOBALS, NEW, state_setter

__all__ = [
    "STORAGE_NAMES",
    "TensorBuilder",
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "safe_globals",
]

# PyTorch's names of typed storages.
STORAGE_NAMES = {
    "FloatStorage": _C.float32,
    "DoubleStorage": _C.float64,
    "HalfStorage": _C.float16,
    "BFloat16Storage": _C.bfloat16,
    "LongStorage": _C.int64,
    "IntStorage": _C.int32,
    "ShortStorage": _C.int16,
    "CharStorage": _C.int8,
    "ByteStorage": _C.uint8,
    "BoolStorage": _C.boolean,
    "ComplexFloatStorage": _C.complex64,
    "ComplexDoubleStorage": _C.complex128,
}


# --- classes that the program trusts ------------------------------------------------------------

_trusted: dict[str, Any] = {}


def add_safe_globals(safe_globals: list) -> None:
    """Lets :func:`load` build objects of these classes, or call these functions, by their names.

    Entries are classes and functions, or pairs of one and the name in the file. Their code runs
    with what the file says: list only what is made for that. Raises TypeError for entries without
    a name.
    """
    for entry in safe_globals:
        named = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], str)
        value, name = entry if named else (entry, None)
        if name is None:
            try:
                name = f"{value.__module__}.{value.__qualname__}"
            except AttributeError:
                raise TypeError(
                    "add_safe_globals: expected classes, functions or pairs of one and its name, "
                    f"got {type(value).__name__}"
                ) from None
        _trusted[name] = value


def get_safe_globals() -> list:
    """What :func:`add_safe_globals` has listed. Never fails; the list is a copy."""
    return list(_trusted.values())


def clear_safe_globals() -> None:
    """Forgets what :func:`add_safe_globals` has listed; no errors."""
    _trusted.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: list) -> Iterator[None]:
    """:func:`add_safe_globals` for the duration of a ``with`` block."""
    before = dict(_trusted)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _trusted.clear()
        _trusted.update(before)


# --- rebuilding ---------------------------------------------------------------------------------


class StoredBytes:
    """A storage as the pickle sees it: memory, and the dtype that its reference named."""

    def __init__(self, bytes: Tensor, dtype: Any) -> None:
        self.bytes, self.dtype = bytes, dtype


def _integers(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(type(x) is int for x in values)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if not (isinstance(storage, StoredBytes) and _integers(size) and _integers(stride)):
        raise UnpicklingError("the file describes a tensor by what are not sizes and strides")
    if type(offset) is not int:
        raise UnpicklingError("the file describes a tensor by what is not an offset")
    try:
        return _C.storage_view(storage.bytes, storage.dtype, tuple(size), tuple(stride), offset)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise RuntimeError(f"load: the file holds an impossible tensor: {error}") from None


def _has_gradients(dtype: Any) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _rebuild_tensor_v2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    tensor = _rebuild_tensor(storage, offset, size, stride)
    if requires_grad is True and _has_gradients(tensor.dtype):
        tensor.requires_grad_()
    return tensor


def _rebuild_parameter(data: Any, requires_grad: Any, hooks: Any = None) -> Parameter:
    if not isinstance(data, Tensor):
        raise UnpicklingError("the file makes a Parameter of what is not a tensor")
    return Parameter(data, requires_grad is True and _has_gradients(data.dtype))


def _rebuild_parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
    return _with_attributes(_rebuild_parameter(data, requires_grad), state)


def _rebuild_from_type(function: Any, cls: Any, args: Any, state: Any) -> Any:
    """Tensors with attributes, and tensors of derived classes."""
    if function not in _CALLS or not isinstance(args, tuple):
        raise UnpicklingError("the file makes a tensor in an unknown way")
    result = _CALLS[function](*args)
    if not isinstance(result, Tensor):
        raise UnpicklingError("the file makes a tensor of what is none")
    trusted = isinstance(cls, type) and issubclass(cls, Tensor) and cls in _trusted.values()
    if cls in (Parameter, Buffer) or trusted:
        requires_grad = result.requires_grad
        result = _C.TensorBase.__new__(cls, result)
        result._requires_grad = requires_grad
    return _with_attributes(result, state)


def _with_attributes(tensor: Any, state: Any) -> Any:
    attributes = state[0] if isinstance(state, tuple) and len(state) == 2 else state
    if not isinstance(attributes, dict) or not all(isinstance(k, str) for k in attributes):
        raise UnpicklingError("the file gives a tensor attributes that are not named")
    tensor.__dict__.update(attributes)
    return tensor


def _size(*sizes: Any) -> Size:
    if len(sizes) != 1 or not _integers(sizes[0]):
        raise UnpicklingError("the file makes a Size of what are not integers")
    return Size(sizes[0])


def _device(*args: Any) -> Any:
    try:
        return _C.device(*args)
    except TypeError as error:
        raise UnpicklingError(f"the file names an impossible device: {error}") from None


_TENSORS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Parameter,
    "torch.nn.parameter.Buffer": Buffer,
    "torch.Size": Size,
    "torch.device": _C.device,
    **{
        f"torch.{dtype.name}": dtype
        for dtype in [getattr(_C, name) for name in ("uint8", "int8", "int16", "int32", "int64")]
        + [_C.boolean, _C.float16, _C.bfloat16, _C.float32, _C.float64, _C.complex64, _C.complex128]
    },
}
_CALLS: dict[Any, Callable[..., Any]] = {
    _rebuild_tensor: _rebuild_tensor,
    _rebuild_tensor_v2: _rebuild_tensor_v2,
    _rebuild_parameter: _rebuild_parameter,
    _rebuild_parameter_with_state: _rebuild_parameter_with_state,
    _rebuild_from_type: _rebuild_from_type,
    Size: _size,
    _C.device: _device,
}
_UNKNOWN_STORAGES = ("ComplexHalf", "Quantized", "QInt", "QUInt")


class TensorBuilder:
    """Builds tensors, plain containers and what :func:`add_safe_globals` listed; nothing else.

    ``read(key)`` gives the bytes of a storage, as a uint8 tensor on the CPU; ``place(bytes,
    location)`` moves them where they belong.
    """

    def __init__(self, read: Callable[[str, int], Tensor], place: Callable[[Tensor, str], Tensor]):
        self._read, self._place = read, place
        self._placed: dict[str, Tensor] = {}

    def find(self, module: str, name: str) -> Any:
        """What the global is; raises UnpicklingError, with its name, if it is not for data."""
        full = f"{module}.{name}"
        for table in (_TENSORS, GLOBALS, _trusted):
            if full in table:
                return table[full]
        if module in ("torch", "torch.storage"):
            if name in STORAGE_NAMES:
                return STORAGE_NAMES[name]
            if name.startswith(_UNKNOWN_STORAGES) or name == "TypedStorage":
                raise UnpicklingError(f"load: tilegrad has no dtype for the {full} in the file")
        raise UnpicklingError(
            f"load: the file asks for {full}, which is neither a tensor nor a plain container. "
            "Files never run code here, with weights_only=False neither. If you trust the file, "
            f"list the class first: tilegrad.serialization.add_safe_globals([{name}])"
        )

    def call(self, function: Any, args: tuple) -> Any:
        """The result of a call that is among the known ones."""
        try:
            known = _CALLS.get(function) or CALLS.get(function)
        except TypeError:  # not hashable, so not a function
            known = None
        if known is None:
            if any(function is x for x in _trusted.values()):
                return function(*args)
            raise UnpicklingError(f"load: the file calls {_named(function)}, which it may not")
        try:
            return known(*args)
        except TypeError as error:
            raise UnpicklingError(f"load: {_named(function)}: {error}") from None

    def make(self, cls: Any, args: tuple) -> Any:
        """A new object of a known class."""
        if cls in NEW and not args:
            return cls.__new__(cls)
        if isinstance(cls, type) and any(cls is x for x in _trusted.values()):
            return cls.__new__(cls, *args)
        return self.call(cls, args)

    def set_state(self, target: Any, state: Any) -> None:
        """Gives attributes or content to an object of a known class."""
        setter = state_setter(target)
        if setter is not None:
            return setter(target, state)
        if not any(type(target) is x for x in _trusted.values()):
            raise UnpicklingError(f"load: the file sets the state of a {type(target).__name__}")
        if hasattr(target, "__setstate__"):
            return target.__setstate__(state)
        attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        vars(target).update(attributes or {})
        for name, value in (slots or {}).items():
            setattr(target, name, value)

    def load(self, reference: Any) -> StoredBytes:
        """The storage that ``('storage', dtype, key, location, elements)`` refers to."""
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise UnpicklingError("load: the file refers to something that is not a storage")
        _, dtype, key, location, elements = reference[:5]
        known = isinstance(key, str) and isinstance(location, str) and type(elements) is int
        if not known or not isinstance(dtype, _C.dtype) or not 0 <= elements < 2**59:
            raise UnpicklingError("load: the file refers to a storage in an unknown way")
        size = elements * dtype.itemsize
        if key not in self._placed:
            bytes = self._read(key, size)
            if dtype is _C.boolean:
                _normalize_bools(bytes)
            self._placed[key] = self._place(bytes, location)
        bytes = self._placed[key]
        if bytes.numel() != size:
            raise RuntimeError(
                f"load: the file is corrupt: storage {key} has {bytes.numel()} bytes where {size} "
                "are announced"
            )
        return StoredBytes(bytes, dtype)


def _named(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _normalize_bools(bytes: Tensor) -> None:
    """Kernels rely on bools that are 0 or 1."""
    array = _C.to_numpy(bytes)
    if array.size and array.max() > 1:
        np.minimum(array, 1, out=array)

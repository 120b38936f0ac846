"""Objects as pickles in PyTorch's words: tensors are calls, storages are references."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any, ClassVar

from .. import _C
from .._size import Size
from ..nn.parameter import Buffer, Parameter
from ..tensor import Tensor
from .tensors import STORAGE_NAMES

__all__ = ["Pickler"]

_Base: Any = pickle._Pickler  # the one in Python, see Pickler
_STORAGE_OF_DTYPE = {dtype: name for name, dtype in STORAGE_NAMES.items()}


class _Name:
    """A global of PyTorch's, written by name; PyTorch need not be there."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Never called: the base class wants functions in its place to be callable."""


class _StorageReference:
    """A storage in the stream: the reference that :meth:`Pickler.persistent_id` writes."""

    def __init__(self, reference: tuple) -> None:
        self.reference = reference


def _names() -> dict[str, _Name]:
    found = {
        "rebuild": _Name("torch._utils", "_rebuild_tensor_v2"),
        "parameter": _Name("torch._utils", "_rebuild_parameter"),
        "parameter with state": _Name("torch._utils", "_rebuild_parameter_with_state"),
        "from type": _Name("torch._tensor", "_rebuild_from_type_v2"),
        "Size": _Name("torch", "Size"),
        "device": _Name("torch", "device"),
        "Tensor": _Name("torch", "Tensor"),
    }
    found.update({name: _Name("torch", name) for name in STORAGE_NAMES})
    found.update({d.name: _Name("torch", d.name) for d in STORAGE_NAMES.values()})
    return found


class Pickler(_Base):
    """Pickles one object; ``storages`` then lists a tensor for each storage, in the order of keys.

    The Python pickler of the standard library, since only it can write names without importing
    what they name.
    """

    dispatch: ClassVar[dict] = dict(_Base.dispatch)

    def __init__(self, protocol: int = 2) -> None:
        self.output = io.BytesIO()
        super().__init__(self.output, protocol)
        self.storages: list[Tensor] = []
        self._keys: dict[tuple[int, int], str] = {}  # by address and size
        self._names = _names()

    def persistent_id(self, obj: Any) -> Any:
        """The reference of a storage; None for everything else."""
        return obj.reference if type(obj) is _StorageReference else None

    def reducer_override(self, obj: Any) -> Any:
        """How tensors and their relatives are rebuilt; the rest pickles as usual."""
        if isinstance(obj, Tensor):
            return self._reduce(obj)
        kind = type(obj)
        if kind is _C.device:
            return self._names["device"], (str(obj),)
        if kind is Size:
            return self._names["Size"], (tuple(obj),)
        return NotImplemented

    def _reduce(self, x: Tensor) -> tuple:
        attributes = dict(x.__dict__)
        rebuild = (self._names["rebuild"], self._arguments(x))
        if type(x) is Parameter:
            data = _Rebuilt(*rebuild)
            if attributes:
                args: tuple = (data, x.requires_grad, OrderedDict(), attributes)
                return self._names["parameter with state"], args
            return self._names["parameter"], (data, x.requires_grad, OrderedDict())
        if type(x) in (Tensor, Buffer) and not attributes:
            return rebuild
        cls = self._names["Tensor"] if type(x) in (Tensor, Buffer) else type(x)
        return self._names["from type"], (rebuild[0], cls, rebuild[1], attributes)

    def _arguments(self, x: Tensor) -> tuple:
        """storage, offset, size, stride, requires_grad, hooks."""
        requires_grad = x.requires_grad and x.is_leaf
        return (
            self._reference(x),
            x.storage_offset(),
            tuple(x.shape),
            tuple(x.stride()),
            requires_grad,
            OrderedDict(),
        )

    def _reference(self, x: Tensor) -> _StorageReference:
        whole = _C.storage_bytes(x)
        place = (_C.storage_pointer(x), whole.numel())
        key = self._keys.get(place) if whole.numel() else None
        if key is None:
            key = str(len(self.storages))
            self.storages.append(whole)
            self._keys[place] = key
        kind = self._names[_STORAGE_OF_DTYPE[x.dtype]]
        elements = whole.numel() // x.dtype.itemsize
        return _StorageReference(("storage", kind, key, str(x.device), elements))

    def _save_name(self, obj: _Name) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def _save_dtype(self, obj: Any) -> None:
        self.save(self._names[obj.name])

    def _save_rebuilt(self, obj: Any) -> None:
        self.save_reduce(obj.function, obj.args, obj=obj)

    dispatch[_Name] = _save_name
    dispatch[_C.dtype] = _save_dtype


class _Rebuilt:
    """The call that rebuilds a tensor inside the call that makes it a parameter."""

    def __init__(self, function: Any, args: tuple) -> None:
        self.function, self.args = function, args


Pickler.dispatch[_Rebuilt] = Pickler._save_rebuilt

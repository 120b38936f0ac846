"""Tensors that a module registers when they are assigned to it: ``Parameter`` and ``Buffer``."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..tensor import Tensor

__all__ = ["Buffer", "Parameter"]


def _storage_of(data: Any, what: str) -> Any:
    if data is None:
        return _C.empty((0,), _C.get_default_dtype(), _C.device("cpu"))
    if not isinstance(data, Tensor):
        raise TypeError(f"{what}: argument 'data': expected a Tensor, got {type(data).__name__}")
    return data


class Parameter(Tensor):
    """A leaf tensor that a :class:`Module` lists among its parameters once assigned to it.

    Shares the memory of ``data`` (any shape; floating-point unless ``requires_grad=False``).
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        self = super().__new__(cls, _storage_of(data, "Parameter"))
        if requires_grad:
            self.requires_grad_()
        return self

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a :class:`Module` lists among its buffers once assigned to it.

    With ``persistent=False`` it is not part of the ``state_dict``.
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        self = super().__new__(cls, _storage_of(data, "Buffer"))
        self.persistent = persistent
        self._requires_grad = isinstance(data, Tensor) and data.requires_grad and data.is_leaf
        return self

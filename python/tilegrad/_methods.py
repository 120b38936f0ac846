"""Methods of tensors that are neither computed by kernels nor asked for often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _C
from .autograd.graph import needs_grad, record
from .ops._register import method
from .tensor import Tensor

__all__: list[str] = []


@method()
def detach_(self: Any) -> Any:
    """Takes this tensor out of its graph: a leaf that does not require grad. Returns ``self``.

    Raises RuntimeError for a view.
    """
    if self._base is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    _C.adopt_history(self, _C.detach(self))
    return self


@method()
def ndimension(self: Any) -> int:
    """The number of dimensions, ``dim()``."""
    return self.ndim


def _elements(op: str, *tensors: Any) -> list[list[Any]]:
    first = tensors[0]
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"{op}: expected a Tensor, got {type(x).__name__}")
    if needs_grad(*tensors):
        raise RuntimeError(
            f"Can't call {op}() on Variable that requires grad. Use var.detach().{op}() instead."
        )
    if first.device.type != "cpu":
        raise TypeError(f"{op} is only implemented on CPU tensors")
    return [x.expand(first.shape).reshape(-1).tolist() for x in tensors]


def _write(self: Any, values: list[Any]) -> Any:
    from .ops.fill import tensor

    return self.copy_(tensor(values, dtype=self.dtype).reshape(self.shape))


@method()
def apply_(self: Any, callable: Callable[[Any], Any]) -> Any:
    """Replaces each element by what the Python function returns for it: slow. Returns ``self``.

    Raises RuntimeError if the tensor requires grad, TypeError for what cannot be called.
    """
    (values,) = _elements("apply_", self)
    return _write(self, [callable(x) for x in values])


@method()
def map_(self: Any, tensor: Any, callable: Callable[[Any, Any], Any]) -> Any:
    """Replaces each element by ``callable(element, element of tensor)``, which broadcasts. Errors
    as for :meth:`apply_`, RuntimeError for shapes that do not fit."""
    rows = zip(*_elements("map_", self, tensor), strict=True)
    return _write(self, [callable(*row) for row in rows])


@method()
def map2_(self: Any, x: Any, y: Any, callable: Callable[[Any, Any, Any], Any]) -> Any:
    """:meth:`map_` with two more tensors."""
    rows = zip(*_elements("map2_", self, x, y), strict=True)
    return _write(self, [callable(*row) for row in rows])


def _identity_backward(node: Any, grad: Any) -> Any:
    return grad


_identity_backward.__name__ = "alias_backward"


@method()
def as_subclass(self: Any, cls: type) -> Any:
    """The same values and history as an object of a subclass of Tensor. TypeError for others."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"as_subclass: expected a subclass of Tensor, got {cls!r}")
    other: Any = _C.TensorBase.__new__(cls, self)
    if needs_grad(self):
        record(other, _identity_backward, (self,))
    return other


@method()
def set_(self: Any, source: Any = None) -> Any:
    """Lets this tensor show the memory of another one of its dtype, or none. Returns ``self``.

    Raises RuntimeError for another dtype, TypeError for what is not a tensor.
    """
    if source is None:
        source = _C.empty((0,), self.dtype, self.device)
    if not isinstance(source, Tensor):
        raise TypeError(f"set_: expected a Tensor, got {type(source).__name__}")
    if source.dtype is not self.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {source.dtype} to a tensor of type {self.dtype}"
        )
    _C.set_data(self, source.detach())
    return self


@method()
def is_set_to(self: Any, tensor: Any) -> bool:
    """Whether both show the same elements of the same memory. TypeError for no tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"is_set_to: expected a Tensor, got {type(tensor).__name__}")
    return (
        _C.storage_pointer(self) == _C.storage_pointer(tensor)
        and self.storage_offset() == tensor.storage_offset()
        and self.shape == tensor.shape
        and self.stride() == tensor.stride()
    )


@method()
def to_dense(self: Any, dtype: Any = None, *, masked_grad: bool | None = None) -> Any:
    """This tensor, since all are dense, in another dtype if one is given."""
    return self if dtype is None else self.to(dtype)


@method()
def dim_order(self: Any, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the largest stride to the smallest."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda d: -strides[d]))


@method()
def is_neg(self: Any) -> bool:
    """False: negative views do not exist."""
    return False


@method()
def is_distributed(self: Any) -> bool:
    """False: tensors lie in one process."""
    return False


@method()
def const_data_ptr(self: Any) -> int:
    """The address of the first element, ``data_ptr()``."""
    return self.data_ptr()


@method()
def fill_diagonal_(self: Any, fill_value: Any, wrap: bool = False) -> Any:
    """Fills the main diagonal, on which all indices are equal; returns ``self``.

    ``wrap``: in a matrix with more rows than columns the diagonal begins anew below a row that it
    leaves out. Raises RuntimeError for fewer than two dimensions, and for different sizes of more
    than two.
    """
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2:
        if len(set(self.shape)) > 1:
            raise RuntimeError("all dimensions of input must be of equal length")
        steps = (sum(self.stride()),)
        self.as_strided((self.shape[0],), steps, self.storage_offset()).fill_(fill_value)
        return self
    rows, columns = self.shape
    block = columns + 1
    for start in range(0, rows if wrap and columns else min(rows, block), block):
        self[start : start + columns].diagonal().fill_(fill_value)
    return self


@method()
def hardshrink(self: Any, lambd: float = 0.5) -> Any:
    """:func:`tilegrad.nn.functional.hardshrink`."""
    from .nn import functional  # which is imported late

    return functional.hardshrink(self, lambd)


@method()
def prelu(self: Any, weight: Any) -> Any:
    """:func:`tilegrad.nn.functional.prelu`."""
    from .nn import functional

    return functional.prelu(self, weight)


def _attach() -> None:
    for alias, name in {
        "divide_": "div_",
        "multiply_": "mul_",
        "subtract_": "sub_",
        "unsafe_split_with_sizes": "split_with_sizes",
    }.items():
        setattr(Tensor, alias, getattr(Tensor, name))


_attach()

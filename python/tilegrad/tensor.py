"""``tilegrad.Tensor``: attributes and protocols. Its operations live in ``tilegrad/ops``.

Each ops module attaches its own methods with the decorators of ``tilegrad/ops/_register.py``.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _C
from ._memory_format import is_in_format
from ._size import Size
from .autograd import backward
from .autograd.conjugation import conjugated
from .autograd.graph import Node
from .autograd.views import regenerate

__all__ = ["Tensor", "as_array"]


def as_array(tensor: Any) -> np.ndarray:
    """The values of any tensor as an array, of bfloat16 as float32; shares memory where it can."""
    value = tensor.detach().cpu()
    return _C.to_numpy(value.float() if value.dtype is _C.bfloat16 else value)


class Tensor(_C.TensorBase):
    """A multi-dimensional array of one dtype on one device, with an optional gradient history.

    Create one with :func:`tilegrad.tensor`, :func:`tilegrad.zeros`, :func:`tilegrad.from_numpy` and
    relatives. Attributes:

    - ``shape``, ``ndim``, ``dtype``, ``device``
    - ``requires_grad``: whether operations on it are recorded
    - ``grad``: the accumulated gradient of a leaf, of the same shape and dtype, or ``None``
    - ``grad_fn``: the node that produced it; ``None`` for leaves
    - ``is_leaf``, ``output_nr``
    """

    __slots__ = ()
    __array_priority__ = 1000  # NumPy operators defer to ours, as they do to PyTorch's

    if TYPE_CHECKING:  # methods attached by tilegrad/ops

        def __getattr__(self, name: str) -> Any: ...

    # --- gradient ---------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded; assigning calls requires_grad_()."""
        return self._get_requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise RuntimeError(f"requires_grad: expected a bool, got {type(value).__name__}")
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Starts or stops recording operations on this leaf. Returns ``self``.

        Raises RuntimeError for a dtype that is not floating, and for switching a result off;
        TypeError for an argument that is not a bool.
        """
        if not isinstance(requires_grad, bool):
            raise TypeError(
                "requires_grad_: argument 'requires_grad': expected a bool, "
                f"got {type(requires_grad).__name__}"
            )
        if requires_grad and not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients, "
                f"got {self.dtype}"
            )
        if not requires_grad and not self.is_leaf:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and self._is_inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor is not allowed.")
        self._requires_grad = requires_grad  # type: ignore[misc]
        return self

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, of this tensor's shape and dtype, or None.

        Assigning raises TypeError for other objects, RuntimeError for another shape, dtype or
        device.
        """
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            for what in ("shape", "dtype", "device"):
                expected, actual = getattr(self, what), getattr(value, what)
                if expected != actual:
                    raise RuntimeError(
                        f"grad: assigned grad has {what} {actual}, expected {expected}"
                    )
        self._grad = value  # type: ignore[misc]

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds to ``leaf.grad`` the gradient of this tensor with respect to each leaf.

        ``gradient``, of this tensor's shape, is needed unless it has one element. See
        :func:`tilegrad.autograd.backward`.
        """
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Any) -> Any:
        """Calls ``hook(grad)`` when this tensor's gradient is known; a returned tensor replaces it.

        Returns a handle with ``remove()``.
        """
        from .autograd.hooks import register_tensor_hook

        return register_tensor_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Calls ``hook(self)`` after a backward pass has added to this leaf's ``.grad``.

        Returns a handle with ``remove()``.
        """
        from .autograd.hooks import register_post_accumulate_grad_hook

        return register_post_accumulate_grad_hook(self, hook)

    def retain_grad(self) -> None:
        """Keeps the gradient of this non-leaf in ``.grad``, as leaves do."""
        from .autograd.hooks import retain_grad

        retain_grad(self)

    @property
    def retains_grad(self) -> bool:
        """Whether this is a result whose gradient is kept in ``.grad``."""
        return bool(getattr(self, "_retains_grad", False))

    def detach(self) -> Tensor:
        """The same memory without history; in-place writes are seen by both."""
        return _C.detach(self)

    @property
    def data(self) -> Tensor:
        """The same memory, hidden from autograd: writes through it are not noticed."""
        return _C.data(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        _C.set_data(self, value)

    # --- layout -----------------------------------------------------------------------------

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension, in elements."""
        strides = tuple(_C.stride(self))
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """The position of the first element in the storage, in elements."""
        return _C.storage_offset(self)

    def numel(self) -> int:
        """The number of elements."""
        return _C.numel(self)

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements together, wherever they lie."""
        return self.numel() * self.dtype.itemsize

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie row-major without gaps, or so in another ``memory_format``.

        Raises TypeError for what is no memory format, RuntimeError for ``preserve_format``."""
        if memory_format is None:
            return _C.is_contiguous(self)
        return is_in_format(self, memory_format)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return _C.data_ptr(self)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point type."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex64 or complex128."""
        return self.dtype.is_complex

    def is_inference(self) -> bool:
        """Whether it was made under :func:`tilegrad.inference_mode`. Never fails."""
        return self._is_inference

    def get_device(self) -> int:
        """The CUDA device index, -1 for the CPU."""
        index = self.device.index
        return -1 if index is None else index

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor lies on a GPU."""
        return self.device.type == "cuda"

    # --- Python numbers and NumPy -----------------------------------------------------------

    def item(self) -> Any:
        """The only element, as a Python number. Raises RuntimeError unless there is exactly one."""
        return _C.item(self)

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a scalar gives a number."""
        return as_array(self).tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array that shares this CPU tensor's memory.

        Raises RuntimeError if the tensor requires grad, TypeError if it is not on the CPU or of
        dtype bfloat16, which NumPy lacks;
        ``force=True`` detaches and copies to the CPU first.
        """
        if force:
            return _C.to_numpy(self.detach().cpu())
        if self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        return _C.to_numpy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"cannot view {array.dtype} as {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Tensor:
        """What NumPy's functions return for tensors: a tensor again."""
        return _C.from_numpy(np.asarray(array))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            what = "no values" if self.numel() == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
        return bool(_C.item(self))

    def _only_element(self) -> Any:
        if self.numel() != 1:
            raise ValueError(
                "only one element tensors can be converted to Python scalars, "
                f"got shape {tuple(self.shape)}"
            )
        return _C.item(self)

    def __int__(self) -> int:
        return int(self._real_element(int))

    def __float__(self) -> float:
        return float(self._real_element(float))

    def __complex__(self) -> complex:
        return complex(self._only_element())

    def _real_element(self, wanted: type) -> Any:
        number = self._only_element()
        if not isinstance(number, complex):
            return number
        if number.imag != 0:
            raise RuntimeError(
                f"value cannot be converted to type {wanted.__name__} without overflow"
            )
        return number.real

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.is_complex() or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(_C.item(self))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, (Tensor, int, float, complex, np.number, np.bool_)):
            raise RuntimeError(
                "Tensor.__contains__ only supports Tensor or scalar, "
                f"but you passed in a {type(element)}."
            )
        found: Any = self == element
        return bool(found.any())

    __hash__ = object.__hash__  # by identity; == compares element by element

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from ._serialize import rebuild

        value = self.detach().cpu()
        is_bfloat16 = self.dtype is _C.bfloat16  # NumPy lacks it: its bits travel
        return rebuild, (
            (_C.reinterpret(value, _C.int16) if is_bfloat16 else value).numpy(),
            str(self.device),
            self.requires_grad and self.is_leaf,
            type(self),
            dict(self.__dict__),
            *((self.dtype,) if is_bfloat16 else ()),
        )

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        if id(self) in memo:
            return memo[id(self)]
        # Views share one storage afterwards too, so the whole storage is copied, once.
        place = ("storage", _C.storage_pointer(self), _C.storage_bytes(self).numel())
        if place not in memo:
            memo[place] = _C.clone(_C.storage_bytes(self))
        copied: Any = _C.storage_view(
            memo[place], self.dtype, self.shape, self.stride(), self.storage_offset()
        )
        if type(self) is not Tensor:
            copied = _C.TensorBase.__new__(type(self), copied)
        memo[id(self)] = copied
        copied._requires_grad = self.requires_grad
        if self._grad is not None:
            copied._grad = self._grad.__deepcopy__(memo)
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def __repr__(self) -> str:
        from ._printing import tensor_repr

        return tensor_repr(self)

    def __format__(self, spec: str) -> str:
        if self.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)


_C._register_types(Tensor, Size)
_C._register_node(Node, regenerate, conjugated)

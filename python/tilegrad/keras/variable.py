"""``Variable``: a tensor with a name that layers, optimizers and metrics keep and change."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

from ..nn.parameter import Parameter
from .dtypes import convert_to_numpy, convert_to_tensor, dtype_of
from .naming import auto_name

__all__ = ["Variable"]


class Variable(Parameter):
    """A tensor that can be assigned to, trained unless ``trainable`` is False.

    ``initializer`` is a value (array, tensor, number), or an initializer or its name together with
    a ``shape``. It is an ordinary tensor, so it takes part in any operation; ``value`` is itself.

    Raises ValueError for an initializer without a shape, and for a shape together with a value.
    """

    __slots__ = ()

    def __new__(
        cls,
        initializer: Any = None,
        shape: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: Any = None,
        synchronization: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Variable:
        from . import initializers

        if initializer is None:
            initializer = "zeros"
        if isinstance(initializer, (str, dict)):
            initializer = initializers.get(initializer)
        if callable(initializer) and not isinstance(initializer, tg.Tensor):
            if shape is None:
                raise ValueError(
                    "When creating a Variable from an initializer, the `shape` argument should be "
                    f"specified. Received: initializer={initializer} and shape={shape}"
                )
            value = convert_to_tensor(initializer(standardize_shape(shape), dtype=dtype))
        else:
            value = convert_to_tensor(initializer)
            if dtype is None and not isinstance(initializer, (tg.Tensor, np.ndarray)):
                dtype = value.dtype
            if shape is not None and tuple(shape) != tuple(value.shape):
                raise ValueError(
                    f"Variable: the value has shape {tuple(value.shape)}, but shape={shape} was "
                    "given"
                )
            value = value.detach().clone()
        if dtype is not None:
            value = value.to(dtype_of(dtype))
        can_learn = trainable and value.dtype.is_floating_point
        self = super().__new__(cls, value.detach().contiguous(), can_learn)
        own = self.__dict__
        own["_name"] = name or auto_name("variable")
        own["_path"] = own["_name"]
        own["_trainable"] = own["_learns"] = bool(trainable)
        own["regularizer"] = None
        own["constraint"] = None
        return self

    @classmethod
    def around(cls, tensor: Any, name: str, trainable: bool) -> Variable:
        """A variable that shares the memory of a tensor."""
        self = Parameter.__new__(cls, tensor.detach(), trainable)
        self.__dict__.update(
            _name=name, _path=name, _trainable=trainable, _learns=trainable, regularizer=None,
            constraint=None,
        )  # fmt: skip
        return self

    # --- names --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self.__dict__["_name"] = value

    @property
    def path(self) -> str:
        """The names of the layers that hold it and its own, with slashes between."""
        return self._path

    # --- training -----------------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether an optimizer is to change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.__dict__["_trainable"] = bool(value)
        if self.dtype.is_floating_point:
            self.requires_grad_(bool(value))

    # --- value --------------------------------------------------------------------------------

    @property
    def value(self) -> Variable:
        """The tensor: the variable itself."""
        return self

    def assign(self, value: Any) -> Variable:
        """Takes over the values, in place. Raises ValueError for another shape."""
        given = convert_to_tensor(value)
        if tuple(given.shape) != tuple(self.shape):
            raise ValueError(
                "The shape of the target variable and the shape of the target value in "
                f"`variable.assign(value)` must match. variable.shape={tuple(self.shape)}, "
                f"Received: value.shape={tuple(given.shape)}. Target variable: {self._path}"
            )
        with tg.no_grad():
            self.copy_(given.detach())
        return self

    def assign_add(self, value: Any) -> Variable:
        """Adds in place."""
        with tg.no_grad():
            self.add_(_detached(value))
        return self

    def assign_sub(self, value: Any) -> Variable:
        """Subtracts in place."""
        with tg.no_grad():
            self.sub_(_detached(value))
        return self

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A copy of the values."""
        return convert_to_numpy(self).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        return (
            f"<Variable path={self._path}, shape={tuple(self.shape)}, "
            f"dtype={str(self.dtype).split('.')[-1]}, value={self.numpy()!r}>"
        )

    def __deepcopy__(self, memo: dict) -> Variable:
        if id(self) in memo:
            return memo[id(self)]
        copy = Variable(self.detach(), dtype=self.dtype, trainable=self._trainable, name=self._name)
        copy.__dict__.update(
            _path=self._path, regularizer=self.regularizer, constraint=self.constraint
        )
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _restored, (self.numpy(), self._trainable, self._name, self._path)


def _restored(value: Any, trainable: bool, name: str, path: str) -> Variable:
    variable = Variable(value, dtype=value.dtype, trainable=trainable, name=name)
    variable.__dict__["_path"] = path
    return variable


def _detached(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    return convert_to_tensor(value).detach()


def standardize_shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple. Raises ValueError for what is no shape or has open dimensions."""
    if isinstance(shape, int):
        shape = (shape,)
    try:
        made = tuple(None if n is None else int(n) for n in shape)
    except (TypeError, ValueError):
        raise ValueError(f"expected a shape, a tuple of integers, got {shape!r}") from None
    if any(n is None or n < 0 for n in made):
        raise ValueError(
            f"Cannot convert '{shape}' to a shape. A weight's dimensions must be known and not "
            "negative."
        )
    return made  # type: ignore[return-value]

"""Dtypes by name, conversion to tensors and arrays, and the dtype policies of layers."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

from ..tensor import Tensor
from .config import settings

__all__ = [
    "DTypePolicy",
    "cast",
    "convert_to_numpy",
    "convert_to_tensor",
    "dtype_of",
    "is_tensor",
    "standardize_dtype",
]

BY_NAME = {
    "bool": tg.bool,
    "uint8": tg.uint8,
    "int8": tg.int8,
    "int16": tg.int16,
    "int32": tg.int32,
    "int64": tg.int64,
    "bfloat16": tg.bfloat16,
    "float16": tg.float16,
    "float32": tg.float32,
    "float64": tg.float64,
}
_ALIASES = {"float": "float32", "double": "float64", "half": "float16", "int": "int32"}
_WIDER = {np.dtype("uint16"): np.int32, np.dtype("uint32"): np.int64, np.dtype("uint64"): np.int64}


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype that is given as a name, a type, NumPy's or ours; None is ``floatx``.

    Raises ValueError for anything else.
    """
    if dtype is None:
        return settings.floatx
    if isinstance(dtype, str):
        name = _ALIASES.get(dtype, dtype)
    elif dtype in (bool, int, float):
        name = {bool: "bool", int: "int32", float: settings.floatx}[dtype]
    elif isinstance(dtype, tg.dtype):
        name = str(dtype).split(".")[-1]
    else:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name not in BY_NAME and name != "string":
        raise ValueError(f"Invalid dtype: {dtype}")
    return name


def dtype_of(dtype: Any) -> Any:
    """Our dtype for whatever :func:`standardize_dtype` takes. Raises ValueError."""
    if isinstance(dtype, tg.dtype):
        return dtype
    return BY_NAME[standardize_dtype(dtype)]


def is_tensor(x: Any) -> bool:
    """Whether it is a tensor (a ``Variable`` is one)."""
    return isinstance(x, Tensor)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """A tensor of what is given: arrays keep their dtype, Python numbers get ``floatx`` or int32.

    Memory is shared with arrays that can be written. Raises ValueError for what is no array of
    numbers, and for ``sparse`` and ``ragged``.
    """
    if sparse or ragged:
        raise ValueError("convert_to_tensor: sparse and ragged tensors are not supported")
    if isinstance(x, Tensor):
        return x if dtype is None else cast(x, dtype)
    if dtype is None and isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        big = isinstance(x, int) and not -(2**31) <= x < 2**31
        dtype = tg.int64 if big else dtype_of(type(x))
    if isinstance(x, (list, tuple)) and any(isinstance(item, Tensor) for item in x):
        return tg.stack([convert_to_tensor(item, dtype) for item in x])
    array = x if isinstance(x, np.ndarray) else _array_of(x)
    if array.dtype in _WIDER:
        array = array.astype(_WIDER[array.dtype])
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"convert_to_tensor: expected numbers, got {type(x).__name__} of dtype {array.dtype}"
        )
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        array = array.copy()
    tensor = tg.from_numpy(array)
    return tensor if dtype is None else cast(tensor, dtype)


def _array_of(x: Any) -> np.ndarray:
    """Lists of Python numbers get Keras's dtypes instead of NumPy's wide ones."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"convert_to_tensor: {error}") from None
    if isinstance(x, (list, tuple)) and not _holds_numpy(x):
        if array.dtype == np.float64:
            return array.astype(np.float32 if settings.floatx == "bfloat16" else settings.floatx)
        if array.dtype == np.int64 and array.size and abs(array).max() < 2**31:
            return array.astype(np.int32)
    return array


def _holds_numpy(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    return isinstance(x, (np.ndarray, np.generic))


def cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype; itself if it has that one already."""
    wanted = dtype_of(dtype)
    if not isinstance(x, Tensor):
        x = convert_to_tensor(x)
    return x if x.dtype is wanted else x.to(wanted)


def convert_to_numpy(x: Any) -> np.ndarray:
    """An array of the values, without history; bfloat16 becomes float32."""
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype is tg.bfloat16 else x).numpy()
    if isinstance(x, (list, tuple)):
        return np.array([convert_to_numpy(item) for item in x])
    return np.asarray(x)


class DTypePolicy:
    """The dtypes of a layer: ``"float32"`` for all, or ``"mixed_bfloat16"`` and ``"mixed_float16"``
    for weights in float32 and halves in between. Raises ValueError for another name."""

    def __init__(self, name: Any = None) -> None:
        if isinstance(name, str) and name.startswith("mixed_"):
            compute = name[len("mixed_") :]
            if compute not in ("float16", "bfloat16"):
                raise ValueError(f"Cannot convert '{name}' to a mixed precision DTypePolicy.")
            self._name, self._compute, self._variable = name, compute, "float32"
        else:
            self._name = self._compute = self._variable = standardize_dtype(name)

    @property
    def name(self) -> str:
        """The name it was made from."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """What inputs are converted to."""
        return self._compute

    @property
    def variable_dtype(self) -> str:
        """What weights are stored in."""
        return self._variable

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """The policy of a configuration."""
        return cls(**config)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, DTypePolicy) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)


_policy: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given no dtype: the one set, or that of ``floatx``."""
    return _policy if _policy is not None else DTypePolicy(settings.floatx)


def set_dtype_policy(policy: Any) -> None:
    """Sets :func:`dtype_policy`, by name or as an object; None goes back to ``floatx``."""
    global _policy
    _policy = policy_of(policy) if policy is not None else None


def policy_of(dtype: Any) -> DTypePolicy:
    """The policy that a layer's argument ``dtype`` means: a policy, its config, a name, None."""
    if dtype is None:
        return dtype_policy()
    if isinstance(dtype, DTypePolicy):
        return dtype
    if isinstance(dtype, dict):
        return DTypePolicy(**dtype.get("config", dtype))
    return DTypePolicy(dtype)

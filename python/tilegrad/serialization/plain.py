"""What a checkpoint may hold beside tensors: containers, numbers, arrays, namespaces.

Each entry of the tables below is a promise that building it from arbitrary arguments runs no code
of the file's choosing and takes no more memory than the file has bytes.
"""

from __future__ import annotations

import argparse
import re
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from .machine import check_key

__all__ = ["CALLS", "GLOBALS", "NEW", "state_setter"]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise UnpicklingError(f"{what}: unexpected arguments in the file")


def _ordered_dict(*args: Any) -> OrderedDict:
    _require(len(args) <= 1 and all(isinstance(x, (list, tuple, dict)) for x in args), "dict")
    for pair in args[0] if args and not isinstance(args[0], dict) else ():
        _require(isinstance(pair, (list, tuple)) and len(pair) == 2, "dict")
        check_key(pair[0])
    return OrderedDict(*args)


def _default_dict(*args: Any) -> defaultdict:
    factories = (None, list, dict, set, int, float, str, bool, tuple)
    _require(len(args) <= 1 and all(x in factories for x in args), "defaultdict")
    return defaultdict(*args)


def _counter(*args: Any) -> Counter:
    _require(len(args) <= 1 and all(isinstance(x, dict) for x in args), "Counter")
    return Counter(*args)


def _deque(*args: Any) -> deque:
    _require(len(args) <= 2 and all(isinstance(x, (list, tuple)) for x in args[:1]), "deque")
    _require(len(args) < 2 or args[1] is None or isinstance(args[1], int), "deque")
    return deque(*args)


def _collection(kind: type) -> Callable[..., Any]:
    def build(*args: Any) -> Any:
        whole = len(args) <= 1 and all(isinstance(x, (list, tuple, set)) for x in args)
        _require(whole, kind.__name__)
        for item in args[0] if args else ():
            check_key(item)
        return kind(*args)

    return build


def _bytearray(*args: Any) -> bytearray:
    """From bytes, or from text and its encoding; a number would ask for so many zeros."""
    if len(args) == 2:
        return bytearray(_encode(*args))
    _require(len(args) <= 1 and all(isinstance(x, bytes) for x in args), "bytearray")
    return bytearray(*args)


def _complex(*args: Any) -> complex:
    _require(len(args) <= 2 and all(isinstance(x, (int, float)) for x in args), "complex")
    return complex(*args)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    _require(isinstance(text, str) and encoding in ("latin1", "latin-1", "utf-8"), "encode")
    return text.encode(encoding)


# --- NumPy --------------------------------------------------------------------------------------

_PLAIN_DTYPE = re.compile(r"[?bBhHiIlLqQefdFD]|[biufcSU]\d{1,9}")


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype:
    _require(isinstance(code, str) and _PLAIN_DTYPE.fullmatch(code) is not None, "numpy.dtype")
    return np.dtype(code)


def _dtype_state(dtype: Any, state: Any) -> None:
    """Only the byte order matters, and it must be this machine's."""
    _require(isinstance(state, tuple) and len(state) >= 2, "numpy.dtype")
    _require(state[1] in ("<", "=", "|") and all(x is None for x in state[2:5]), "numpy.dtype")


def _scalar(dtype: Any, raw: Any) -> Any:
    _require(isinstance(dtype, np.dtype) and isinstance(raw, bytes), "numpy scalar")
    _require(len(raw) == dtype.itemsize, "numpy scalar")
    return np.frombuffer(raw, dtype)[0] if raw else np.zeros((), dtype)[()]


def _array_shell(cls: Any, shape: Any, code: Any) -> np.ndarray:
    """An empty array; its state follows."""
    _require(cls is np.ndarray and shape == (0,), "numpy array")
    return np.empty(0, np.int8)


def _array_state(array: Any, state: Any) -> None:
    _require(isinstance(state, tuple) and len(state) == 5, "numpy array")
    _, shape, dtype, fortran, raw = state
    _require(isinstance(dtype, np.dtype) and not dtype.hasobject, "numpy array")
    _require(isinstance(raw, bytes) and _fits(shape, dtype, raw), "numpy array")
    array.__setstate__((1, shape, dtype, bool(fortran), raw))


def _array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> np.ndarray:
    _require(isinstance(raw, (bytes, bytearray)) and isinstance(dtype, np.dtype), "numpy array")
    _require(_fits(shape, dtype, raw) and order in ("C", "F") and not axes, "numpy array")
    return np.frombuffer(raw, dtype).reshape(shape, order=order).copy(order)


def _fits(shape: Any, dtype: np.dtype, raw: Any) -> bool:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        return False
    bytes_needed = dtype.itemsize
    for size in shape:
        bytes_needed *= size
    return bytes_needed == len(raw) and len(shape) <= 32


# --- objects that are bags of attributes --------------------------------------------------------


def _attributes(target: Any, state: Any) -> None:
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    _require(named, type(target).__name__)
    vars(target).update(state)


def _simple_namespace(*args: Any) -> types.SimpleNamespace:
    _require(not args, "SimpleNamespace")
    return types.SimpleNamespace()


_BUILTINS = (set, frozenset, bytearray, complex, list, dict, tuple, int, float, str, bool, bytes)
GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": defaultdict,
    "collections.Counter": Counter,
    "collections.deque": deque,
    "_codecs.encode": _encode,
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": types.SimpleNamespace,
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    **{
        f"{room}.{kind.__name__}": kind
        for kind in _BUILTINS
        for room in ("builtins", "__builtin__")
    },
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _array_shell for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array_from_buffer for core in ("core", "_core")},
}
CALLS: dict[Any, Callable[..., Any]] = {
    OrderedDict: _ordered_dict,
    defaultdict: _default_dict,
    Counter: _counter,
    deque: _deque,
    set: _collection(set),
    frozenset: _collection(frozenset),
    bytearray: _bytearray,
    complex: _complex,
    types.SimpleNamespace: _simple_namespace,
    np.dtype: _dtype,
    **{f: f for f in (_encode, _scalar, _array_shell, _array_from_buffer)},
}
NEW: tuple[type, ...] = (argparse.Namespace,)
_STATES: dict[type, Callable[[Any, Any], None]] = {
    OrderedDict: _attributes,
    argparse.Namespace: _attributes,
    types.SimpleNamespace: _attributes,
    np.ndarray: _array_state,
}


def state_setter(target: Any) -> Callable[[Any, Any], None] | None:
    """The function that gives ``target`` its state, if it may have one."""
    return _dtype_state if isinstance(target, np.dtype) else _STATES.get(type(target))

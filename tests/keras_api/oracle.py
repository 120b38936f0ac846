"""The real Keras, with PyTorch below it, beside ours: the same model twice, with equal weights."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), "keras-of-tests"))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use names that newer packages deprecate
    theirs = pytest.importorskip("keras", reason="keras is the oracle here: pip install .[test]")
import tilegrad.keras as ours

__all__ = ["array", "both", "close", "ours", "theirs", "twins"]


def array(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Reproducible normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def twins(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """``make(keras)`` of both packages, the weights of theirs taken over by ours."""
    there, here = make(theirs), make(ours)
    here.set_weights(there.get_weights())
    return there, here


def both(function: Callable[[Any], Any]) -> tuple[Any, Any]:
    """``function(keras)`` of both packages, tensors as arrays."""
    return _arrays(function(theirs)), _arrays(function(ours))


def _arrays(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return [_arrays(item) for item in x]
    if isinstance(x, dict):
        return {key: _arrays(item) for key, item in x.items()}
    if hasattr(x, "detach"):
        return x.detach().numpy()
    return x


def close(there: Any, here: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Both results have the same structure, shapes, and nearly the same numbers."""
    if isinstance(there, dict):
        assert sorted(there) == sorted(here)
        for key in there:
            close(there[key], here[key], rtol, atol)
    elif isinstance(there, (list, tuple)):
        assert len(there) == len(here)
        for a, b in zip(there, here, strict=True):
            close(a, b, rtol, atol)
    else:
        a, b = np.asarray(there), np.asarray(here)
        assert a.shape == b.shape, (a.shape, b.shape)
        assert a.dtype.kind == b.dtype.kind, (a.dtype, b.dtype)
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)

"""Comparisons with PyTorch, shared by all tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg

TOLERANCE = {  # relative, absolute
    "float64": (1e-12, 1e-12),
    "float32": (1e-5, 1e-5),
    "complex128": (1e-12, 1e-12),
    "complex64": (1e-5, 1e-5),
}


DEVICE = "cpu"  # of tests below tests/ops and some more, see conftest.py


def to_device(x: Any) -> Any:
    """A tensor of ours on the device under test, with its strides if it is dense."""
    order = sorted(range(x.ndim), key=lambda d: -x.stride(d))
    return x.permute(*order).to(DEVICE).permute(*(order.index(d) for d in range(x.ndim)))


def as_array(x: Any) -> np.ndarray:
    """The values of a tensor of either library."""
    return x.detach().cpu().resolve_conj().resolve_neg().numpy()


def tensors_from(module: Any, arrays: tuple, requires_grad: bool) -> list[Any]:
    """Each NumPy array as a leaf tensor; anything else is passed on as it is."""
    made = []
    for array in arrays:
        if isinstance(array, np.ndarray):
            tensor = module.from_numpy(array.copy(order="K"))
            if requires_grad and array.dtype.kind in "fc":
                tensor.requires_grad_()
            made.append(tensor)
        else:
            made.append(array)
    return made


def flatten(result: Any) -> list[Any]:
    """The tensors and numbers of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [leaf for item in result for leaf in flatten(item)]
    return [result]


def assert_same(ours: Any, theirs: Any, rtol: float | None, atol: float | None, what: str) -> None:
    """Equal type, shape, dtype and values (NaN equals NaN)."""
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs or (ours != ours and theirs != theirs), f"{what}: {ours} {theirs}"
        return
    assert isinstance(ours, tg.Tensor), f"{what}: expected a tensor, got {type(ours)}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: {ours.shape} {theirs.shape}"
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1], what
    a, b = as_array(ours), as_array(theirs)
    default_rtol, default_atol = TOLERANCE.get(b.dtype.name, (0, 0))
    np.testing.assert_allclose(
        a,
        b,
        rtol=default_rtol if rtol is None else rtol,
        atol=default_atol if atol is None else atol,
        err_msg=what,
    )


def check(
    function: Callable[..., Any],
    *arrays: Any,
    grad: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """``function(m, *tensors)`` gives the same results and gradients with ``m`` = tilegrad, torch.

    NumPy arrays become leaf tensors; with ``grad`` floating and complex ones require gradients, and
    every such output is multiplied with fixed weights, summed and differentiated.
    """
    results, gradients = [], []
    for module in (tg, torch):
        tensors = tensors_from(module, arrays, grad)
        outputs = flatten(function(module, *tensors))
        results.append(outputs)
        if not grad:
            continue
        leaves = [t for t in tensors if hasattr(t, "requires_grad") and t.requires_grad]
        roots = [y for y in outputs if hasattr(y, "requires_grad") and y.requires_grad]
        weights = [fixed_weights(as_array(y)) for y in roots]
        if roots:
            module.autograd.backward(roots, [module.from_numpy(w) for w in weights])
        gradients.append([leaf.grad for leaf in leaves])
    ours, theirs = results
    assert len(ours) == len(theirs), f"{len(ours)} results, PyTorch has {len(theirs)}"
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert_same(a, b, rtol, atol, f"result {i}")
    if grad:
        for i, (a, b) in enumerate(zip(*gradients, strict=True)):
            assert (a is None) == (b is None), f"gradient {i}: {a} {b}"
            if b is not None:
                assert_same(a, b, rtol, atol, f"gradient {i}")


def fixed_weights(like: np.ndarray) -> np.ndarray:
    """Factors of a result's shape and dtype."""
    angles = np.arange(like.size).reshape(like.shape)
    weights = np.exp(1j * angles) if like.dtype.kind == "c" else np.cos(angles)
    return np.asarray(weights, like.dtype)


def check_error(exception: type[BaseException], pattern: str, function: Callable[[], Any]) -> None:
    """``function()`` raises exactly ``exception`` with a message that contains the pattern."""
    with pytest.raises(exception) as caught:
        function()
    assert type(caught.value) is exception, f"{type(caught.value)}: {caught.value}"
    assert re.search(pattern, str(caught.value)), f"{pattern!r} not in {str(caught.value)!r}"


def randn(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    """Reproducible normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def complex_randn(*shape: int, dtype: Any = np.complex128, seed: int = 0) -> np.ndarray:
    """Reproducible normal numbers, real and imaginary."""
    draw = np.random.default_rng(seed)
    return (draw.standard_normal(shape) + 1j * draw.standard_normal(shape)).astype(dtype)

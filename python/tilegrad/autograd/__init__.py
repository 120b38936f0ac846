"""Reverse-mode differentiation: ``backward``, ``grad``, custom functions, and switches."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

from .. import _C
from . import functional
from .anomaly import detect_anomaly, set_detect_anomaly
from .engine import Captures, accumulate, run_backward
from .function import Function, FunctionCtx
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .graph import Node
from .mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "Node",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def __getattr__(name: str) -> Any:
    """``Variable`` and ``profiler``, which need this package."""
    if name == "Variable":
        from .._legacy import Variable

        return Variable
    if name == "profiler":
        return importlib.import_module(".profiler", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def _as_list(tensors: Any) -> list[Any]:
    one = isinstance(tensors, _C.TensorBase) or not hasattr(tensors, "__iter__")
    return [tensors] if one else list(tensors)


def _root_gradients(op: str, tensors: list[Any], grads: Any) -> list[Any]:
    grads = [None] * len(tensors) if grads is None else _as_list(grads)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    result = []
    for i, (tensor, grad) in enumerate(zip(tensors, grads, strict=True)):
        if grad is not None and not isinstance(grad, _C.TensorBase):
            raise TypeError(f"{op}: expected gradients to be tensors, got {type(grad).__name__}")
        if not tensor.requires_grad:
            raise RuntimeError(
                f"{op}: element {i} of tensors does not require grad and does not have a grad_fn"
            )
        if grad is None:
            if tensor.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if tensor.dtype.is_complex:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{tensor.dtype}"
                )
            grad = _C.full(tensor.shape, 1, tensor.dtype, tensor.device)
        elif grad.shape != tensor.shape:
            raise RuntimeError(
                f"{op}: Mismatch in shape: grad_output has a shape of {list(grad.shape)} and "
                f"output has a shape of {list(tensor.shape)}."
            )
        elif grad.is_cuda != tensor.is_cuda:
            raise RuntimeError(
                f"{op}: expected a gradient on device {tensor.device} but got {grad.device}"
            )
        result.append(grad)
    return result


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds to ``leaf.grad`` the gradient of the sum of ``tensors`` with respect to each leaf.

    - ``grad_tensors``: per tensor the factor of that sum, of its shape; None (one) for scalars
    - ``retain_graph``: keep what the graph saved, so that it can be walked again; defaults to
      ``create_graph``
    - ``create_graph``: record the backward pass itself, for higher derivatives
    - ``inputs``: add to the gradients of these tensors only

    Raises RuntimeError for tensors without graph, shapes that do not match, values that were
    modified in place after being saved, and a graph that was already released.
    """
    tensors = _expect_tensors("backward", _as_list(tensors))
    grads = _root_gradients(
        "backward", tensors, grad_variables if grad_tensors is None else grad_tensors
    )
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run_backward(tensors, grads, retain, create_graph)
        return
    inputs = _expect_tensors("backward", _as_list(inputs))
    if not inputs:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    gradients = _captured(tensors, grads, inputs, retain, create_graph)
    with set_grad_enabled(create_graph):
        for tensor, gradient in zip(inputs, gradients, strict=True):
            if gradient is not None:
                accumulate(tensor, gradient)


def _expect_tensors(op: str, items: list) -> list:
    for item in items:
        if not isinstance(item, _C.TensorBase):
            raise TypeError(f"{op}: expected tensors, got {type(item).__name__}")
    return items


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``; ``.grad`` is left alone.

    Returns a tuple like ``inputs``: one tensor each, of its shape and dtype. An input that does not
    contribute raises RuntimeError, unless ``allow_unused`` (its gradient is then None) or
    ``materialize_grads`` (then zeros). ``grad_outputs``, ``retain_graph`` and ``create_graph`` are
    those of :func:`backward`, with its errors; ``only_inputs`` is ignored, as in PyTorch.
    ``is_grads_batched``: the first dimension of each of ``grad_outputs`` numbers several passes,
    whose results are stacked.
    """
    if not only_inputs:
        warnings.warn(
            "grad: argument 'only_inputs' is ignored (it is always True); to add to the gradients "
            "of other tensors use tilegrad.autograd.backward",
            FutureWarning,
            stacklevel=2,
        )
    if is_grads_batched:
        return _of_each(
            outputs, inputs, grad_outputs, create_graph, allow_unused, materialize_grads
        )
    outputs = _expect_tensors("grad", _as_list(outputs))
    inputs = _expect_tensors("grad", _as_list(inputs))
    roots = _root_gradients("grad", outputs, grad_outputs)
    for tensor in inputs:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    results = _captured(outputs, roots, inputs, retain, create_graph)
    if materialize_grads:
        return tuple(
            t.new_zeros(t.shape) if g is None else g for t, g in zip(inputs, results, strict=True)
        )
    if not allow_unused and any(gradient is None for gradient in results):
        raise RuntimeError(
            "One of the differentiated Tensors appears to not have been used in the graph. "
            "Set allow_unused=True if this is the desired behavior."
        )
    return tuple(results)


def _of_each(
    outputs: Any, inputs: Any, grads: Any, create_graph: bool, allow_unused: Any, zeros: bool
) -> tuple:
    """The gradients for each of several ``grad_outputs``, stacked."""
    from ..ops import stack

    batch = [] if grads is None else _as_list(grads)
    sizes = {len(g) for g in _expect_tensors("grad", batch) if g.ndim}
    if len(sizes) != 1 or 0 in sizes:
        raise RuntimeError(f"grad: expected grad_outputs of one batch size, got sizes {sizes}")
    rows = [
        grad(outputs, inputs, [g[i] for g in batch], True, create_graph,
             allow_unused=allow_unused, materialize_grads=zeros)
        for i in range(sizes.pop())
    ]  # fmt: skip
    columns = zip(*rows, strict=True)
    return tuple(None if column[0] is None else stack(list(column)) for column in columns)


def _captured(
    tensors: Sequence[Any], grads: Sequence[Any], inputs: Sequence[Any], retain: bool, create: bool
) -> list[Any]:
    captures = Captures(inputs, tensors)
    run_backward(tensors, grads, retain, create, captures)
    return [captures.result(tensor) for tensor in inputs]

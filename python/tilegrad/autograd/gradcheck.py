"""Checking gradients against central differences.

For a function f from R^n to R^m the numerical Jacobian has the columns
``(f(x + eps e_j) - f(x - eps e_j)) / (2 eps)``, with an error of order eps^2 (truncation) plus
rounding/eps; in float64 and with eps = 1e-6 about 1e-10. The analytical Jacobian has the rows
``backward(e_i)``. ``fast_mode`` compares ``v^T J u`` for random unit vectors u, v instead: two
evaluations and one backward pass per pair of input and output, and a wrong entry escapes with
probability zero, though a small one may hide behind the tolerance.

Complex numbers count as pairs of real ones: in PyTorch's convention the gradient of a complex
number is that of its two parts.

The numerical method is that of any textbook, such as Nocedal and Wright, Numerical Optimization
(2006), section 8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _C
from .mode import enable_grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Raised by gradcheck and gradgradcheck: a gradient is wrong, and which one."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Whether the gradients of ``func(*inputs)`` agree with central differences.

    - ``func``: returns a tensor, or a tuple of values among which floating and complex tensors are
      checked
    - ``inputs``: a tensor or a tuple; those that require grad are checked, in every stride layout.
      They are float64 or complex128: others do not resolve differences of ``eps``
    - ``atol``, ``rtol``: allowed is ``|analytical - numerical| <= atol + rtol * |numerical|``
    - ``nondet_tol``: how far two backward passes may differ
    - ``check_undefined_grad``: also check that absent gradients of outputs count as zeros
    - ``check_grad_dtypes``: also check that gradients have the dtype of their inputs
    - ``fast_mode``: compare random projections of the Jacobian, for large inputs

    Returns True. Otherwise raises GradcheckError, which says which input and output differ, or
    returns False with ``raise_exception=False``. Raises ValueError if no input requires grad.
    """
    try:
        with enable_grad():
            _check(
                func,
                _as_tuple(inputs),
                eps=eps,
                atol=atol,
                rtol=rtol,
                nondet_tol=nondet_tol,
                undefined=check_undefined_grad,
                dtypes=check_grad_dtypes,
                fast=fast_mode,
            )
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Whether the second derivatives of ``func(*inputs)`` agree with central differences.

    Checks the gradients of the function from ``inputs`` and ``grad_outputs`` to the gradients of
    ``func``. ``grad_outputs`` are random if None, and with ``gen_non_contig_grad_outputs`` not
    contiguous. The other arguments, the result and the errors are those of :func:`gradcheck`.
    """
    inputs = _as_tuple(inputs)
    checked = [i for i, x in enumerate(inputs) if _requires_grad(x)]
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        draw = np.random.default_rng(0)
        grad_outputs = tuple(_random_like(y, draw, gen_non_contig_grad_outputs) for y in outputs)
    grad_outputs = _as_tuple(grad_outputs)

    def first_derivatives(*args: Any) -> tuple:
        from . import grad

        args, grads = args[: len(inputs)], args[len(inputs) :]
        outputs = _differentiable(func(*args))
        wanted = [args[i] for i in checked]
        results = grad(outputs, wanted, grads, create_graph=True, allow_unused=True)
        return tuple(g for g in results if g is not None)

    return gradcheck(
        first_derivatives,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        fast_mode=fast_mode,
    )


def _check(func: Callable[..., Any], inputs: tuple, **options: Any) -> None:
    checked = [i for i, x in enumerate(inputs) if _requires_grad(x)]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, "
            "but none of the them have requires_grad=True."
        )
    for i in checked:
        if inputs[i].dtype not in (_C.float64, _C.complex128):
            raise ValueError(
                f"gradcheck: input {i} has dtype {inputs[i].dtype}; expected float64 or "
                f"complex128, in which differences of eps = {options['eps']} can be resolved"
            )
        if _C.has_overlap(inputs[i]):
            raise RuntimeError(
                f"gradcheck: input {i} has elements that share memory (an expanded dimension); "
                "central differences need to change each alone. Call contiguous() first."
            )
    outputs = _differentiable(func(*inputs))
    if not outputs:
        _expect_constant(func, inputs, checked, options)
        return
    for i in checked:
        if options["fast"]:
            _compare_projections(func, inputs, i, options)
        else:
            _compare_jacobians(func, inputs, i, options)
    if options["undefined"]:
        _check_undefined(func, inputs, checked)


# --- derivatives --------------------------------------------------------------------------------


def _central_difference(
    evaluate: Callable[[], list[Any]], x: Any, step: np.ndarray
) -> list[np.ndarray]:
    """(f(x + step) - f(x - step)) / 2, a flat array per output of f. x is changed and restored."""
    x = x.detach()  # writes to the same memory
    original = x.clone()
    shift = _tensor(step, x)
    try:
        x.copy_(original + shift)
        above = [_flat(y) for y in evaluate()]
        x.copy_(original - shift)
        below = [_flat(y) for y in evaluate()]
    finally:
        x.copy_(original)
    return [(a - b) / 2 for a, b in zip(above, below, strict=True)]


def _analytical_rows(
    func: Callable[..., Any], inputs: tuple, i: int, k: int, rows: list[np.ndarray], options: dict
) -> list[np.ndarray]:
    """The gradients of input i for each of the given gradients of output k, computed twice."""
    from . import grad

    output = _differentiable(func(*inputs))[k]
    results = []
    for row in rows:
        seed = _tensor(row, output)
        first, second = (
            grad(output, inputs[i], seed, retain_graph=True, allow_unused=True)[0] for _ in range(2)
        )
        if first is None:
            results.append(np.zeros(_size(inputs[i])))
            continue
        if options["dtypes"] and first.dtype is not inputs[i].dtype:
            raise GradcheckError(
                f"Expected the gradient of input {i} to have dtype {inputs[i].dtype}, "
                f"got {first.dtype}"
            )
        a, b = _flat(first), _flat(second)
        if not np.allclose(a, b, rtol=0, atol=options["nondet_tol"], equal_nan=True):
            raise GradcheckError(
                f"Backward is not reentrant, i.e., running backward with same input and "
                f"grad_output multiple times gives different values for input {i} and output {k}, "
                f"although analytical gradient matches numerical gradient. The tolerance for "
                f"nondeterminism was {options['nondet_tol']}."
            )
        results.append(a)
    return results


# --- comparisons --------------------------------------------------------------------------------


def _compare_jacobians(func: Callable[..., Any], inputs: tuple, i: int, options: dict) -> None:
    count = _size(inputs[i])
    sizes = [_size(y) for y in _differentiable(func(*inputs))]
    numerical = [np.zeros((count, size)) for size in sizes]
    for j, step in enumerate(options["eps"] * np.eye(count)):
        changes = _central_difference(lambda: _differentiable(func(*inputs)), inputs[i], step)
        for k, change in enumerate(changes):
            numerical[k][j] = change / options["eps"]
    for k, size in enumerate(sizes):
        rows = _analytical_rows(func, inputs, i, k, list(np.eye(size)), options)
        analytical = np.stack(rows, 1) if rows else np.zeros((count, 0))
        if not _close(analytical, numerical[k], options):
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {i},\n"
                f"numerical:{numerical[k]}\nanalytical:{analytical}\n"
                "(rows: elements of the input, columns: elements of the output; largest "
                f"difference {np.max(np.abs(analytical - numerical[k]))})"
            )


def _compare_projections(func: Callable[..., Any], inputs: tuple, i: int, options: dict) -> None:
    draw = np.random.default_rng(0)
    u = _unit(draw, _size(inputs[i]))
    step = options["eps"] * u
    changes = _central_difference(lambda: _differentiable(func(*inputs)), inputs[i], step)
    for k, change in enumerate(changes):
        v = _unit(draw, change.size)
        numerical = v @ change / options["eps"]
        (row,) = _analytical_rows(func, inputs, i, k, [v], options)
        if not _close(row @ u, numerical, options):
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {i}, along random unit "
                f"vectors,\nnumerical:{numerical}\nanalytical:{row @ u}\n"
                "(fast_mode=False shows the whole Jacobian)"
            )


def _expect_constant(
    func: Callable[..., Any], inputs: tuple, checked: list[int], options: dict
) -> None:
    """Outputs that claim to need no gradient must not depend on the inputs."""
    draw = np.random.default_rng(0)
    for i in checked:
        step = options["eps"] * _unit(draw, _size(inputs[i]))
        changes = _central_difference(lambda: _floating(func(*inputs)), inputs[i], step)
        if not all(_close(0.0, change / options["eps"], options) for change in changes):
            raise GradcheckError(
                "Numerical gradient for function expected to be zero: no output requires "
                f"gradient, but input {i} changes them"
            )


def _check_undefined(func: Callable[..., Any], inputs: tuple, checked: list[int]) -> None:
    """A backward pass that reaches only one of several outputs must still work."""
    from . import grad

    count = len(_differentiable(func(*inputs)))
    for k in range(count if count > 1 else 0):
        output = _differentiable(func(*inputs))[k]
        ones = _tensor(np.ones(_size(output)), output)
        try:
            grad(output, [inputs[i] for i in checked], ones, allow_unused=True)
        except Exception as error:
            raise GradcheckError(
                f"Expected backward function to handle undefined output grads: only output {k} "
                f"had one. Use set_materialize_grads, or handle None. It raised {error!r}"
            ) from error


# --- helpers ------------------------------------------------------------------------------------


def _as_tuple(values: Any) -> tuple:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, _C.TensorBase) and value.requires_grad


def _floating(result: Any) -> list[Any]:
    tensors = [y for y in _as_tuple(result) if isinstance(y, _C.TensorBase)]
    return [y for y in tensors if y.dtype.is_floating_point or y.dtype.is_complex]


def _differentiable(result: Any) -> list[Any]:
    return [y for y in _floating(result) if y.requires_grad]


def _size(tensor: Any) -> int:
    """How many real numbers the tensor holds."""
    return tensor.numel() * (2 if tensor.dtype.is_complex else 1)


def _flat(tensor: Any) -> np.ndarray:
    """All real numbers of a tensor, those of complex numbers in pairs."""
    array = tensor.detach().cpu().numpy()
    if tensor.dtype.is_complex:
        return array.astype(np.complex128).reshape(-1).view(np.float64)
    return array.astype(np.float64).reshape(-1)


def _tensor(numbers: np.ndarray, like: Any) -> Any:
    """The inverse: a tensor of the shape and dtype of ``like``."""
    from ..ops import from_numpy

    array = np.array(numbers, np.float64)
    if like.dtype.is_complex:
        array = array.view(np.complex128)
    return from_numpy(array.reshape(tuple(like.shape))).to(like.device, like.dtype)


def _random_like(y: Any, draw: np.random.Generator, non_contiguous: bool) -> Any:
    tensor = _tensor(draw.standard_normal(_size(y)), y)
    if non_contiguous:
        tensor = tensor.unsqueeze(-1).expand(*y.shape, 2).clone().select(-1, 0)
    return tensor.requires_grad_()


def _unit(draw: np.random.Generator, size: int) -> np.ndarray:
    vector = draw.standard_normal(size)
    return vector / max(float(np.sqrt(vector @ vector)), 1e-300)


def _close(analytical: Any, numerical: Any, options: dict) -> bool:
    return bool(
        np.allclose(
            analytical, numerical, rtol=options["rtol"], atol=options["atol"], equal_nan=True
        )
    )

"""Reductions: sum, mean, prod, amax, any, var, norm, ... over all or some dimensions.

Every function follows the function of the same name in PyTorch. ``dim`` is a dimension, a sequence
of them, or None for all; reduced dimensions disappear, or stay with size 1 under ``keepdim``.
NumPy's ``axis`` and ``keepdims`` are accepted for both. Errors: IndexError for a dimension out of
range, RuntimeError for one listed twice.

Results do not depend on the number of threads: elements are combined along a fixed tree.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

from .. import _C
from .._autocast import full_precision_on
from ..autograd.graph import needs_grad, record
from ._dims import count_reduced, numpy_names, with_kept_dims
from ._register import method, put_out, takes_tensors
from .view import reshape

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "logsumexp",
    "mean",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


@method()
def sum(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """The sum; 0 for no elements. bool and integers are summed in int64 without ``dtype``."""
    if names:
        dim, keepdim = numpy_names("sum", dim, keepdim, names)
    output = _C.sum(input, dim, keepdim, dtype)
    if needs_grad(input):
        record(output, sum_backward, (input,), (input.shape, dim, keepdim))
    return output if out is None else put_out(out, output)


def sum_backward(node: Any, grad: Any) -> Any:
    shape, dim, keepdim = node.saved
    return with_kept_dims(grad, shape, dim, keepdim).expand(shape)


@method()
def sum_to_size(input: Any, *size: Any) -> Any:
    """Sums the dimensions that broadcasting ``size`` to ``input.shape`` would have repeated.

    Raises RuntimeError if ``size`` does not broadcast to ``input.shape``.
    """
    shape = input.shape
    size = tuple(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
    if size == shape:
        return input
    lead = len(shape) - len(size)
    if lead < 0 or builtins.any(b not in (1, a) for a, b in zip(shape[lead:], size, strict=True)):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    dims = [d for d in range(len(shape)) if d < lead or (size[d - lead] == 1 and shape[d] != 1)]
    return reshape(sum(input, dims, True, dtype=input.dtype), size)


@method()
def mean(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """The mean; NaN for no elements. Raises RuntimeError unless the dtype is floating."""
    if names:
        dim, keepdim = numpy_names("mean", dim, keepdim, names)
    output = _C.mean(input, dim, keepdim, dtype)
    if needs_grad(input):
        record(output, mean_backward, (input,), (input.shape, dim, keepdim))
    return output if out is None else put_out(out, output)


def mean_backward(node: Any, grad: Any) -> Any:
    shape, dim, keepdim = node.saved
    grad = with_kept_dims(grad, shape, dim, keepdim)
    count = count_reduced(shape, dim)
    return (grad / count if count else grad).expand(shape)


@method()
@full_precision_on("cpu")
def prod(
    input: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """The product over one dimension or all; 1 for no elements. Integers multiply in int64."""
    if names:
        dim, keepdim = numpy_names("prod", dim, keepdim, names)
    if not (dim is None or isinstance(dim, int)):
        raise TypeError(
            f"prod: argument 'dim': expected one int or None, got {type(dim).__name__} {dim}"
        )
    output = _C.prod(input, dim, keepdim, dtype)
    if needs_grad(input):
        record(output, prod_backward, (input,), (input, dim, keepdim, output))
    return output if out is None else put_out(out, output)


def prod_backward(node: Any, grad: Any) -> Any:
    input, dim, keepdim, output = node.saved
    grad = with_kept_dims(grad, input.shape, dim, keepdim)
    if bool(_C.all(input, None, False)):  # no zeros to divide by
        return grad * with_kept_dims(output, input.shape, dim, keepdim) / input
    if input.ndim == 0:
        return grad
    if dim is None:
        return grad * reshape(_product_of_others(reshape(input, (-1,)), 0), input.shape)
    return grad * _product_of_others(input, dim)


def _product_of_others(input: Any, dim: int) -> Any:
    """For each element the product of all others along ``dim``, without a division."""
    return _products_before(input, dim, 1) * _products_before(input, dim, -1)


def _products_before(input: Any, dim: int, direction: int) -> Any:
    """Products of all elements before (direction 1) or after (-1) each one, by doubling."""
    length = input.shape[dim]
    output = _shifted(input, dim, direction)
    reach = 1
    while reach < length:
        output = output * _shifted(output, dim, direction * reach)
        reach *= 2
    return output


def _shifted(input: Any, dim: int, by: int) -> Any:
    """Moved by ``by`` places along ``dim``; ones move in."""
    from .join import cat

    length = input.shape[dim]
    count = builtins.min(abs(by), length)
    ones = input.narrow(dim, 0, count).detach() * 0 + 1
    if by > 0:
        return cat([ones, input.narrow(dim, 0, length - count)], dim)
    return cat([input.narrow(dim, count, length - count), ones], dim)


@method()
def amax(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None, **names: Any) -> Any:
    """The maximum; NaN where there is one. Equal maxima share the gradient evenly.

    Raises IndexError for a reduced dimension of size 0, RuntimeError for an empty input.
    """
    if names:
        dim, keepdim = numpy_names("amax", dim or None, keepdim, names)
    output = _C.amax(input, dim, keepdim)
    if needs_grad(input):
        record(output, amax_backward, (input,), (input, dim, keepdim, output))
    return output if out is None else put_out(out, output)


def amax_backward(node: Any, grad: Any) -> Any:
    input, dim, keepdim, output = node.saved
    chosen = input == with_kept_dims(output, input.shape, dim, keepdim)
    share = with_kept_dims(grad, input.shape, dim, keepdim) / sum(chosen, dim, True)
    return share * chosen


@method()
def amin(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None, **names: Any) -> Any:
    """The minimum; NaN where there is one. Equal minima share the gradient evenly.

    Raises IndexError for a reduced dimension of size 0, RuntimeError for an empty input.
    """
    if names:
        dim, keepdim = numpy_names("amin", dim or None, keepdim, names)
    output = _C.amin(input, dim, keepdim)
    if needs_grad(input):
        record(output, amin_backward, (input,), (input, dim, keepdim, output))
    return output if out is None else put_out(out, output)


amin_backward = amax_backward


@method()
def any(
    input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """True where an element is not zero; False for no elements. uint8 gives uint8."""
    if names:
        dim, keepdim = numpy_names("any", dim, keepdim, names)
    output = _C.any(input, dim, keepdim)
    return output if out is None else put_out(out, output)


@method()
def all(
    input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """True where no element is zero; True for no elements. uint8 gives uint8."""
    if names:
        dim, keepdim = numpy_names("all", dim, keepdim, names)
    output = _C.all(input, dim, keepdim)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements are not zero, as int64."""
    return _C.sum(_C.to_dtype(input, _C.boolean), dim, False, None)


def _correction(op: str, dim: Any, unbiased: bool | None, correction: Any) -> tuple[Any, Any]:
    """(dim, correction). PyTorch also takes ``var(input, unbiased)``: a bool as dim."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is None:
        return dim, 1 if correction is None else correction
    if correction is not None:
        raise TypeError(f"{op}() takes either 'unbiased' or 'correction', got both")
    return dim, int(unbiased)


@method()
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """The variance: squared deviations from the mean, summed and divided by ``n - correction``.

    ``correction`` is 1 (Bessel's); ``unbiased=False`` means 0. Raises RuntimeError unless the dtype
    is floating. Fewer than ``correction + 1`` elements give NaN or infinity.
    """
    if names:
        dim, keepdim = numpy_names("var", dim, keepdim, names)
    output = var_mean(input, dim, unbiased, keepdim, correction=correction)[0]
    return output if out is None else put_out(out, output)


@method()
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """The standard deviation, the square root of :func:`var`; same arguments and errors."""
    if names:
        dim, keepdim = numpy_names("std", dim, keepdim, names)
    output = std_mean(input, dim, unbiased, keepdim, correction=correction)[0]
    return output if out is None else put_out(out, output)


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    **names: Any,
) -> tuple[Any, Any]:
    """(:func:`var`, :func:`mean`), computed together.

    Dtypes and errors are those of :func:`var`.
    """
    if names:
        dim, keepdim = numpy_names("var_mean", dim, keepdim, names)
    dim, correction = _correction("var_mean", dim, unbiased, correction)
    variance, center = _C.var_mean("var", input, dim, correction, keepdim)
    if needs_grad(input):
        record(variance, var_backward, (input,), (input, dim, keepdim, correction))
        record(center, mean_backward, (input,), (input.shape, dim, keepdim))
    return variance, center


def var_backward(node: Any, grad: Any) -> Any:
    input, dim, keepdim, correction = node.saved
    grad = with_kept_dims(grad, input.shape, dim, keepdim)
    degrees = count_reduced(input.shape, dim) - correction
    factor = 2 / degrees if degrees else math.inf
    return grad * factor * (input - mean(input, dim, True))


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Any = None,
    **names: Any,
) -> tuple[Any, Any]:
    """(:func:`std`, :func:`mean`), computed together.

    Dtypes and errors are those of :func:`std`.
    """
    if names:
        dim, keepdim = numpy_names("std_mean", dim, keepdim, names)
    dim, correction = _correction("std_mean", dim, unbiased, correction)
    variance, center = _C.var_mean("std", input, dim, correction, keepdim)
    deviation = _C.sqrt(variance)
    if needs_grad(input):
        record(deviation, std_backward, (input,), (input, dim, keepdim, correction, deviation))
        record(center, mean_backward, (input,), (input.shape, dim, keepdim))
    return deviation, center


def std_backward(node: Any, grad: Any) -> Any:
    from .where import where

    input, dim, keepdim, correction, deviation = node.saved
    # A constant input has no slope; 0 is the choice that keeps training alive.
    grad = where(deviation == 0, 0.0, grad / (2 * deviation))
    grad = with_kept_dims(grad, input.shape, dim, keepdim)
    degrees = count_reduced(input.shape, dim) - correction
    factor = 2 / degrees if degrees else math.inf
    return grad * factor * (input - mean(input, dim, True))


@method()
@takes_tensors
@full_precision_on("cuda")
def norm(
    input: Any,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Any = None,
    dtype: Any = None,
) -> Any:
    """The vector norm ``sum(|x|**p) ** (1/p)`` over ``dim``; 'fro' means p = 2,
    'nuc' the sum of a matrix's singular values.

    p = inf and -inf give the largest and smallest magnitude, p = 0 counts what is not zero. Raises
    RuntimeError unless the dtype is floating, ValueError for another string.
    """
    if isinstance(p, str):
        if p == "nuc":
            from ..linalg import matrix_norm

            dims = (-2, -1) if dim is None else dim
            return matrix_norm(input, "nuc", dims, keepdim, dtype=dtype, out=out)
        if p != "fro":
            raise ValueError(f"norm: argument 'p': expected a number, 'fro' or 'nuc', got {p!r}")
        p = 2.0
    if input.dtype.is_complex:
        return norm(input.abs(), p, dim, keepdim, out, dtype)
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"norm: Expected a floating point tensor as input. Got {input.dtype}")
    if dtype is not None:
        input = input.to(dtype)
    p = 2.0 if p is None else float(p)
    output = _norm(input, p, dim, keepdim)
    if needs_grad(input):
        record(output, norm_backward, (input,), (input, p, dim, keepdim, output))
    return output if out is None else put_out(out, output)


def _norm(input: Any, p: float, dim: Any, keepdim: bool) -> Any:
    if p == 1:
        return _C.sum_abs(input, dim, keepdim)
    if input.dtype.itemsize == 2:  # a half is rounded once, at the end
        if p == 2:
            squares = _C.sum_squares(input, dim, keepdim, _C.float32)
            return _C.to_dtype(_C.sqrt(squares), input.dtype)
        return _C.to_dtype(_norm(input.detach().float(), p, dim, keepdim), input.dtype)
    if p == 2:
        return _C.sqrt(_C.sum_squares(input, dim, keepdim, None))
    if p == 0:
        nonzero = _C.to_dtype(input, _C.boolean)
        return _C.to_dtype(_C.sum(nonzero, dim, keepdim, None), input.dtype)
    if p == math.inf:
        return _C.amax(_C.abs(input), dim, keepdim)
    if p == -math.inf:
        return _C.amin(_C.abs(input), dim, keepdim)
    return _C.pow(_C.sum(_C.pow(_C.abs(input), p), dim, keepdim, None), 1 / p)


def norm_backward(node: Any, grad: Any) -> Any:
    from .where import where

    input, p, dim, keepdim, output = node.saved
    grad = with_kept_dims(grad, input.shape, dim, keepdim)
    output = with_kept_dims(output, input.shape, dim, keepdim)
    if p == 0:
        return None  # piecewise constant
    if p == 1:
        return grad * input.sign()
    if p == 2:
        return input * where(output == 0, 0.0, grad / output)
    if math.isinf(p):
        chosen = input.abs() == output
        return input.sign() * chosen * (grad / sum(chosen, dim, True))
    powers = where(input == 0, 0.0, input * input.abs() ** (p - 2))
    return powers * where(output == 0, 0.0, grad / output ** (p - 1))


@method()
@takes_tensors
@full_precision_on("cuda")
def logsumexp(
    input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """``log(sum(exp(input)))`` over ``dim``, safe from overflow: the maximum is taken out first.

    Integers are converted to the default dtype; minus infinity for no elements.
    """
    if names:
        dim, keepdim = numpy_names("logsumexp", dim, keepdim, names)
    if dim is None:
        raise TypeError("logsumexp() missing 1 required positional argument: 'dim'")
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        input = input.to(_C.get_default_dtype())
    output = _logsumexp(input, dim, keepdim)
    if needs_grad(input):
        record(output, logsumexp_backward, (input,), (input, dim, keepdim, output))
    return output if out is None else put_out(out, output)


def _logsumexp(input: Any, dim: Any, keepdim: bool) -> Any:
    if _C.numel(input) == 0:
        return _C.log(_C.sum(input, dim, keepdim, None))
    if input.dtype.itemsize == 2:  # halves: rounded once
        return _C.to_dtype(_logsumexp(_C.to_dtype(input, _C.float32), dim, keepdim), input.dtype)
    limit = 1.7976931348623157e308 if input.dtype is _C.float64 else 3.4028234663852886e38
    largest = _C.amax(input, dim, True)
    largest = _C.minimum(_C.maximum(largest, -limit), limit)  # inf - inf would be NaN
    output = _C.log(_C.sum(_C.exp(_C.sub(input, largest)), dim, keepdim, None))
    return _C.add(output, _C.try_view(largest, output.shape))


def logsumexp_backward(node: Any, grad: Any) -> Any:
    from .where import where

    input, dim, keepdim, output = node.saved
    output = with_kept_dims(output, input.shape, dim, keepdim)
    output = where(output == -math.inf, 0.0, output)
    return with_kept_dims(grad, input.shape, dim, keepdim) * (input - output).exp()

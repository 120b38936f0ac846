"""What the functions of ``_C`` do with complex numbers that are not made for them.

The guard at their entry (src/gate.h) calls these rules; what has none is refused by name. Linear
functions work on the parts (``view_as_real``); products of matrices become one product of real
matrices; functions such as ``exp`` are NumPy's. Rules see values only: gradients are recorded above
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor, as_array
from ._register import takes_tensors

__all__: list[str] = []

_PARTS = {_C.complex64: _C.float32, _C.complex128: _C.float64}


# --- helpers --------------------------------------------------------------------------------------


def _parts(x: Any) -> Any:
    return _C.view_as_real(_C.detach(x))


def _joined(parts: Any) -> Any:
    return _C.view_as_complex(_C.contiguous(parts))


def _part_dtype(dtype: Any) -> Any:
    return _PARTS.get(dtype, dtype)


def _as(x: Any, dtype: Any) -> Any:
    """A tensor or number as a tensor of ``dtype``."""
    if isinstance(x, Tensor):
        return _C.to_dtype(_C.detach(x), dtype)
    return _C.full((), x, dtype, _C.device("cpu"))


def _promoted(input: Any, other: Any) -> tuple[Any, Any]:
    """Tensors of the common dtype; numbers and what has no dimension go where the other is."""
    dtype = _C.result_type(input, other)
    pair = _as(input, dtype), _as(other, dtype)
    there = [x.device for x in pair if x.is_cuda]
    if not there:
        return pair
    x, y = (_C.to_device(z, there[0]) if z.ndim == 0 else z for z in pair)
    return x, y


def _truth(x: Any) -> Any:
    return _C.to_dtype(x, _C.boolean)


def _dims(op: str, dims: Any, ndim: int) -> list[int]:
    """The reduced dimensions counted from the front, which appending a dimension does not move."""
    given = [dims] if isinstance(dims, int) else list(dims or range(ndim))
    for dim in given:
        if not -max(ndim, 1) <= dim < max(ndim, 1):
            raise IndexError(
                f"{op}: Dimension out of range (expected to be in range of [{-max(ndim, 1)}, "
                f"{max(ndim, 1) - 1}], but got {dim})"
            )
    return [dim % max(ndim, 1) for dim in given] if ndim else []


# --- element by element ---------------------------------------------------------------------------


def _by_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(*tensors: Any) -> Any:
        with np.errstate(all="ignore"):
            result = function(*map(as_array, tensors))
        return _C.to_device(_C.from_numpy(np.asarray(result)), tensors[0].device)

    return rule


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.reciprocal(1 + np.exp(-x))


def _rsqrt(x: np.ndarray) -> np.ndarray:
    return np.reciprocal(np.sqrt(x))


def _reciprocal(x: Any) -> Any:
    return _C.div(1, x)


def _square(x: Any) -> Any:
    return _C.mul(x, x)


def _neg(x: Any) -> Any:
    return _joined(_C.neg(_parts(x)))


def _sign(x: Any) -> Any:
    raise RuntimeError(
        "Unlike NumPy, sign is not intended to support complex numbers. Please use sgn instead."
    )


def _abs_in_place(x: Any) -> Any:
    raise RuntimeError("In-place abs is not supported for complex tensors.")


def _pow(input: Any, other: Any, alpha: Any = 1) -> Any:
    if isinstance(other, (int, float)) and other in (1, 2, 3, -1):
        x = _as(input, _C.result_type(input, other))
        powers = {1: _C.clone, 2: _square, 3: lambda x: _C.mul(_square(x), x), -1: _reciprocal}
        return powers[int(other)](x)
    return _by_numpy(np.power)(*_promoted(input, other))


def _add_scaled(input: Any, other: Any, alpha: Any) -> Any:
    _check_alpha(alpha, _C.result_type(input, other))
    return _C.add(input, _C.mul(other, alpha))


def _add_scaled_in_place(input: Any, other: Any, alpha: Any) -> None:
    _check_alpha(alpha, input.dtype)
    _C.add_(input, _C.mul(other, alpha))


def _check_alpha(alpha: Any, dtype: Any) -> None:
    if isinstance(alpha, complex) and not dtype.is_complex:
        raise RuntimeError(
            "For non-complex input tensors, argument alpha must not be a complex number."
        )


def _tanh_backward(grad: Any, output: Any, *_: Any) -> Any:
    return _C.mul(grad, _C.sub(1, _C.mul(output, output)))


def _sigmoid_backward(grad: Any, output: Any, *_: Any) -> Any:
    return _C.mul(grad, _C.mul(output, _C.sub(1, output)))


def _silu(x: Any, *_: Any) -> Any:
    return _C.mul(x, _by_numpy(_sigmoid)(x))


def _silu_backward(grad: Any, input: Any, *_: Any) -> Any:
    gate = _by_numpy(_sigmoid)(input)
    return _C.mul(grad, _C.mul(gate, _C.add(1, _C.mul(input, _C.sub(1, gate)))))


# --- comparisons ----------------------------------------------------------------------------------


def _eq(input: Any, other: Any) -> Any:
    x, y = map(_parts, _promoted(input, other))
    return _C.all(_C.eq(x, y), [-1], False)


def _ne(input: Any, other: Any) -> Any:
    x, y = map(_parts, _promoted(input, other))
    return _C.any(_C.ne(x, y), [-1], False)


def _equal(input: Any, other: Any) -> bool:
    return tuple(input.shape) == tuple(other.shape) and _C.equal(
        *map(_parts, _promoted(input, other))
    )


def _of_truth(name: str) -> Callable[..., Any]:
    """A function of what is not 0."""
    function = getattr(_C, name)

    def rule(*args: Any) -> Any:
        return function(*(_truth(x) if isinstance(x, Tensor) else x for x in args))

    return rule


# --- reductions -----------------------------------------------------------------------------------


def _linear_reduction(name: str) -> Callable[..., Any]:
    """sum and mean: of the parts."""
    function = getattr(_C, name)

    def rule(input: Any, dims: Any, keepdim: bool, dtype: Any) -> Any:
        if dtype is not None:
            input = _C.to_dtype(input, dtype)
        if not input.dtype.is_complex:
            return function(input, dims, keepdim, dtype)
        dims = _dims(name, dims, input.ndim)
        if not dims:
            return _C.clone(input)
        return _joined(function(_parts(input), dims, keepdim, None))

    return rule


def _prod(input: Any, dims: Any, keepdim: bool, dtype: Any) -> Any:
    if dtype is not None:
        input = _C.to_dtype(input, dtype)
    if not input.dtype.is_complex:
        return _C.prod(input, dims, keepdim, dtype)
    axes = tuple(_dims("prod", dims, input.ndim))
    return _by_numpy(lambda x: np.prod(x, axis=axes, keepdims=keepdim))(input)


def _var_mean(name: str, input: Any, dims: Any, correction: Any, keepdim: bool) -> tuple:
    """The variances of the parts add up."""
    dims = _dims(name, dims, input.ndim)
    parts = _parts(input)
    if not dims:  # one number, as a dimension
        parts, dims = _C.unsqueeze(parts, 0), [0]
        keepdim = False
    variance, mean = _C.var_mean(name, parts, dims, correction, keepdim)
    return _C.sum(variance, [-1], False, None), _joined(mean)


def _cumsum(input: Any, dim: int, dtype: Any, reverse: bool) -> Any:
    input = input if dtype is None else _C.to_dtype(input, dtype)
    if not input.dtype.is_complex:
        return _C.cumsum(input, dim, dtype, reverse)
    (at,) = _dims("cumsum", dim, input.ndim) or (0,)
    if input.ndim == 0:
        return _C.clone(input)
    return _joined(_C.cumsum(_parts(input), at, None, reverse))


def _cumprod(input: Any, dim: int, dtype: Any) -> Any:
    input = input if dtype is None else _C.to_dtype(input, dtype)
    if not input.dtype.is_complex:
        return _C.cumprod(input, dim, dtype)
    if input.ndim == 0:
        return _C.clone(input)
    (at,) = _dims("cumprod", dim, input.ndim)
    return _by_numpy(lambda x: np.cumprod(x, axis=at))(input)


# --- products of matrices -------------------------------------------------------------------------


def _matmul(input: Any, other: Any) -> Any:
    """Rows of pairs times real matrices of twice the size.

    (x + iy)(a + ib) has the parts (x, y) times the rows (a, b) and (-b, a), so with those two for
    each row of ``other`` the product of real matrices holds the pairs of the result.
    """
    _check_one_dtype("matmul", input, other)
    if not (input.ndim and other.ndim):
        raise RuntimeError(
            f"matmul: both arguments need at least 1 dimension, got {input.ndim} and {other.ndim}"
        )
    column = other.ndim == 1
    right = _C.unsqueeze(_C.detach(other), 1) if column else _C.detach(other)
    inner = right.shape[-2]
    if input.shape[-1] != inner:
        raise RuntimeError(
            f"matmul: mat1 and mat2 shapes cannot be multiplied ({tuple(input.shape)} and "
            f"{tuple(other.shape)})"
        )
    turned = _parts(_C.mul(right, 1j))
    rows = _C.stack([_parts(right), turned], right.ndim - 1)
    *batch, columns = right.shape[:-2] + right.shape[-1:]
    rows = _C.view(rows, (*batch, 2 * inner, 2 * columns))
    left = _C.view(_C.contiguous(_parts(input)), (*input.shape[:-1], 2 * inner))
    product = _C.matmul(left, rows)
    output = _C.view_as_complex(_C.view(product, (*product.shape[:-1], columns, 2)))
    return _C.squeeze(output, [-1]) if column else output


def _linear(
    input: Any, weight: Any, bias: Any, activation: str = "none", residual: Any = None
) -> Any:
    if activation != "none":
        raise NotImplementedError(f"{activation}: not implemented for complex numbers")
    _check_one_dtype("linear", input, weight)
    output = _matmul(input, _C.transpose(weight, 0, 1) if weight.ndim > 1 else weight)
    for summand in (bias, residual):
        if summand is not None:
            output = _C.add(output, summand)
    return output


def _linear_grad_weight(grad: Any, input: Any) -> tuple:
    return _matmul(_C.transpose(grad, 0, 1), input), _C.sum(grad, [0], False, None)


def _check_one_dtype(op: str, input: Any, other: Any) -> None:
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"{op}: expected both tensors to have the same dtype, but got {input.dtype} and "
            f"{other.dtype}"
        )


# --- others ---------------------------------------------------------------------------------------


def _pad(input: Any, pad: Any, value: Any) -> Any:
    parts = _parts(input)
    if value == 0:
        return _joined(_C.pad(parts, (0, 0, *pad), 0.0))
    inside = _C.pad(_C.full(input.shape, 1.0, _C.float32, input.device), pad, 0.0)
    return _C.where(_truth(inside), _pad(input, pad, 0), value)


def _uniform_in_place(input: Any, low: float, high: float, generator: Any) -> None:
    _C.uniform_(_C.view_as_real(input), low, high, generator)


def _normal_in_place(input: Any, mean: float, deviation: float, generator: Any) -> None:
    """Each part has half of the variance."""
    _C.normal_(_C.view_as_real(input), mean, deviation / 2**0.5, generator)


def _in_place(rule: Callable[..., Any]) -> Callable[..., Any]:
    def write(input: Any, *args: Any) -> None:
        result = rule(input, *args)
        if not _C.can_cast(result.dtype, input.dtype):
            raise RuntimeError(
                f"result type {result.dtype} can't be cast to the desired output type {input.dtype}"
            )
        _C.copy_(input, result)

    return write


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{
        name: _by_numpy(getattr(np, numpy_name))
        for name, numpy_name in {
            **{name: name for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p")},
            **{name: name for name in ("sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
            "asin": "arcsin", "acos": "arccos", "atan": "arctan",
            "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
        }.items()
    },
    "rsqrt": _by_numpy(_rsqrt),
    "sigmoid": _by_numpy(_sigmoid),
    "reciprocal": _reciprocal,
    "square": _square,
    "neg": _neg,
    "sign": _sign,
    "silu": _silu,
    "pow": _pow,
}  # fmt: skip

RULES = {
    **_ELEMENTWISE,
    **{f"{name}_": _in_place(rule) for name, rule in _ELEMENTWISE.items()},
    "abs": _C.complex_abs,
    "abs_": _abs_in_place,
    "add_scaled": _add_scaled,
    "add_scaled_": _add_scaled_in_place,
    "tanh_backward": _tanh_backward,
    "sigmoid_backward": _sigmoid_backward,
    "silu_backward": _silu_backward,
    "eq": _eq,
    "ne": _ne,
    "equal": _equal,
    **{name: _of_truth(name) for name in ("logical_and", "logical_or", "logical_xor")},
    **{name: _of_truth(name) for name in ("any", "all", "nonzero")},
    "sum": _linear_reduction("sum"),
    "mean": _linear_reduction("mean"),
    "prod": _prod,
    "var_mean": _var_mean,
    "cumsum": _cumsum,
    "cumprod": _cumprod,
    "matmul": _matmul,
    "linear": _linear,
    "linear_grad_weight": _linear_grad_weight,
    "pad": _pad,
    "uniform_": _uniform_in_place,
    "normal_": _normal_in_place,
}

# A rule may get a number where it expects a tensor.
_C._register_complex_rules(
    {
        name: takes_tensors(rule) if hasattr(rule, "__code__") else rule
        for name, rule in RULES.items()
    }
)

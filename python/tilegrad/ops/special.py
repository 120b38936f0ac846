"""Special functions: lgamma, digamma, polygamma, erfinv, i0, logit, sinc, ...

Any shape, which is kept; integers become the default dtype. All follow the PyTorch functions of the
same names, which are here and in :mod:`tilegrad.special`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor, as_array
from ._register import composed_in_place, method, put_out, rounded_once, takes_tensors
from .arithmetic import beside, floating, from_values
from .fill import as_tensor
from .unary import erfc, exp, log, sign, sin
from .view import broadcast_tensors
from .where import clamp, where

__all__ = [
    "digamma",
    "erfinv",
    "frexp",
    "i0",
    "lgamma",
    "logit",
    "mvlgamma",
    "polygamma",
    "sinc",
]


def _function(name: str, doc: str, slope: Any, saves_input: bool = True) -> Any:
    """One function with the kernel ``_C.<name>`` and this derivative of its input or output."""
    kernel = getattr(_C, name)

    def function(input: Any, *, out: Any = None) -> Any:
        output = kernel(input)
        if needs_grad(input):
            record(output, backward, (input,), (input if saves_input else output,))
        return output if out is None else put_out(out, output)

    def backward(node: Any, grad: Any) -> Any:
        (value,) = node.saved
        return grad * slope(value)

    function.__name__ = function.__qualname__ = name
    backward.__name__ = f"{name}_backward"
    function.__doc__ = f"{doc} Raises TypeError for what is not a tensor."
    return function


lgamma: Any = _function(
    "lgamma", "The logarithm of the gamma function's size.", lambda x: digamma(x)
)


def _slope_of_digamma(x: Any) -> Any:
    return polygamma(1, x)


digamma: Any = _function(
    "digamma", "The slope of the logarithm of the gamma function.", _slope_of_digamma
)
erfinv: Any = _function(
    "erfinv",
    "The number whose error function is the input.",
    lambda y: exp(y * y) * (math.sqrt(math.pi) / 2),
    saves_input=False,
)
i0: Any = _function("i0", "The modified Bessel function of order 0.", lambda x: i1(x))
i0e: Any = _function("i0e", "``exp(-|input|) * i0(input)``.", lambda x: i1e(x) - sign(x) * i0e(x))
i1: Any = _function(
    "i1", "The modified Bessel function of order 1.", lambda x: i0(x) - _over(i1(x), x)
)
i1e: Any = _function(
    "i1e",
    "``exp(-|input|) * i1(input)``.",
    lambda x: i0e(x) - sign(x) * i1e(x) - _over(i1e(x), x),
)
ndtri: Any = _function(
    "ndtri",
    "The quantile of the normal distribution.",
    lambda y: exp(y * y / 2) * math.sqrt(2 * math.pi),
    saves_input=False,
)
erfcx: Any = _function(
    "erfcx",
    "``exp(input**2) * erfc(input)``.",
    lambda x: 2 * x * erfcx(x) - 2 / math.sqrt(math.pi),
)
log_ndtr: Any = _function(
    "log_ndtr",
    "The logarithm of the normal distribution function.",
    lambda x: math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5)),
)


def _floating(input: Any) -> Any:
    input.dtype  # noqa: B018 - what has none is no tensor
    return floating(input)


def _over(value: Any, x: Any) -> Any:
    """``value / x``, and at 0, where a function of order 1 has slope 1/2, that."""
    at_zero = x == 0
    return where(at_zero, 0.5, value / where(at_zero, 1.0, x))


for _name in ("lgamma", "digamma", "erfinv", "i0"):
    method(_name)(globals()[_name])


def ndtr(input: Any, *, out: Any = None) -> Any:
    """The normal distribution function. Raises TypeError for what is not a tensor."""
    output = erfc(floating(input) * -math.sqrt(0.5)) / 2
    return output if out is None else put_out(out, output)


@takes_tensors
def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The n-th derivative of :func:`digamma`.

    Raises RuntimeError for a negative ``n``.
    """
    if not isinstance(n, int) or n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    if n == 0:
        return digamma(input, out=out)
    x = _floating(input)
    value = _C.zeta(_C.full(x.shape, n + 1.0, x.dtype, x.device), x.detach())
    output = _C.mul(value, (-1.0) ** (n + 1) * math.factorial(min(n, 170)))
    if needs_grad(x):
        record(output, polygamma_backward, (x,), (n, x))
    return output if out is None else put_out(out, output)


def polygamma_backward(node: Any, grad: Any) -> Any:
    n, x = node.saved
    return grad * polygamma(n + 1, x)


@method("polygamma")
def _polygamma_method(input: Any, n: int) -> Any:
    """:func:`tilegrad.polygamma` with the arguments exchanged, and its errors."""
    return polygamma(n, input)


@method()
@takes_tensors
@rounded_once
def mvlgamma(input: Any, p: int, *, out: Any = None) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``p``.

    Raises RuntimeError for ``p`` below 1.
    """
    if not isinstance(p, int) or not 1 <= p <= 2**20:
        raise RuntimeError(
            f"p has to be greater than or equal to 1, and no more than 2**20, got {p}"
        )
    x = _floating(input)
    output = p * (p - 1) / 4 * math.log(math.pi) + sum(
        (lgamma(x - j / 2) for j in range(1, p)), lgamma(x)
    )
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def logit(input: Any, eps: float | None = None, *, out: Any = None) -> Any:
    """``log(input / (1 - input))``, of the input limited to [eps, 1 - eps] if ``eps`` is given."""
    x = _floating(input)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    output = log(x / (1 - x))
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
@rounded_once
def sinc(input: Any, *, out: Any = None) -> Any:
    """``sin(pi * input) / (pi * input)``, 1 at 0."""
    x = _floating(input) * math.pi
    output = _C.where(_C.eq(x, 0), 1.0, _C.div(_C.sin(x), x))
    if needs_grad(x):
        record(output, sinc_backward, (x,), (x,))
    return output if out is None else put_out(out, output)


def sinc_backward(node: Any, grad: Any) -> Any:
    (x,) = node.saved
    at_zero = x == 0
    safe = where(at_zero, 1.0, x)
    return where(at_zero, 0.0, grad * ((safe * safe.cos() - sin(safe)) / (safe * safe)))


@takes_tensors
def entr(input: Any, *, out: Any = None) -> Any:
    """``-input * log(input)``, 0 at 0 and -inf below. Raises TypeError for what is not a tensor."""
    x = floating(input)
    value = _C.where(_C.eq(x, 0), 0.0, _C.mul(_C.neg(x), _C.log(x)))
    output = _C.where(_C.lt(x, 0), -math.inf, value)
    if needs_grad(x):
        record(output, entr_backward, (x,), (x,))
    return output if out is None else put_out(out, output)


def entr_backward(node: Any, grad: Any) -> Any:
    (x,) = node.saved
    return grad * (-log(x) - 1)


def zeta(input: Any, other: Any, *, out: Any = None) -> Any:
    """Hurwitz' zeta function, the sum of ``(k + other) ** -input`` over k = 0, 1, ...

    One of both may be a number. It has no gradient, as in PyTorch: RuntimeError if one is needed.
    Raises TypeError if neither is a tensor.
    """
    given = [x for x in (input, other) if isinstance(x, Tensor)]
    if not given:
        raise TypeError(f"zeta: expected a Tensor, got {type(input).__name__}")
    dtype = floating(given[0] + given[-1]).dtype
    input, other = (as_tensor(x).to(dtype) for x in (input, other))
    pair = broadcast_tensors(beside(input, other), beside(other, input))
    if needs_grad(*pair):
        raise RuntimeError("zeta: the derivative is not implemented")
    output = _C.zeta(*(x.detach() for x in pair))
    return output if out is None else put_out(out, output)


def _attach() -> None:
    for op in (lgamma, digamma, erfinv, i0, logit, sinc, mvlgamma):
        composed_in_place(op)

    def polygamma_(self: Any, n: int) -> Any:
        """In-place form of :func:`tilegrad.polygamma`; returns ``self``."""
        return self.copy_(polygamma(n, self))

    Tensor.polygamma_ = polygamma_


_attach()


class MantissaExponent(NamedTuple):
    """What :func:`frexp` returns."""

    mantissa: Any
    exponent: Any


@method()
@takes_tensors
def frexp(input: Any, *, out: Any = None) -> MantissaExponent:
    """(mantissa, exponent) with ``input == mantissa * 2**exponent`` and the mantissa in [0.5, 1).
    Raises RuntimeError unless the dtype is floating.
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    mantissas, exponents = np.frexp(as_array(input))
    mantissa = from_values(mantissas).to(device=input.device, dtype=input.dtype)
    exponent = from_values(np.asarray(exponents, np.int32)).to(input.device)
    if needs_grad(input):
        record(mantissa, frexp_backward, (input,), (exponent,))
    if out is not None:
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TypeError(f"frexp(): argument 'out': expected two Tensors, got {out!r}")
        return MantissaExponent(put_out(out[0], mantissa), put_out(out[1], exponent))
    return MantissaExponent(mantissa, exponent)


def frexp_backward(node: Any, grad: Any) -> Any:
    (exponent,) = node.saved
    return grad / _C.exp2(exponent.to(grad.dtype))

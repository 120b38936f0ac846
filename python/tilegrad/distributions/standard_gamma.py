"""Gamma numbers of rate 1, and their gradient with respect to the shape parameter.

Samples come from Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000; they
are not PyTorch's numbers for a seed. The gradient is implicit (Figurnov, Mohamed and Mnih,
"Implicit Reparameterization Gradients", 2018): a sample x stays at its place F(x, a) of the
distribution function while the shape a changes, so dx/da = -(dF/da) / (dF/dx).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from .._limits import finfo
from ..autograd.graph import needs_grad, record
from ..autograd.mode import no_grad
from ..ops.fill import empty_like
from ..ops.random import randn_like
from ..ops.where import where
from ..tensor import as_array

__all__ = ["standard_gamma", "standard_gamma_gradient"]

# From this shape on, the cube of a normal number is close enough (Wilson and Hilferty, 1931).
_LARGE = 1e4


def standard_gamma(concentration: Any) -> Any:
    """Gamma numbers of rate 1, one for each shape parameter, of its dtype; differentiable once."""
    output = _drawn(concentration.detach())
    if needs_grad(concentration):
        record(output, standard_gamma_backward, (concentration,), (concentration, output))
    return output


def standard_gamma_backward(node: Any, grad: Any) -> Any:
    concentration, output = node.saved
    result = grad.detach() * standard_gamma_gradient(concentration, output)
    if needs_grad(grad, concentration):
        record(result, _no_second_derivative, (grad, concentration))
    return result


def _no_second_derivative(node: Any, grad: Any) -> Any:
    raise NotImplementedError("the second derivative of gamma numbers is not implemented")


@no_grad()
def _drawn(concentration: Any) -> Any:
    """Shapes below 1 are drawn at one more and multiplied with ``u ** (1 / shape)``."""
    small = concentration < 1
    d = where(small, concentration + 1, concentration) - 1 / 3
    c = 1 / (9 * d).sqrt()
    result, missing = 0 * concentration, concentration == concentration
    while missing.any().item():
        x = randn_like(concentration)
        v = (1 + c * x) ** 3
        u = empty_like(concentration).uniform_(0, 1)
        accepted = (v > 0) & (u.log() < 0.5 * x * x + d - d * v + d * v.clamp(min=1e-30).log())
        result = where(missing & accepted, d * v, result)
        missing = missing & ~accepted
    boost = empty_like(concentration).uniform_(0, 1) ** (1 / concentration)
    return where(small, result * boost, result).clamp(min=finfo(concentration.dtype).tiny)


def standard_gamma_gradient(concentration: Any, sample: Any) -> Any:
    """dx/da of samples x with shapes a, of the dtype of ``sample``; computed in float64."""
    wide = concentration.detach().double()
    a, x = as_array(wide), as_array(sample.detach().double())
    psi = as_array(_C.digamma(wide.reshape(-1))).reshape(a.shape)
    with np.errstate(all="ignore"):
        result = np.where(a > _LARGE, _large(a, x), 0.0)
        chosen = a <= _LARGE
        result[chosen] = _series(a[chosen], x[chosen], psi[chosen])
    result[x == 0] = 0.0  # a sample too small for its dtype
    return _C.to_dtype(_C.from_numpy(result), sample.dtype).to(sample.device)


def _series(a: np.ndarray, x: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """By the power series F(x, a) = x^a e^-x sum(x^n / Gamma(a + n + 1)), differentiated by a.

    The factor before the sum cancels against the density x^(a-1) e^-x / Gamma(a), up to x; what is
    left is x times the sum of c_n (psi(a + n + 1) - log x), c_n = x^n Gamma(a) / Gamma(a + n + 1).
    """
    total = np.zeros_like(x)
    if not x.size:
        return total
    log_x, c = np.log(x), 1 / a
    psi = psi + 1 / a
    # Beyond x the terms fall as those of a Poisson distribution of mean x do.
    most = float(np.nanmax(np.where(np.isfinite(x), np.maximum(x - a, 0) + 12 * np.sqrt(x), 0)))
    for n in range(1, int(most) + 60):
        total += c * (psi - log_x)
        c = c * (x / (a + n))
        psi = psi + 1 / (a + n)
    return x * total


def _large(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of a (1 - 1 / 9a + z / sqrt(9a))^3 where the normal number z is kept."""
    root = np.cbrt(x / a)
    z = (root - 1 + 1 / (9 * a)) * np.sqrt(9 * a)
    slope = 1 / (9 * a * a) - z / (2 * a * np.sqrt(9 * a))
    return root**3 + 3 * a * root**2 * slope

"""The divergence between two distributions, in closed form where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..ops.where import where
from .bernoulli import Bernoulli
from .categorical import Categorical
from .continuous import Exponential, Laplace
from .distribution import Distribution
from .gamma import Beta, Dirichlet, Gamma
from .independent import Independent, sum_rightmost
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .skewed import HalfNormal
from .transformed import LogNormal, MultivariateNormal, _linalg
from .uniform import Uniform
from .utils import special

__all__ = ["kl_divergence", "register_kl"]

_REGISTRY: dict[tuple[type, type], Callable[[Any, Any], Any]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """Decorates a function ``(p, q)`` that :func:`kl_divergence` uses for these classes.

    Raises TypeError for what is no distribution class.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def register(function: Callable) -> Callable:
        _REGISTRY[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """``E_p[log p - log q]``, of shape ``batch_shape``.

    Raises NotImplementedError for pairs without a formula.
    """
    # The closest registered pair: the nearest class of p first, then of q.
    for kind_p in type(p).__mro__:
        for kind_q in type(q).__mro__:
            if (kind_p, kind_q) in _REGISTRY:
                return _REGISTRY[kind_p, kind_q](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale).square()
    distance = ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + distance - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
@register_kl(HalfNormal, HalfNormal)
def _of_normal(p: Any, q: Any) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    solve = _linalg().solve_triangular
    difference = (q.loc - p.loc).unsqueeze(-1)
    trace = solve(q.scale_tril, p.scale_tril, upper=False).square().sum((-2, -1))
    distance = solve(q.scale_tril, difference, upper=False).square().sum((-2, -1))
    size = p.event_shape[0]
    return q._log_determinant() - p._log_determinant() + 0.5 * (trace + distance - size)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Any:
    from ..ops.activation import softplus

    on = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    off = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    on = where(p.probs == 0, 0 * on, where(q.probs == 0, 0 * on + math.inf, on))
    return on + where(p.probs == 1, 0 * off, where(q.probs == 1, 0 * off + math.inf, off))


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Any:
    terms = p.probs * (p.logits - q.logits)
    terms = where(q.probs == 0, 0 * p.probs + math.inf, terms)
    terms = where(p.probs == 0, 0 * p.probs, terms)
    return terms.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Any:
    return _categorical(p._categorical, q._categorical)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Any:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return where((q.low > p.low) | (q.high < p.high), 0 * result + math.inf, result)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Any:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    rest = distance / q.scale + ratio * (-distance / p.scale).exp() - 1
    return -ratio.log() + rest


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    lgamma, digamma = special("lgamma"), special("digamma")
    rates = b * (p.rate / q.rate).log()
    return rates + lgamma(b) - lgamma(a) + (a - b) * digamma(a) + (q.rate - p.rate) * (a / p.rate)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    lgamma, digamma = special("lgamma"), special("digamma")
    totals = lgamma(a.sum(-1)) - lgamma(b.sum(-1))
    parts = (lgamma(a) - lgamma(b)).sum(-1)
    slopes = (a - b) * (digamma(a) - digamma(a.sum(-1)).unsqueeze(-1))
    return totals - parts + slopes.sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Any:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)

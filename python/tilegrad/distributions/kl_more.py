"""More divergences: of counts, heavy tails and low rank, and between different families."""

from __future__ import annotations

import math
from typing import Any

from ..ops.where import where
from .bernoulli import Bernoulli
from .continuous import EULER, Cauchy, Exponential, Gumbel, Laplace
from .continuous_bernoulli import ContinuousBernoulli
from .counts import Binomial, Geometric, Poisson
from .gamma import Beta, Gamma
from .independent import sum_rightmost
from .kl import _bernoulli, kl_divergence, register_kl
from .lowrank_multivariate_normal import LowRankMultivariateNormal
from .normal import Normal
from .skewed import Pareto
from .transformed import MultivariateNormal, _linalg
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import special

__all__: list[str] = []

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


def _infinite(like: Any) -> Any:
    return 0 * like.detach() + math.inf


def _normal_cross(mean: Any, variance: Any, q: Any) -> Any:
    """``-E[log q]`` under a law with these moments, for a normal q."""
    return (variance + (mean - q.loc).square()) / (2 * q.variance) + q.scale.log() + _LOG_ROOT


@register_kl(Beta, Normal)
@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
@register_kl(Gumbel, Normal)
@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
def _to_normal(p: Any, q: Any) -> Any:
    return _normal_cross(p.mean, p.variance, q) - p.entropy()


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Any:
    found = _normal_cross(p.mean, p.variance, q) - p.entropy()
    return where(p.alpha <= 2, _infinite(found), found)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Any:
    distance = p.loc - q.loc
    ratio = distance / p.scale
    inside = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio.square()).exp()
    outside = distance * (math.sqrt(0.5) * ratio).erf()
    return (inside + outside) / q.scale + (2 * q.scale).log() - p.entropy()


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> Any:
    mean, width = (p.loc - q.loc) / q.scale, p.scale / q.scale
    return mean + (0.5 * width.square() - mean).exp() + q.scale.log() - p.entropy()


@register_kl(Exponential, Gamma)
def _to_gamma(p: Any, q: Any) -> Any:
    lgamma = special("lgamma")
    log_mean = -p.rate.log() - EULER
    cross = lgamma(q.concentration) - q.concentration * q.rate.log()
    return cross - (q.concentration - 1) * log_mean + q.rate * p.mean - p.entropy()


@register_kl(Gamma, Exponential)
@register_kl(Beta, Exponential)
def _to_exponential(p: Any, q: Any) -> Any:
    return -q.rate.log() + q.rate * p.mean - p.entropy()


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Any:
    found = _to_exponential(p, q)
    return where(p.low < 0, _infinite(found), found)


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Any:
    found = _to_exponential(p, q)
    return where(p.alpha <= 1, _infinite(found), found)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Any:
    found = (q.high - q.low).log() - p.entropy()
    return where((q.low > 0) | (q.high < 1), _infinite(found), found)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Any:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Any:
    """As many Bernoulli trials on both sides; more on p's side can give what q cannot."""
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    found = p.total_count * _bernoulli(p, q)
    return where(p.total_count > q.total_count, _infinite(found), found)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Any:
    slopes = p.mean * (p.logits - q.logits)
    ends = (-p.probs).log1p() - (-q.probs).log1p()
    return slopes + p._log_norm() - q._log_norm() + ends


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Any:
    scale, alpha = p.scale / q.scale, q.alpha / p.alpha
    found = q.alpha * scale.log() - alpha.log() + alpha - 1
    return where(p.scale < q.scale, _infinite(found), found)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Any:
    width, place = p.scale / q.scale, q.loc / q.scale
    start = p.loc / q.scale
    moved = (place + special("lgamma")(1 + width) - start).exp()
    return -width.log() - place + start + width * EULER + moved - (1 + EULER)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Any:
    apart = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return apart.log() - (4 * p.scale * q.scale).log()


def _check_sizes(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes "
            "cannot be computed"
        )


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _to_low_rank(p: Any, q: Any) -> Any:
    """``tr(S_q^-1 S_p)`` is a sum of squared lengths: of the columns of any factor of S_p."""
    _check_sizes(p, q)
    if isinstance(p, LowRankMultivariateNormal):
        columns = [p.cov_factor, p.cov_diag.sqrt().diag_embed()]
        determinant = p._log_determinant()
    else:
        columns, determinant = [p.scale_tril], 2 * p._log_determinant()
    trace = sum(_lengths(q, each) for each in columns)
    distance = q._distance(p.loc - q.loc)
    return 0.5 * (q._log_determinant() - determinant + trace + distance - q.event_shape[0])


def _lengths(q: Any, columns: Any) -> Any:
    """The sum over the columns of their squared lengths, measured by q's inverse covariance."""
    scaled = columns / q.cov_diag.unsqueeze(-1)
    inside = q.cov_factor.mT @ scaled
    tril = q._capacitance_tril.expand(*inside.shape[:-2], *q._capacitance_tril.shape[-2:])
    inside = _linalg().solve_triangular(tril, inside, upper=False)
    return (columns * scaled).sum((-2, -1)) - inside.square().sum((-2, -1))


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _from_low_rank(p: Any, q: Any) -> Any:
    _check_sizes(p, q)
    solve, batch = _linalg().solve_triangular, p.batch_shape

    def measured(columns: Any) -> Any:
        wide = q.scale_tril.expand(*batch, *q.scale_tril.shape[-2:])
        return solve(wide, columns, upper=False).square().sum((-2, -1))

    trace = measured(p.cov_factor) + measured(p.cov_diag.sqrt().diag_embed())
    distance = measured((q.loc - p.loc).unsqueeze(-1))
    determinants = 2 * q._log_determinant() - p._log_determinant()
    return 0.5 * (determinants + trace + distance - p.event_shape[0])


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Any:
    """The same functions on both sides change nothing."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: the transforms differ")
    found = kl_divergence(p.base_dist, q.base_dist)
    return sum_rightmost(found, len(p.event_shape) - len(p.base_dist.event_shape))

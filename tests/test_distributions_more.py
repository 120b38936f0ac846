"""Counts, transformed distributions, mixtures and matrices beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn
from test_distributions import positive, simplex

UNIT = np.random.default_rng(7).uniform(0.05, 0.95, (2, 4, 3))
COUNTS = np.random.default_rng(8).integers(0, 6, (2, 4, 3)).astype(np.float64)
LOC, SCALE, PROBS = randn(4, 3, seed=1), positive(4, 3, seed=2), UNIT[1]
FACTOR = np.tril(randn(3, 3, seed=4)) + 3 * np.eye(3)
MATRICES = np.einsum("...ij,...kj->...ik", randn(2, 3, 5), randn(2, 3, 5)) + np.eye(3)
MULTI = np.array([[[3.0, 1, 2], [0, 0, 6], [2, 2, 2], [6, 0, 0]]])


def make(name, **fixed):
    return lambda m, *tensors: getattr(m.distributions, name)(*tensors, **fixed)


def mixture(m, weights, loc, scale):
    d = m.distributions
    return d.MixtureSameFamily(d.Categorical(weights), d.Normal(loc, scale))


def mixture_of_vectors(m, weights, loc, scale):
    d = m.distributions
    return d.MixtureSameFamily(d.Categorical(weights), d.Independent(d.Normal(loc, scale), 1))


def transformed(m, loc, scale):
    d = m.distributions
    chain = [d.TanhTransform(), d.AffineTransform(loc, -scale), d.SigmoidTransform()]
    return d.TransformedDistribution(d.Normal(loc, scale), chain)


def flow(m, loc, scale):
    d = m.distributions
    base = d.Independent(d.Normal(loc, scale), 1)
    return d.TransformedDistribution(base, [d.AffineTransform(loc, 2.0), d.SoftplusTransform()])


def tensor_first(name, what):
    """For the relaxed ones, whose temperature must be a tensor."""
    return lambda m, p: getattr(m.distributions, name)(m.tensor(0.7, dtype=m.float64), **{what: p})


# name: how to make it, parameters, a value to look at
CASES = {
    "Binomial": (lambda m, p: m.distributions.Binomial(6, p), (PROBS,), COUNTS),
    "BinomialOfLogits": (lambda m, x: m.distributions.Binomial(6, logits=x), (LOC,), COUNTS),
    "Geometric": (make("Geometric"), (PROBS,), COUNTS),
    "GeometricOfLogits": (lambda m, x: m.distributions.Geometric(logits=x), (LOC,), COUNTS),
    "NegativeBinomial": (make("NegativeBinomial"), (SCALE * 3, PROBS), COUNTS),
    "Poisson": (make("Poisson"), (SCALE * 3,), COUNTS),
    "Multinomial": (lambda m, p: m.distributions.Multinomial(6, p), (simplex(4, 3),), MULTI),
    "ContinuousBernoulli": (make("ContinuousBernoulli"), (PROBS,), UNIT),
    "ContinuousBernoulliInTheMiddle": (make("ContinuousBernoulli"), (0 * PROBS + 0.5,), UNIT),
    "FisherSnedecor": (make("FisherSnedecor"), (SCALE + 3, SCALE + 5), positive(2, 4, 3)),
    "HalfCauchy": (make("HalfCauchy"), (SCALE,), positive(2, 4, 3)),
    "InverseGamma": (make("InverseGamma"), (SCALE + 2, SCALE), positive(2, 4, 3)),
    "Kumaraswamy": (make("Kumaraswamy"), (SCALE + 1, SCALE + 1.5), UNIT),
    "LogisticNormal": (make("LogisticNormal"), (LOC, SCALE), simplex(2, 4, 4)),
    "Pareto": (make("Pareto"), (SCALE, SCALE + 2.1), 5 + positive(2, 4, 3)),
    "Weibull": (make("Weibull"), (SCALE, SCALE + 1), positive(2, 4, 3)),
    "VonMises": (make("VonMises"), (LOC, SCALE * 4), randn(2, 4, 3)),
    "RelaxedBernoulli": (tensor_first("RelaxedBernoulli", "probs"), (PROBS,), UNIT),
    "RelaxedBernoulliOfLogits": (tensor_first("RelaxedBernoulli", "logits"), (LOC,), UNIT),
    "RelaxedOneHotCategorical": (
        tensor_first("RelaxedOneHotCategorical", "probs"), (simplex(4, 3),), simplex(2, 4, 3),
    ),
    "LowRankMultivariateNormal": (
        make("LowRankMultivariateNormal"), (LOC, randn(3, 2), SCALE), randn(2, 4, 3),
    ),
    "MixtureSameFamily": (mixture, (simplex(4, 3), LOC, SCALE), randn(2, 4)),
    "MixtureOfVectors": (mixture_of_vectors, (simplex(4), LOC, SCALE), randn(2, 3)),
    "TransformedDistribution": (transformed, (LOC, SCALE), None),
    "Flow": (flow, (LOC, SCALE), positive(2, 4, 3)),
    "Wishart": (
        lambda m, df, c: m.distributions.Wishart(df, covariance_matrix=c),
        (np.array([4.5, 6.0]), FACTOR @ FACTOR.T), MATRICES @ MATRICES.swapaxes(-1, -2),
    ),
    "WishartOfFactor": (
        lambda m, df, c: m.distributions.Wishart(df, scale_tril=c.tril()),
        (np.array([4.5, 6.0]), FACTOR), MATRICES @ MATRICES.swapaxes(-1, -2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_densities_and_their_gradients(name):
    build, parameters, value = CASES[name]
    if value is None:
        value = 1 / (1 + np.exp(-(LOC - SCALE * np.tanh(randn(2, 4, 3)))))

    def log_prob(m, *tensors):
        return build(m, *tensors[:-1]).log_prob(tensors[-1])

    exact = 1e-8 if name != "VonMises" else 1e-6  # PyTorch has a polynomial for Bessel functions
    check(log_prob, *parameters, value, rtol=exact, atol=exact)


NO_MOMENTS = {"LogisticNormal", "TransformedDistribution", "Flow", "RelaxedBernoulli",
              "RelaxedBernoulliOfLogits", "RelaxedOneHotCategorical"}  # fmt: skip
NO_ENTROPY = {"NegativeBinomial", "Poisson", "FisherSnedecor", "MixtureSameFamily", "VonMises",
              "MixtureOfVectors"}  # fmt: skip
MODES = {"Geometric", "NegativeBinomial", "Poisson", "HalfCauchy", "InverseGamma", "Kumaraswamy",
         "Pareto", "Weibull", "LowRankMultivariateNormal", "Wishart", "FisherSnedecor",
         "Binomial"}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name not in NO_MOMENTS])
def test_moments(name):
    build, parameters, _ = CASES[name]

    def moments(m, *tensors):
        d = build(m, *tensors)
        found = [d.mean, d.variance, d.stddev]
        if name not in NO_ENTROPY:
            found.append(d.entropy())
        if name in MODES:
            found.append(d.mode)
        return found

    # HalfCauchy's are infinite; PyTorch saves what it overwrites in a mode
    # ... and the logarithm of a factorial, of Multinomial, in float32
    exact = 2e-6 if name == "VonMises" else 1e-7 if name == "Multinomial" else 1e-8
    check(moments, *parameters, rtol=exact, atol=exact, grad=name not in MODES)


@pytest.mark.parametrize("name", ["HalfCauchy", "Kumaraswamy", "Pareto", "Weibull",
                                  "ContinuousBernoulli", "MixtureSameFamily"])  # fmt: skip
def test_cumulative(name):
    build, parameters, value = CASES[name]

    def cdf(m, *tensors):
        return build(m, *tensors[:-1]).cdf(tensors[-1])

    def icdf(m, *tensors):
        return build(m, *tensors[:-1]).icdf(tensors[-1])

    check(cdf, *parameters, value, rtol=1e-8, atol=1e-8)
    if name != "MixtureSameFamily":
        check(icdf, *parameters, UNIT, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["Geometric", "HalfCauchy", "Kumaraswamy", "LogisticNormal",
    "RelaxedBernoulli", "RelaxedOneHotCategorical", "LowRankMultivariateNormal",
    "ContinuousBernoulli", "TransformedDistribution", "Flow"])  # fmt: skip
def test_the_same_seed_gives_the_same_samples(name):
    build, parameters, _ = CASES[name]

    def draw(m, *tensors):
        m.manual_seed(5)
        d = build(m, *tensors)
        wide = d.expand((5, *d.batch_shape))
        return d.sample((20,)), d.sample(), wide.sample(), wide.sample((2,))

    check(draw, *parameters, rtol=1e-9, atol=1e-9, grad=False)


def usual(name):
    return name not in NO_MOMENTS | {"HalfCauchy"} and "Multi" not in name


@pytest.mark.parametrize("name", [name for name in CASES if usual(name)])
def test_samples_have_the_moments(name):
    tg.manual_seed(1)
    build, parameters, _ = CASES[name]
    d = build(tg, *(tg.from_numpy(x) for x in parameters))
    x = d.sample((4000,))
    assert tuple(x.shape) == (4000, *d.batch_shape, *d.event_shape) and not x.requires_grad
    assert d.support.check(x).all().item()
    if name == "VonMises":  # a mean of angles
        toward = ((x - d.loc).cos().mean(0) - (1 - d.variance)).abs().max()
        assert toward.item() < 0.05
        return
    heavy = ("Pareto", "InverseGamma", "FisherSnedecor")  # their variances hardly exist
    error = (x.mean(0) - d.mean).abs() / (d.variance / 4000).sqrt()
    assert error.max().item() < (12 if name in heavy else 6)
    wide = d.expand((2, *d.batch_shape))
    assert wide.mean.shape == (2, *d.mean.shape) and wide.sample().shape == wide.mean.shape


PAIRS = {
    "Binomial": ((PROBS,), (UNIT[0],)),
    "Geometric": ((PROBS,), (UNIT[0],)),
    "Poisson": ((SCALE,), (SCALE + 1,)),
    "ContinuousBernoulli": ((PROBS,), (UNIT[0],)),
    "Pareto": ((SCALE + 1, SCALE), (SCALE, SCALE + 1)),
    "Gumbel": ((LOC, SCALE), (LOC + 0.5, SCALE + 1)),
    "Cauchy": ((LOC, SCALE), (LOC + 0.5, SCALE + 1)),
    "LowRankMultivariateNormal": ((LOC, randn(3, 2), SCALE), (LOC + 1, randn(3, 1), SCALE + 1)),
    "Chi2": ((SCALE + 1,), (SCALE + 2,)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_divergences(name):
    p, q = PAIRS[name]

    def kl(m, *tensors):
        d = m.distributions
        build = CASES[name][0] if name in CASES else make(name)
        return d.kl_divergence(build(m, *tensors[: len(p)]), build(m, *tensors[len(p) :]))

    check(kl, *p, *q, rtol=1e-8, atol=1e-9)


def test_divergences_of_different_kinds():
    def kl(m, loc, scale, wide):
        d = m.distributions
        normal, vector = d.Normal(loc, scale), d.MultivariateNormal(loc, m.diag_embed(scale))
        low = d.LowRankMultivariateNormal(loc, scale.unsqueeze(-1), wide)
        uniform = d.Uniform(loc, loc + wide)
        pairs = [
            (d.Exponential(scale), d.Gamma(wide, scale)),
            (d.Gamma(wide, scale), d.Exponential(wide)),
            (d.Laplace(loc, scale), d.Normal(loc + 1, wide)), (uniform, normal), (vector, low),
            (low, vector), (d.Exponential(scale), normal), (d.Gamma(wide, scale), normal),
            (normal, d.Laplace(loc + 1, wide)), (d.Uniform(0 * loc, wide), d.Exponential(scale)),
            (d.Bernoulli(scale / (scale + wide)), d.Poisson(wide)), (d.Beta(wide, scale), normal),
            (d.TransformedDistribution(normal, [d.ExpTransform()]),
             d.TransformedDistribution(d.Normal(loc, wide), [d.ExpTransform()])),
        ]  # fmt: skip
        return [d.kl_divergence(p, q) for p, q in pairs]

    check(kl, LOC, SCALE, SCALE + 1, rtol=1e-7, atol=1e-8)


TRANSFORMS = {
    "ExpTransform": ((), LOC),
    "SigmoidTransform": ((), LOC),
    "SoftplusTransform": ((), LOC),
    "TanhTransform": ((), LOC),
    "AbsTransform": ((), LOC),
    "StickBreakingTransform": ((), LOC),
    "SoftmaxTransform": ((), LOC),
    "LowerCholeskyTransform": ((), randn(2, 3, 3)),
    "PositiveDefiniteTransform": ((), randn(2, 3, 3)),
    "CorrCholeskyTransform": ((), randn(2, 6)),
    "PowerTransform": ((2.5,), SCALE),
    "AffineTransform": ((1.0, -2.0, 1), LOC),
    "ReshapeTransform": (((4, 3), (2, 6)), LOC),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    arguments, value = TRANSFORMS[name]

    def run(m, x):
        t = getattr(m.distributions.transforms, name)(*arguments)
        y = t(x)
        results = [y, t.inv(y)]
        if t.bijective:
            results += [t.log_abs_det_jacobian(x, y), t.inv.log_abs_det_jacobian(y, x)]
        shapes = [tuple(t.forward_shape(x.shape)), tuple(t.inverse_shape(y.shape))]
        return [*results, *shapes, t == getattr(m.distributions, name)(*arguments)]

    check(run, value, rtol=1e-7, atol=1e-8)


def test_transforms_side_by_side():
    def run(m, x):
        d = m.distributions
        parts = [d.ExpTransform(), d.AffineTransform(1.0, 2.0), d.identity_transform]
        cat, stack = d.CatTransform(parts, 1, [1, 1, 1]), d.StackTransform(parts, -1)
        whole = d.ComposeTransform([parts[0], d.AffineTransform(1.0, 2.0), parts[0].inv])
        each = d.IndependentTransform(d.ExpTransform(), 1)
        quantiles = d.CumulativeDistributionTransform(d.Normal(0.0, 1.0))
        found = []
        for t in (cat, stack, whole, whole.inv.inv, each, quantiles):
            y = t(x)
            found += [y, t.inv(y), t.log_abs_det_jacobian(x, y)]
        cached = d.ExpTransform(cache_size=1)
        assert cached.inv(cached(x)) is x and cached.with_cache(1) is cached
        return found

    check(run, LOC, rtol=1e-8, atol=1e-8)


CONSTRAINTS = ["real", "positive", "nonnegative", "unit_interval", "simplex", "lower_cholesky",
               "positive_definite", "corr_cholesky", "real_vector"]  # fmt: skip


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_transforms_to_constraints(registry, name):
    if registry == "biject_to" and name in ("lower_cholesky", "positive_definite"):
        constraint = getattr(tg.distributions.constraints, name)
        with pytest.raises(NotImplementedError, match="Cannot transform"):
            tg.distributions.biject_to(constraint)
        return

    def run(m, x):
        constraint = getattr(m.distributions.constraints, name)
        y = getattr(m.distributions, registry)(constraint)(x)
        assert constraint.check(y).all()
        return y

    check(run, randn(3, 3) if name != "corr_cholesky" else randn(3, 6), rtol=1e-8)

    def bounded(m, x):
        c, to = m.distributions.constraints, getattr(m.distributions, registry)
        sets = [c.greater_than(1.5), c.less_than(-1.0), c.interval(-1.0, 2.0), c.greater_than_eq(2)]
        return [to(each)(x) for each in sets]

    check(bounded, LOC, rtol=1e-9)


def test_constraints():
    def run(m, x, square):
        c = m.distributions.constraints
        return [
            c.multinomial(6).check(x.floor().abs()), c.square.check(square), c.square.check(x),
            c.symmetric.check(square + square.mT), c.symmetric.check(square),
            c.positive_semidefinite.check(square @ square.mT),
            c.lower_triangular.check(square.tril()),
            c.positive_definite.check(square - 9 * m.eye(3, dtype=m.float64)),
            c.cat([c.positive, c.real], -1, [1, 2]).check(x),
            c.stack([c.positive, c.real, c.unit_interval], -1).check(x),
        ]  # fmt: skip

    check(run, LOC, randn(2, 3, 3), grad=False)


def test_complaints():
    d, x = tg.distributions, tg.ones(3)
    categorical = d.Categorical(x)
    for kind, pattern, call in [
        (ValueError, "but not both", lambda: d.Binomial(3)),
        (ValueError, "within the support", lambda: d.Binomial(3, 0.5).log_prob(tg.tensor(4.0))),
        (NotImplementedError, "Inhomogeneous", lambda: d.Binomial(tg.arange(2.0), 0.5).entropy()),
        (NotImplementedError, "inhomogeneous", lambda: d.Multinomial(x, x)),
        (ValueError, "positive", lambda: d.Geometric(0.0)),
        (ValueError, "Transform or list", lambda: d.TransformedDistribution(d.Normal(0.0, 1.0), 1)),
        (ValueError, "at least", lambda: d.TransformedDistribution(
            d.Normal(0.0, 1.0), d.StickBreakingTransform())),
        (ValueError, "Categorical", lambda: d.MixtureSameFamily(d.Normal(x, x), d.Normal(x, x))),
        (ValueError, "does not equal", lambda: d.MixtureSameFamily(
            categorical, d.Normal(tg.ones(2), 1.0))),
        (ValueError, "Exactly one", lambda: d.Wishart(tg.tensor(3.0))),
        (ValueError, "greater than ndim", lambda: d.Wishart(tg.tensor(0.5), tg.eye(3))),
        (ValueError, "batch of matrices", lambda: d.LowRankMultivariateNormal(x, tg.ones(2, 2), x)),
        (ValueError, "cache_size", lambda: d.ExpTransform(cache_size=2)),
        (ValueError, "numbers of elements", lambda: d.ReshapeTransform((2,), (3,))),
        (NotImplementedError, "Cannot transform", lambda: d.biject_to(d.constraints.boolean)),
        (TypeError, "Expected constraint", lambda: d.biject_to.register(3, lambda c: c)),
    ]:  # fmt: skip
        check_error(kind, pattern, call)


def test_printing():
    d = tg.distributions
    assert repr(d.ExpTransform().inv) == "_Inverse(ExpTransform())"
    text = repr(d.MixtureSameFamily(d.Categorical(tg.ones(2)), d.Normal(tg.zeros(2), 1.0)))
    assert text.startswith("MixtureSameFamily(\n  Categorical(probs: ")

"""Distributions beside PyTorch's: densities, moments, gradients, and the numbers of a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

needs_lgamma = pytest.mark.skipif(not hasattr(tg.ops, "lgamma"), reason="needs lgamma")
needs_linalg = pytest.mark.skipif(not hasattr(tg, "linalg"), reason="needs linear algebra")


def positive(*shape, seed=0):
    return np.exp(0.5 * randn(*shape, seed=seed)) + 0.1


def simplex(*shape, seed=0):
    x = positive(*shape, seed=seed)
    return x / x.sum(-1, keepdims=True)


UNIT = np.random.default_rng(7).uniform(0.05, 0.95, (2, 4, 3))
CLASSES = np.random.default_rng(7).integers(0, 3, (2, 4))
LOC, SCALE = randn(4, 3, seed=1), positive(4, 3, seed=2)

# name: parameters, a value to look at
CASES = {
    "Normal": ((LOC, SCALE), randn(2, 4, 3)),
    "LogNormal": ((LOC, SCALE), positive(2, 4, 3)),
    "HalfNormal": ((SCALE,), positive(2, 4, 3)),
    "Uniform": ((LOC, LOC + SCALE), LOC + SCALE * UNIT),
    "Exponential": ((SCALE,), positive(2, 4, 3)),
    "Laplace": ((LOC, SCALE), randn(2, 4, 3)),
    "Gumbel": ((LOC, SCALE), randn(2, 4, 3)),
    "Cauchy": ((LOC, SCALE), randn(2, 4, 3)),
    "Bernoulli": ((np.clip(UNIT[0], 0.1, 0.9),), (UNIT > 0.5).astype(np.float64)),
    "Categorical": ((simplex(4, 3),), CLASSES),
    "OneHotCategorical": ((simplex(4, 3),), np.eye(3)[CLASSES]),
    "Gamma": ((SCALE, positive(4, 3, seed=5)), positive(2, 4, 3)),
    "Chi2": ((SCALE,), positive(2, 4, 3)),
    "Beta": ((SCALE, positive(4, 3, seed=5)), UNIT),
    "Dirichlet": ((SCALE,), simplex(2, 4, 3)),
    "StudentT": ((positive(4, 3, seed=8) + 2, LOC, SCALE), randn(2, 4, 3)),
}
OF_GAMMA = ("Gamma", "Chi2", "Beta", "Dirichlet", "StudentT")
NAMES = [pytest.param(n, marks=needs_lgamma) if n in OF_GAMMA else n for n in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_densities_and_their_gradients(name):
    parameters, value = CASES[name]

    def log_prob(m, *tensors):
        return getattr(m.distributions, name)(*tensors[:-1]).log_prob(tensors[-1])

    check(log_prob, *parameters, value, rtol=1e-9, atol=1e-9, grad=name != "Categorical")


@pytest.mark.parametrize("name", NAMES)
def test_moments(name):
    def moments(m, *tensors):
        d = getattr(m.distributions, name)(*tensors)
        found = [d.mean, d.variance, d.stddev]
        if name not in ("StudentT", "Beta", "Dirichlet", "Gumbel", "Gamma", "Chi2", "Uniform"):
            found.append(d.mode)
        return found if name == "StudentT" else [*found, d.entropy()]

    check(
        moments, *CASES[name][0], rtol=1e-9, atol=1e-9, grad=name not in ("Categorical", "Cauchy")
    )


@pytest.mark.parametrize(
    "name", ["Normal", "LogNormal", "Uniform", "Exponential", "Laplace", "Cauchy", "HalfNormal"]
)
def test_cumulative(name):
    parameters, value = CASES[name]

    def cdf(m, *tensors):
        return getattr(m.distributions, name)(*tensors[:-1]).cdf(tensors[-1])

    check(cdf, *parameters, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    ["Uniform", "Exponential", "Laplace", "Cauchy", "Gumbel", "LogNormal", "HalfNormal", "Normal"],
)
def test_quantiles(name):
    def icdf(m, *tensors):
        return getattr(m.distributions, name)(*tensors[:-1]).icdf(tensors[-1])

    check(icdf, *CASES[name][0], UNIT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    ["Normal", "LogNormal", "HalfNormal", "Uniform", "Exponential", "Laplace", "Gumbel", "Cauchy"],
)
def test_the_same_seed_gives_the_same_samples(name):
    def draw(m, *tensors):
        m.manual_seed(5)
        d = getattr(m.distributions, name)(*tensors)
        return d.rsample((20,)), d.sample(), d.expand((5, 4, 3)).rsample()

    arrays = [x.astype(np.float32) for x in CASES[name][0]]
    check(draw, *arrays, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_moments(name):
    tg.manual_seed(1)
    d = getattr(tg.distributions, name)(*(tg.from_numpy(x) for x in CASES[name][0]))
    x = d.sample((4000,))
    assert tuple(x.shape) == (4000, *d.batch_shape, *d.event_shape) and not x.requires_grad
    assert d.support.check(x).all().item()
    if name in ("Categorical", "Cauchy"):
        return
    error = (x.mean(0) - d.mean).abs() / (d.variance / 4000).sqrt()
    assert error.max().item() < 6


def test_categorical_frequencies():
    tg.manual_seed(2)
    probs = tg.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    d = tg.distributions.Categorical(probs)
    drawn = d.sample((5000,))
    assert drawn.dtype is tg.int64 and tuple(d.sample((2, 3)).shape) == (2, 3, 2)
    for row in range(2):
        shares = np.bincount(as_array(drawn[:, row]), minlength=3) / 5000
        np.testing.assert_allclose(shares, as_array(probs[row]), atol=0.03)
    assert d.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert tg.distributions.Bernoulli(tg.tensor([0.3])).enumerate_support().tolist() == [[0], [1]]


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "OneHotCategorical"])
def test_logits(name):
    value = CASES[name][1]

    def both(m, logits, value):
        d = getattr(m.distributions, name)(logits=logits)
        return d.log_prob(value), d.entropy(), d.probs, d.logits

    check(both, randn(4, 3), value, rtol=1e-9, atol=1e-9, grad=name != "Categorical")


PAIRS = [name for name in CASES if name not in ("Gumbel", "Cauchy", "Chi2", "StudentT")]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=needs_lgamma) if n in OF_GAMMA else n for n in PAIRS]
)
def test_divergences(name):
    first = CASES[name][0]
    if name == "Uniform":
        second = (LOC - 0.5, LOC + SCALE + 0.3)
    elif name in ("Categorical", "OneHotCategorical", "Bernoulli"):
        second = (simplex(4, 3, seed=9),)
    else:
        second = tuple(positive(4, 3, seed=20 + i) for i in range(len(first)))

    def kl(m, *tensors):
        kind, n = getattr(m.distributions, name), len(first)
        return m.distributions.kl_divergence(kind(*tensors[:n]), kind(*tensors[n:]))

    check(kl, *first, *second, rtol=1e-8, atol=1e-9)


def test_independent():
    def run(m, loc, scale, value):
        d = m.distributions.Independent(m.distributions.Normal(loc, scale), 1)
        assert tuple(d.batch_shape) == (4,) and tuple(d.event_shape) == (3,)
        other = m.distributions.Independent(m.distributions.Normal(loc * 2, scale), 1)
        kl = m.distributions.kl_divergence(d, other)
        return d.log_prob(value), d.entropy(), d.mean, kl

    check(run, LOC, SCALE, randn(2, 4, 3), rtol=1e-9)
    make = tg.distributions.Independent
    base = tg.distributions.Normal(0.0, 1.0)
    check_error(ValueError, "Expected reinterpreted_batch_ndims", lambda: make(base, 1))


@needs_linalg
@pytest.mark.parametrize("name", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_normal_vectors(name):
    factor = np.tril(randn(3, 3, seed=4)) + 3 * np.eye(3)
    matrix = factor if name == "scale_tril" else factor @ factor.T

    def run(m, loc, matrix, value):
        d = m.distributions.MultivariateNormal(loc, **{name: matrix})
        m.manual_seed(3)
        return d.log_prob(value), d.entropy(), d.variance, d.rsample((2,)), d.covariance_matrix

    check(run, randn(2, 3), matrix, randn(5, 2, 3, seed=3), rtol=1e-7, atol=1e-7)


def test_complaints():
    d = tg.distributions
    for kind, pattern, call in [
        (ValueError, "parameter scale .*GreaterThan", lambda: d.Normal(0.0, -1.0)),
        (ValueError, "instances of Number", lambda: d.Normal("x", 1.0)),
        (ValueError, "not defined when low>= high", lambda: d.Uniform(1.0, 1.0)),
        (ValueError, "but not both", lambda: d.Bernoulli()),
        (ValueError, "but not both", lambda: d.Categorical(tg.ones(2), tg.ones(2))),
        (ValueError, "at least one-dimensional", lambda: d.Categorical(tg.tensor(1.0))),
        (ValueError, "Simplex", lambda: d.Categorical(tg.tensor([-1.0, 3.0]))),
        (ValueError, "within the support", lambda: d.Bernoulli(0.5).log_prob(tg.tensor(0.3))),
        (ValueError, "must be a Tensor", lambda: d.Normal(0.0, 1.0).log_prob(3.0)),
        (NotImplementedError, "No KL", lambda: d.kl_divergence(d.Chi2(2.0), d.Bernoulli(0.5))),
        (NotImplementedError, "rsample is not defined", lambda: d.Bernoulli(0.5).rsample()),
        (TypeError, "Distribution subclass", lambda: d.register_kl(int, d.Normal)),
    ]:  # fmt: skip
        check_error(kind, pattern, call)
    assert d.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    with pytest.raises(ValueError, match=r"match event_shape"):
        d.OneHotCategorical(tg.ones(3)).log_prob(tg.ones(4))


def test_printing():
    for m in (tg, torch):
        d = m.distributions
        assert repr(d.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
        assert "probs: " in repr(d.Bernoulli(m.tensor([0.1, 0.2])))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_gamma_numbers(dtype):
    """Against differences of SciPy's quantiles, which keep a sample at its place."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy has the quantiles to compare with")
    from tilegrad.distributions.standard_gamma import standard_gamma_gradient

    shapes = np.repeat([0.03, 0.4, 1.0, 2.5, 9.0, 120.0, 5000.0, 3e5], 5)
    places = np.tile([0.02, 0.3, 0.5, 0.9, 0.999], 8)
    samples = stats.gamma.ppf(places, shapes)
    step = 1e-4 * shapes
    expected = stats.gamma.ppf(places, shapes + step) - stats.gamma.ppf(places, shapes - step)
    expected /= 2 * step
    given = [tg.from_numpy(x).to(getattr(tg, dtype)) for x in (shapes, samples)]
    found = standard_gamma_gradient(*given)
    assert found.dtype is given[0].dtype
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=2e-4, atol=1e-30)


def test_gradients_of_samples_from_gamma_numbers():
    """The mean of many gradients is the gradient of the mean."""
    d = tg.distributions
    tg.manual_seed(3)
    for make, shapes in [
        (lambda a, b: d.Gamma(a, b), (2.5, 1.5)),
        (lambda a, b: d.Beta(a, b), (2.0, 3.0)),
        (lambda a, b: d.StudentT(a + 4, b, 1.0), (2.0, 0.5)),
        (lambda a, b: d.Chi2(a * b), (2.0, 3.0)),
        (lambda a, b: d.Dirichlet(tg.stack([a, b, b])), (0.5, 2.0)),
    ]:
        leaves = [tg.tensor(x, dtype=tg.float64, requires_grad=True) for x in shapes]
        law = make(*leaves)
        assert law.has_rsample
        sampled = law.rsample((20000,)).reshape(20000, -1)[:, 0].mean()
        exact = law.mean.reshape(-1)[0]
        for ours, theirs in zip(
            tg.autograd.grad(sampled, leaves, retain_graph=True, allow_unused=True),
            tg.autograd.grad(exact, leaves, allow_unused=True), strict=True,
        ):  # fmt: skip
            assert abs((0 if ours is None else ours) - (0 if theirs is None else theirs)) < 0.03
    x = tg.ones(3, dtype=tg.float64, requires_grad=True)
    (first,) = tg.autograd.grad(d.Gamma(x, x).rsample().square().sum(), [x], create_graph=True)
    with pytest.raises(NotImplementedError, match="gamma numbers"):
        first.sum().backward()

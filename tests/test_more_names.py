"""Names beside the operations: methods in place as functions, lists of tensors, old names."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn
from tilegrad import _foreach, _in_place

UNIT = np.random.default_rng(3).uniform(0.1, 0.9, (3, 4))
MORE_ARGUMENTS = {
    "addmv_": lambda m, x: (m.ones(3, 2).to(x.dtype), m.ones(2).to(x.dtype)),
    "as_strided_": lambda m, x: ((2, 2), (1, 2)),
    "clamp_": lambda m, x: (0.2, 0.6),
    "clamp_max_": lambda m, x: (0.5,),
    "clamp_min_": lambda m, x: (0.5,),
    "clip_": lambda m, x: (0.2, 0.6),
    "fill_": lambda m, x: (2.0,),
    "gcd_": lambda m, x: (m.tensor(6),),
    "index_put_": lambda m, x: ((m.tensor([0]),), m.tensor(5.0).to(x.dtype)),
    "lcm_": lambda m, x: (m.tensor(6),),
    "ldexp_": lambda m, x: (m.tensor(2),),
    "xlogy_": lambda m, x: (m.tensor(2.0).to(x.dtype),),
}


@pytest.mark.parametrize("name", _in_place.__all__)
def test_methods_in_place_as_functions(name):
    array = np.arange(1, 5) if name in ("gcd_", "lcm_") else UNIT
    array = array[:, 0] if name == "addmv_" else array

    def run(m, x):
        x = x + 1 if "cosh" in name and name.startswith(("ac", "arcc")) else x.clone()
        arguments = MORE_ARGUMENTS[name](m, x) if name in MORE_ARGUMENTS else ()
        assert getattr(m, name)(x, *arguments) is x
        return x

    check(run, array, rtol=1e-10, grad=False)
    check_error(TypeError, "must be Tensor, not int", lambda: getattr(tg, name)(3))


A, B, C = ([randn(2, 3, seed=i), randn(4, seed=i + 1)] for i in (0, 10, 20))


@pytest.mark.parametrize("name", [n for n in _foreach.__all__ if n.endswith("_")])
def test_operations_on_lists(name):
    """In place and, where there is that form, not."""
    stem = name[len("_foreach_") : -1]

    def run(m, *tensors):
        x, y, z = ([t.clone() for t in tensors[i : i + 2]] for i in (0, 2, 4))
        if stem in ("log", "log10", "log2", "log1p", "sqrt", "rsqrt", "acos", "asin", "lgamma"):
            x = [t.abs() / 9 for t in x]
        if stem == "pow":
            x = [t.abs() for t in x]
        calls = [()]
        if stem in _foreach._BINARY:
            calls = [(2,), ([2, 3],), (y,)]
            calls += [(m.tensor(2.0, dtype=m.float64),)] if stem in ("add", "mul", "div") else []
        elif stem == "lerp":
            calls = [(y, 0.3), (y, z), (y, [0.1, 0.2])]
        elif stem in ("addcmul", "addcdiv"):
            calls = [(y, z), (y, z, 0.5), (y, z, [0.5, 2.0])]
            calls += [(y, z, m.tensor([0.5, 2.0], dtype=m.float64))]
        elif stem == "copy":
            calls = [(y,)]
        found = []
        for arguments in calls:
            if stem not in ("copy", "zero"):
                made = getattr(m, name[:-1])(x, *arguments)
                assert type(made) is tuple
                found += made
            written = [t.clone() for t in x]
            assert getattr(m, name)(written, *arguments)[0] is written[0]
            found += written
        return found

    check(run, *A, *B, *C, rtol=1e-9, atol=1e-9, grad=False)


def test_more_of_lists():
    def run(m, x, y):
        pair = [x, y]
        powers = m._foreach_pow(2.0, pair)
        return [*m._foreach_norm(pair), *m._foreach_norm(pair, 1), *m._foreach_max(pair),
                *m._foreach_clone(pair), *powers, *m._foreach_add(pair, pair, alpha=3)]  # fmt: skip

    check(run, *A, grad=True)
    x = [tg.ones(2), tg.ones(3)]
    for kind, pattern, call in [
        (RuntimeError, "at least one tensor", lambda: tg._foreach_add([], 1)),
        (RuntimeError, "same number", lambda: tg._foreach_add(x, [1.0])),
        (RuntimeError, "same number", lambda: tg._foreach_mul_(x, x[:1])),
        (RuntimeError, "broadcast shape", lambda: tg._foreach_mul_(x[:1], [tg.ones(3, 2)])),
        (TypeError, "list or tuple of tensors", lambda: tg._foreach_sqrt(tg.ones(2))),
        (TypeError, "list or tuple of tensors", lambda: tg._foreach_zero_([1.0])),
    ]:
        check_error(kind, pattern, call)


def test_averages_of_weights():
    """As programs keep them: without gradients, in place, on parameters."""
    model, average = tg.nn.Linear(3, 2), tg.nn.Linear(3, 2)
    mine, its = list(average.parameters()), list(model.parameters())
    expected = [(0.9 * a + 0.1 * p).detach() for a, p in zip(mine, its, strict=True)]
    with tg.no_grad():
        tg._foreach_lerp_(mine, its, 0.1)
    for a, b in zip(average.parameters(), expected, strict=True):
        tg.testing.assert_close(a.detach(), b)


def test_detaching_in_place():
    for m in (tg, torch):
        x = m.ones(3, requires_grad=True)
        y = x * 2
        assert y.detach_() is y and y.grad_fn is None and not y.requires_grad and y.is_leaf
        leaf = m.ones(2, requires_grad=True)
        assert not m.detach_(leaf).requires_grad
        with pytest.raises(RuntimeError, match="Can't detach views in-place"):
            (x * 2)[:2].detach_()


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (7, 3), (9, 2), (3, 3, 3), (4, 1)])
def test_diagonals_are_filled(shape):
    def run(m, x):
        y, z = x * 1, x * 1
        assert y.fill_diagonal_(4.0) is y
        z.fill_diagonal_(-1, wrap=True)
        t = (x * 1).transpose(0, 1)
        return y, z, t.fill_diagonal_(2.0)

    check(run, randn(*shape))
    check_error(RuntimeError, "larger than 1", lambda: tg.ones(3).fill_diagonal_(1))
    check_error(RuntimeError, "equal length", lambda: tg.ones(3, 3, 2).fill_diagonal_(1))


def test_python_functions_of_elements():
    def run(m, x, y):
        a = x.clone().apply_(lambda v: v * v + 1)
        b = x.clone().map_(y, lambda v, w: v - 2 * w)
        c = x.clone().map2_(y, x, lambda v, w, u: v + w * u)
        d = m.arange(4).apply_(lambda v: v % 2)
        return a, b, c, d, x.ndimension(), x.dim_order(), x.t().dim_order(), x.to_dense()

    check(run, randn(3, 4), randn(4), grad=False)
    x = tg.ones(2, requires_grad=True)
    check_error(RuntimeError, r"Can't call apply_\(\)", lambda: x.apply_(abs))
    check_error(TypeError, "not callable", lambda: tg.ones(2).apply_(3))
    check_error(TypeError, "expected a Tensor", lambda: tg.ones(2).map_(3, abs))


def test_memory_and_kinds():
    for m in (tg, torch):
        x, y = m.ones(2, 3), m.zeros(4)
        assert x.set_(y) is x and x.is_set_to(y) and tuple(x.shape) == (4,)
        y[0] = 5
        assert x.tolist() == [5, 0, 0, 0] and x.set_().numel() == 0
        assert not m.ones(2).is_set_to(m.ones(2)) and y.const_data_ptr() == y.data_ptr()

        class Named(m.Tensor):
            pass

        w = m.ones(2, requires_grad=True)
        named = (w * 2).as_subclass(Named)
        assert type(named) is Named
        named.sum().backward()
        assert w.grad.tolist() == [2, 2]
        assert m.get_device(y) == -1 and not m.is_inference(y) and not m.is_neg(y)
        z = m.ones(2)
        assert z.multiply_(3).divide_(2).subtract_(1).tolist() == [0.5, 0.5]
    assert tg.typename(tg.ones(2)) == "tilegrad.FloatTensor".replace("tilegrad", "torch")
    assert tg.typename(3) == "int" and tg.typename(tg.nn.ReLU()).endswith(".ReLU")
    check_error(RuntimeError, "Could not set", lambda: tg.ones(2).set_(tg.arange(2)))
    check_error(TypeError, "subclass", lambda: tg.ones(2).as_subclass(int))


@pytest.mark.parametrize(
    ("args", "options"),
    [((1, 4), {}), ((1, 2, 0.3), {}), ((4, 1, -1), {}), ((0, 1, 0.25), {}), ((2, 2), {}),
     ((1, 4), {"dtype": "int64"}), ((0, 3), {"dtype": "float64"})],
)  # fmt: skip
def test_ranges_with_their_end(args, options):
    def run(m):
        named = {name: getattr(m, value) for name, value in options.items()}
        with pytest.warns(UserWarning, match="torch.range is deprecated"):
            return m.range(*args, **named)

    check(run, grad=False)


def test_functions_that_stand_in_two_places():
    def run(m, x, y):
        images = x.reshape(1, 4, 3, 1).expand(1, 4, 3, 2)
        return [
            m.cosine_similarity(x, y), m.pairwise_distance(x, y), m.pixel_shuffle(images, 2),
            m.pixel_unshuffle(m.pixel_shuffle(images, 2), 2), m.channel_shuffle(images, 2),
            m.prelu(x, m.tensor([0.1], dtype=m.float64)), m.hardshrink(x, 0.3),
            m.threshold(x, 0.1, 2.0), m.rrelu(x, training=False), m.arctan2(x, y),
            m.alpha_dropout(x, 0.5, False),
        ]  # fmt: skip

    def powers(m, x):
        return m.vander(x), m.vander(x, 2), m.vander(x, 5, increasing=True), m.vander(x, 0)

    check(run, randn(4, 3), randn(4, 3, seed=1), rtol=1e-9, atol=1e-9)
    check(powers, randn(3), grad=False)  # PyTorch's gradient raises: it writes into what it saved
    check(powers, np.arange(3), grad=False)
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    tg.vander(x, 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    check_error(RuntimeError, "one-dimensional", lambda: tg.vander(tg.ones(2, 2)))
    check_error(RuntimeError, "non-negative", lambda: tg.vander(tg.ones(2), -1))


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
def test_old_hooks_of_backward():
    def run(m, x):
        layer, seen = m.nn.Linear(3, 2).double(), []
        with m.no_grad():
            layer.weight.fill_(0.5)
        handle = layer.register_backward_hook(lambda module, gi, go: seen.append(go[0].clone()))
        layer(x).sum().backward()
        handle.remove()
        layer(x).sum().backward()
        assert len(seen) == 1
        return seen[0]

    check(run, randn(4, 3), grad=False)
    for first, second in [("register_backward_hook", "register_full_backward_hook")] * 2:
        layer = tg.nn.Linear(2, 2)
        getattr(layer, first)(print)
        with pytest.raises(RuntimeError, match="both regular backward hooks and full"):
            getattr(layer, second)(print)


def test_watching_for_nan():
    def run(m):
        x = m.zeros(2, requires_grad=True)
        return (x.sqrt() * 0).sum()

    for m in (tg, torch):
        run(m).backward()
        with pytest.warns(UserWarning, match="Anomaly Detection"):
            watch = m.autograd.detect_anomaly()
        with watch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's has the traceback of the forward call
            assert m.is_anomaly_enabled() and m.is_anomaly_check_nan_enabled()
            with pytest.raises(RuntimeError, match="SqrtBackward0' returned nan values in its 0th"):
                run(m).backward()
        assert not m.is_anomaly_enabled()
        with m.autograd.set_detect_anomaly(True, check_nan=False):
            run(m).backward()
        m.autograd.set_detect_anomaly(True)
        m.autograd.set_detect_anomaly(False)
        run(m).backward()


def test_questions_about_devices():
    assert tg.cuda.memory_cached() == tg.cuda.memory_reserved() == tg.accelerator.memory_reserved()
    assert len(tg.cuda.get_rng_state_all()) == tg.cuda.device_count()
    tg.cuda.set_rng_state_all([tg.get_rng_state()])
    assert tg.cuda.initial_seed() == tg.initial_seed()
    with tg.cuda.device_of(tg.ones(2)), tg.cuda.StreamContext(None):
        pass
    assert tg.get_autocast_cpu_dtype() is tg.bfloat16 and not tg.is_autocast_cpu_enabled()
    with tg.autocast("cpu"), tg.profiler.record_function("part"):
        assert tg.is_autocast_cpu_enabled() and not tg.is_autocast_cache_enabled()
    tg.clear_autocast_cache()
    assert re.match(r"<function", repr(tg.compiler.compile(test_questions_about_devices)))


def test_what_libraries_name_of_the_profiler():
    assert tg.autograd.profiler.record_function is tg.profiler.record_function
    theirs = {x.name: x.value for x in torch.profiler.ProfilerActivity.__members__.values()}
    assert {x.name: x.value for x in tg.profiler.ProfilerActivity} == theirs
    assert tg.profiler.supported_activities() == set()
    with pytest.raises(NotImplementedError, match="cProfile"):
        tg.profiler.profile(activities=[tg.profiler.ProfilerActivity.CPU])

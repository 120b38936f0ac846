"""The backward pass: what it computes, refuses, keeps and lets go."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])
DEPTH = 100_000


def leaf(m, *values, dtype="float64"):
    return m.tensor(list(values), dtype=getattr(m, dtype), requires_grad=True)


# --- what reaches .grad ---------------------------------------------------------------------


@BOTH
def test_gradients_accumulate_in_place(m):
    x = leaf(m, 1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and first.tolist() == [5.0, 7.0]


@BOTH
def test_one_gradient_for_two_leaves_is_not_shared(m):
    x, y = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    (x + y).sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [1.0, 1.0]


@BOTH
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.filterwarnings("ignore:Using backward")
def test_given_gradient_is_not_aliased(m, create_graph):
    x, given = leaf(m, 1.0, 2.0), m.tensor([5.0, 6.0], dtype=m.float64)
    x.backward(given, create_graph=create_graph)
    (x + 0).backward(given, create_graph=create_graph)
    given.zero_()
    assert x.grad.tolist() == [10.0, 12.0]


@BOTH
def test_given_gradient_survives_accumulation(m):
    x, given = leaf(m, 1.0, 2.0), m.tensor([5.0, 6.0], dtype=m.float64)
    y = x * 1
    (y + y + y).backward(given)
    assert given.tolist() == [5.0, 6.0] and x.grad.tolist() == [15.0, 18.0]


@BOTH
def test_gradient_seen_by_a_hook_survives_accumulation(m):
    x, seen = leaf(m, 1.0, 2.0), []
    y = x * 1
    y.register_hook(seen.append)
    (y + y * 2).sum().backward()
    (x * 3).sum().backward()
    assert seen[0].tolist() == [3.0, 3.0] and x.grad.tolist() == [6.0, 6.0]


@BOTH
def test_no_history_in_grad_without_create_graph(m):
    x, w = leaf(m, 1.0), leaf(m, 2.0)
    x.backward(w)
    assert not x.grad.requires_grad


def test_broadcast_and_promotion_are_undone():
    check(lambda m, x, y: x * y + y, randn(3, 1), randn(4, dtype=np.float32), rtol=1e-6, atol=1e-6)


@BOTH
def test_unused_leaf_has_no_gradient(m):
    x, y = leaf(m, 1.0), leaf(m, 2.0)
    (x * y.detach()).backward()
    assert y.grad is None and x.grad.tolist() == [2.0]


@BOTH
def test_grad_attribute_is_checked(m):
    x = leaf(m, 1.0, 2.0)
    for wrong in (m.ones(3, dtype=m.float64), m.ones(2, dtype=m.float32)):
        with pytest.raises(RuntimeError, match="assign"):
            x.grad = wrong
    with pytest.raises(TypeError):
        x.grad = 1.0
    x.grad = m.ones(2, dtype=m.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# --- backward(inputs=) and autograd.grad ------------------------------------------------------


@BOTH
def test_backward_to_some_inputs(m):
    x, y = leaf(m, 1.0), leaf(m, 2.0)
    z = x * y
    (z * z).backward(inputs=[x, z])
    assert x.grad.tolist() == [8.0] and z.grad.tolist() == [4.0] and y.grad is None
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * y).backward(inputs=[])


@BOTH
def test_grad_of_results_and_leaves(m):
    x = leaf(m, 3.0)
    y = x * x
    z = y * y
    gx, gy, gz = m.autograd.grad(z, [x, y, z])
    assert (gx.item(), gy.item(), gz.item()) == (108.0, 18.0, 1.0) and x.grad is None


@BOTH
def test_grad_of_several_outputs(m):
    x = leaf(m, 3.0)
    (g,) = m.autograd.grad([x * 2, x * x], [x], [leaf(m, 10.0), None])
    assert g.item() == 26.0


@BOTH
def test_unused_input(m):
    x, y = leaf(m, 1.0), leaf(m, 2.0)
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        m.autograd.grad(x * 2, [x, y])
    assert m.autograd.grad(x * 2, [x, y], allow_unused=True)[1] is None
    assert m.autograd.grad(x * 2, [x, y], materialize_grads=True)[1].tolist() == [0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        m.autograd.grad(x * 2, [y.detach()])


def test_third_derivative():
    def thrice(m, x):
        y = x * x * x * x
        for _ in range(3):
            (y,) = m.autograd.grad(y.sum(), x, create_graph=True)
        return y

    check(thrice, randn(4))


def test_only_needed_gradients_are_computed():
    asked = []

    def product_backward(node, grad):
        asked.append((node.needs(0), node.needs(1)))
        return grad * 2, grad * 3

    def product(x, y):
        output = (x * y).detach()
        tg.autograd.graph.record(output, product_backward, (x, y))
        return output

    x, y = leaf(tg, 1.0), leaf(tg, 2.0)
    tg.autograd.grad(product(x, y * 1), x)
    product(x, y).backward()
    assert asked == [(True, False), (True, True)]


# --- complaints ---------------------------------------------------------------------------------


@BOTH
def test_roots(m):
    x = leaf(m, 1.0, 2.0)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(m.ones(3, dtype=m.float64))
    with pytest.raises(RuntimeError, match="does not require grad"):
        m.ones(1).backward()
    with pytest.raises(RuntimeError):
        m.autograd.backward([x.sum(), x.sum()], [None])


@BOTH
def test_second_backward(m):
    x = leaf(m, 2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    z = x * x
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.item() == 12.0


def test_stale_value_names_the_op():
    x, w = leaf(tg, 1.0), leaf(tg, 2.0)
    y = x * 1
    z = y * w
    y.add_(1)
    check_error(RuntimeError, "modified by an inplace operation.*mul_backward", z.backward)


@BOTH
def test_failed_pass_leaves_no_trace(m):
    class Fails(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            raise KeyError("from backward")

    x = leaf(m, 1.0)
    y = Fails.apply(x)
    with pytest.raises(KeyError, match="from backward"):
        y.backward()
    assert m.is_grad_enabled() and x.grad is None
    (x * 3).backward()
    assert x.grad.item() == 3.0


# --- the graph ----------------------------------------------------------------------------------


@BOTH
def test_next_functions(m):
    x = leaf(m, 1.0)
    y = x * m.ones(1, dtype=m.float64)
    assert y.grad_fn.name() == "MulBackward0"
    (node, _), (nothing, _) = y.grad_fn.next_functions
    assert type(node).__name__ == "AccumulateGrad" and node.variable is x and nothing is None
    assert node.next_functions == ()
    assert (y + 1).grad_fn.next_functions[0][0] == y.grad_fn


@BOTH
def test_leaves_and_flags(m):
    x = leaf(m, 1.0)
    assert x.is_leaf and (x * 1).is_leaf is False and x.detach().is_leaf
    assert (x.detach() * 2).is_leaf and not (x.detach() * 2).requires_grad
    with pytest.raises(RuntimeError, match="leaf variables"):
        (x * 1).requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point"):
        m.ones(2, dtype=m.int64).requires_grad_()
    assert not (x > 0).requires_grad


@BOTH
def test_detach_and_data(m):
    x = leaf(m, 2.0)
    y = x * 1
    z = y * y
    y.detach().mul_(5)  # counted: the saved y is stale
    with pytest.raises(RuntimeError, match="inplace operation"):
        z.backward()
    y = x * 1
    z = y * y
    y.data.mul_(5)  # not counted: the gradient uses what is there now
    z.backward()
    assert x.grad.item() == 20.0


# --- depth, memory, threads ---------------------------------------------------------------------


def test_deep_chain():
    x = leaf(tg, 1.0)
    y = x
    for _ in range(DEPTH):
        y = y + 1
    (y * y).backward()
    assert x.grad.item() == 2.0 * (DEPTH + 1)


def test_deep_chain_is_freed_without_backward():
    x = leaf(tg, 1.0)
    y = x * 2
    watch = weakref.ref(y.grad_fn)
    for _ in range(DEPTH):
        y = y * x
    del y
    assert watch() is None


def test_deep_chain_in_place():
    x = leaf(tg, 1.0)
    y = x * 1
    for _ in range(DEPTH):
        y.add_(x)
    y.backward()
    assert x.grad.item() == DEPTH + 1


def test_deep_chain_through_a_view():
    depth = 2_000
    x = leaf(tg, 1.0, 2.0)
    y = x * 1
    view = y.narrow(0, 0, 1)
    for _ in range(depth):
        view.mul_(1.0)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_deep_graph_through_grad_of_grad():
    x = leaf(tg, 1.0)
    y = x
    for _ in range(5_000):
        y = y * x
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    g.backward()
    assert x.grad.item() == 5001.0 * 5000.0


def train_step(x, w, b):
    y = x @ w + b
    y = y * y
    y.add_(b)
    loss = y.sum()
    watched = [weakref.ref(t) for t in (y, loss, y.grad_fn, loss.grad_fn)]
    loss.backward()
    with tg.no_grad():
        w -= 0.1 * w.grad
    w.grad = b.grad = None
    return watched


def test_training_step_makes_no_cycles():
    x = tg.from_numpy(randn(8, 3))
    w = tg.from_numpy(randn(3, 2)).requires_grad_()
    b = tg.from_numpy(randn(2)).requires_grad_()
    train_step(x, w, b)
    gc.collect()
    gc.disable()
    try:
        assert all(reference() is None for reference in train_step(x, w, b))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_released_values_are_freed():
    x = leaf(tg, 1.0)
    saved = x * 2
    watch = weakref.ref(saved)
    z = saved * x
    del saved
    assert watch() is not None
    z.backward()
    assert watch() is None


def test_threads_add_to_one_leaf():
    x = tg.from_numpy(np.zeros(50_000)).requires_grad_()  # large: kernels run without the GIL
    passes, count = 20, 4

    def work():
        for _ in range(passes):
            ((x + 1) * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(50_000, 2.0 * passes * count))


def test_threads_walk_one_graph():
    x = leaf(tg, 2.0)
    y = x
    for _ in range(200):
        y = y * 1.0
    results = []

    def work():
        for _ in range(20):
            results.append(tg.autograd.grad(y, x, retain_graph=True)[0].item())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1.0] * 60


@BOTH
def test_arguments_of_grad_in_pytorch_order(m):
    x, y = leaf(m, 3.0), leaf(m, 5.0)
    gradients = m.autograd.grad(x * x, [x, y], None, None, False, True, True)
    assert gradients[0].item() == 6.0 and gradients[1] is None
    with pytest.warns(FutureWarning, match="only_inputs"):
        m.autograd.grad(x * x, x, only_inputs=False)


@BOTH
@pytest.mark.parametrize("value", ["a", 1, None])
def test_requires_grad_takes_a_bool(m, value):
    with pytest.raises(TypeError, match="bool"):
        m.ones(2).requires_grad_(value)
    with pytest.raises(RuntimeError, match="bool"):
        m.ones(2).requires_grad = value


@BOTH
def test_backward_inside_backward(m):
    class Inner(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            with m.enable_grad():
                x = x.detach().requires_grad_()
                (g,) = m.autograd.grad(x * x, x, grad)
            assert not m.is_grad_enabled()
            return g

    x, y = leaf(m, 3.0), leaf(m, 5.0)
    (Inner.apply(x) * y).backward()
    assert x.grad.item() == 30.0 and y.grad.item() == 9.0


def test_grad_takes_any_iterable_of_inputs():
    for m in (tg, torch):
        weights = m.nn.ParameterList([m.nn.Parameter(m.ones(2)), m.nn.Parameter(m.ones(3))])
        for inputs in (weights, weights.parameters(), iter(list(weights))):
            loss = (2 * weights[0]).sum() + (3 * weights[1]).sum()
            assert [g.tolist() for g in m.autograd.grad(loss, inputs)] == [[2, 2], [3, 3, 3]]

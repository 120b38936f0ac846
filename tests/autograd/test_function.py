"""Custom functions: each program runs on both libraries and must do the same."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


def leaf(m, *values, dtype="float64"):
    return m.tensor(list(values), dtype=getattr(m, dtype), requires_grad=True)


def cube_of(m):
    class Cube(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * grad * x * x

    return Cube


def test_values_and_gradient():
    check(lambda m, x: cube_of(m).apply(x), randn(3, 4))


def test_double_backward():
    def second(m, x):
        y = cube_of(m).apply(x)
        (g,) = m.autograd.grad(y, x, m.ones_like(y), create_graph=True)
        (h,) = m.autograd.grad(g, x, m.ones_like(g), create_graph=True)
        return g, h

    check(second, randn(5))


@BOTH
def test_node_name(m):
    y = cube_of(m).apply(leaf(m, 2.0))
    assert y.grad_fn.name() == "CubeBackward"


def test_saved_output_can_be_differentiated():
    def run(m, x):
        class Square(m.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x * x
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return grad * 2 * y / x

        (g,) = m.autograd.grad(Square.apply(x), x, m.ones_like(x), create_graph=True)
        return g, m.autograd.grad(g, x, m.ones_like(x), create_graph=True)[0]

    check(run, np.array([1.5, 2.0, -0.5]))


def test_separate_context():
    def run(m, x, w):
        class Scale(m.autograd.Function):
            @staticmethod
            def forward(x, w, factor=2.0):
                return x * w * factor, "text"

            @staticmethod
            def setup_context(ctx, inputs, output):
                x, w, ctx.factor = inputs
                assert output[1] == "text"
                ctx.save_for_backward(x, w)

            @staticmethod
            def backward(ctx, grad, nothing):
                assert nothing is None
                x, w = ctx.saved_tensors
                return grad * w * ctx.factor, grad * x * ctx.factor, None

        y, text = Scale.apply(x, w)
        z, _ = Scale.apply(x, w, factor=3.0)
        return y, text, z

    check(run, randn(3), randn(3, seed=1))


def two_outputs(m, materialize=True, seen=None, non_differentiable=False):
    class Both(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.set_materialize_grads(materialize)
            a, b = x * 2, y * 3
            if non_differentiable:
                ctx.mark_non_differentiable(b)
            return a, b

        @staticmethod
        def backward(ctx, ga, gb):
            seen.append((None if ga is None else ga.tolist(), None if gb is None else gb.tolist()))
            return ga, gb

    return Both


@BOTH
@pytest.mark.parametrize("materialize", [True, False])
def test_absent_output_gradient(m, materialize):
    seen = []
    x, y = leaf(m, 1.0, 2.0), leaf(m, 3.0, 4.0)
    a, _ = two_outputs(m, materialize, seen).apply(x, y)
    a.backward(m.ones_like(a))
    assert seen == [([1.0, 1.0], [0.0, 0.0] if materialize else None)]
    assert x.grad.tolist() == [1.0, 1.0]


@BOTH
def test_non_differentiable_output(m):
    seen = []
    x, y = leaf(m, 1.0), leaf(m, 3.0)
    a, b = two_outputs(m, True, seen, non_differentiable=True).apply(x, y)
    assert a.requires_grad and not b.requires_grad
    a.backward()
    assert seen == [([1.0], [0.0])]


@BOTH
def test_needs_input_grad(m):
    seen = []

    class Product(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, number, y):
            ctx.save_for_backward(x, y)
            return x * number * y

        @staticmethod
        def backward(ctx, grad):
            seen.append(ctx.needs_input_grad)
            _, y = ctx.saved_tensors
            return grad * 2 * y, None, None

    x, y = leaf(m, 3.0), leaf(m, 4.0).detach()
    Product.apply(x, 2, y).backward()
    assert seen == [(True, False, False)] and x.grad.tolist() == [8.0]


@BOTH
def test_input_returned_as_it_is(m):
    class Identity(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 10

    x = leaf(m, 1.0, 2.0)
    y = Identity.apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and x.is_leaf
    (y * y).backward(m.ones_like(x))
    assert x.grad.tolist() == [20.0, 40.0]


@BOTH
def test_view_of_custom_function_is_not_writable(m):
    class Half(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view(2, 1)

        @staticmethod
        def backward(ctx, grad):
            return grad.view(2)

    x = leaf(m, 1.0, 2.0) * 1
    with pytest.raises(RuntimeError, match="is a view and"):
        Half.apply(x).mul_(2)
    y = Half.apply(x)
    x.mul_(2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="is a view and"):
            _ = y.grad_fn


def doubled_in_place(m, mark=True):
    class Double(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            if mark:
                ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    return Double


@BOTH
def test_dirty_input(m):
    x = leaf(m, 1.0, 2.0)
    y = x * 1
    z = doubled_in_place(m).apply(y)
    assert z is y and z.grad_fn.name() == "DoubleBackward"
    (z * z).backward(m.ones_like(z))
    assert x.grad.tolist() == [8.0, 16.0]


@BOTH
def test_dirty_view_reaches_its_base(m):
    x = leaf(m, 1.0, 2.0, 3.0)
    y = x * 1
    doubled_in_place(m).apply(y.narrow(0, 1, 2))
    assert y.tolist() == [1.0, 4.0, 6.0]
    (y * y).backward(m.ones_like(y))
    assert x.grad.tolist() == [2.0, 16.0, 24.0]


@BOTH
def test_dirty_complaints(m):
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        doubled_in_place(m).apply(leaf(m, 1.0))

    class Forgotten(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad

    with pytest.raises(RuntimeError, match="marked as dirty"):
        Forgotten.apply(leaf(m, 1.0) * 1)


def returning(m, result):
    class Fixed(m.autograd.Function):
        @staticmethod
        def forward(ctx, x, number):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return result(grad)

    return Fixed


@BOTH
@pytest.mark.parametrize(
    ("result", "pattern"),
    [
        (lambda g: g, r"incorrect number of gradients \(expected 2, got 1\)"),
        (lambda g: (g, None, g), r"incorrect number of gradients \(expected 2, got 3\)"),
        (lambda g: (g, g), "gradient different than None at position 2"),
        (lambda g: (g.reshape(3, 1), None), "invalid gradient at index 0"),
    ],
)
def test_wrong_gradients(m, result, pattern):
    y = returning(m, result).apply(leaf(m, 1.0, 2.0, 3.0), 2)
    with pytest.raises(RuntimeError, match=pattern):
        y.backward(m.ones_like(y))


@BOTH
def test_more_results_than_needed(m):
    x = leaf(m, 1.0)
    returning(m, lambda g: (g, None, None, None)).apply(x, 2).backward()
    assert x.grad.tolist() == [1.0]


@BOTH
def test_gradient_that_is_no_tensor(m):
    with pytest.raises((TypeError, RuntimeError)):
        returning(m, lambda g: (1, None)).apply(leaf(m, 1.0), 2).backward()


@BOTH
def test_save_for_backward_takes_tensors(m):
    class Bad(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad

    with pytest.raises(TypeError, match="save_for_backward can only save"):
        Bad.apply(leaf(m, 1.0))


@BOTH
def test_saved_tensor_modified(m):
    x = leaf(m, 1.0) * 1
    y = cube_of(m).apply(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@BOTH
def test_backward_twice(m):
    y = cube_of(m).apply(leaf(m, 1.0))
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@BOTH
def test_once_differentiable(m):
    from importlib import import_module

    once = import_module(f"{m.__name__}.autograd.function").once_differentiable

    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    x = leaf(m, 3.0)
    Square.apply(x).backward()
    assert x.grad.tolist() == [6.0]
    (g,) = m.autograd.grad(Square.apply(x) * x, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.backward()


@BOTH
def test_without_recording(m):
    with m.no_grad():
        y = cube_of(m).apply(leaf(m, 2.0))
    assert not y.requires_grad and y.tolist() == [8.0]
    assert not cube_of(m).apply(m.tensor([2.0])).requires_grad


@BOTH
def test_missing_methods(m):
    class Empty(m.autograd.Function):
        pass

    with pytest.raises(NotImplementedError):
        Empty.apply(leaf(m, 1.0))

    class OnlyForward(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError):
        OnlyForward.apply(leaf(m, 1.0)).backward()


def test_many_saved_tensors():
    class Sum(tg.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            ys = tuple(x * 2 for x in xs)
            ctx.save_for_backward(*xs, *ys)
            return ys

        @staticmethod
        def backward(ctx, *grads):
            saved = ctx.saved_tensors
            assert len(saved) == 80
            return tuple(g * y for g, y in zip(grads, saved[40:], strict=True))

    xs = [leaf(tg, float(i)) for i in range(40)]
    ys = Sum.apply(*xs)
    tg.autograd.backward(ys, [tg.ones_like(y) for y in ys])
    assert [x.grad.item() for x in xs] == [2.0 * i for i in range(40)]


def test_no_cycles():
    class Note(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[1]

    gc.collect()
    gc.disable()
    try:
        x = leaf(tg, 1.0)
        y = Note.apply(x)
        watch = weakref.ref(y.grad_fn)
        y.backward()
        del y
        assert watch() is None
    finally:
        gc.enable()


def test_cannot_be_instantiated():
    check_error(RuntimeError, "should not be instantiated", lambda: cube_of(tg)())


def test_saved_variables_is_the_older_name_of_saved_tensors():
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_variables
            return 2 * x * grad

    x = tg.tensor([3.0], requires_grad=True)
    Square.apply(x).backward()
    assert x.grad.tolist() == [6.0]

"""Every option of every optimizer against PyTorch's, over twenty steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.01, "momentum": 0.8, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.5, "eps": 1e-4, "weight_decay": 0.2}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.1, "centered": True, "eps": 1e-2}),
    ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.5, "maximize": True, "eps": 1e-2}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.2, "eps": 1e-4}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.6, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 0.5, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    ("Adamax", {"lr": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.3, "etas": (0.3, 1.7), "step_sizes": (0.2, 0.8)}),
    ("Rprop", {"maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.05, "alpha": 0.4, "t0": 5, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 2, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "beta2_decay": -0.4, "eps": (1e-3, 0.1), "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.1, "d": 2.0, "maximize": True}),
]


def parameters(module, dtype):
    """Several shapes: matrix, vector, scalar, empty, and one that is not contiguous."""
    shapes = [(4, 3), (70,), (), (0, 3)]
    tensors = [module.from_numpy(randn(*s, dtype=dtype, seed=i)) for i, s in enumerate(shapes)]
    tensors.append(module.from_numpy(randn(3, 5, dtype=dtype, seed=9)).t())
    return [module.nn.Parameter(t) for t in tensors]


def give_gradients(module, params, step):
    for i, p in enumerate(params):
        if i == 1 and step == 0:
            p.grad = None  # its first gradient comes later than the others'
            continue
        array = randn(*p.shape, dtype=as_array(p).dtype, seed=100 * step + i)
        p.grad = module.from_numpy(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_twenty_steps(name, options, dtype):
    made = [(m, parameters(m, dtype)) for m in (tg, torch)]
    if name == "Adafactor":  # PyTorch's divides by the number of elements
        made = [(m, [p for p in params if p.numel()]) for m, params in made]
    optimizers = [getattr(m.optim, name)(p, **options) for m, p in made]
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    for step in range(20):
        for (m, params), optimizer in zip(made, optimizers, strict=True):
            give_gradients(m, params, step)
            assert optimizer.step() is None
        for ours, theirs in zip(made[0][1], made[1][1], strict=True):
            expected = as_array(theirs)
            scale = np.abs(expected).max(initial=1)
            np.testing.assert_allclose(
                as_array(ours), expected, rtol=(step + 1) * rtol, atol=(step + 1) * rtol * scale
            )
    assert_same_state(optimizers[0].state_dict(), optimizers[1].state_dict(), rtol)


def assert_same_state(ours, theirs, rtol):
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["state"]) == list(theirs["state"])
    for index, entry in theirs["state"].items():
        assert list(ours["state"][index]) == list(entry)
        for key, value in entry.items():
            mine = ours["state"][index][key]
            assert str(mine.dtype).split(".")[1] == str(value.dtype).split(".")[1]
            np.testing.assert_allclose(as_array(mine), as_array(value), rtol=100 * rtol, atol=1e-5)


def test_state_dict_goes_to_pytorch_and_back():
    made = [(m, parameters(m, np.float64)) for m in (tg, torch)]
    optimizers = [m.optim.Adam(p, lr=0.1) for m, p in made]
    for step in range(3):
        give_gradients(tg, made[0][1], step)
        optimizers[0].step()
    state = optimizers[0].state_dict()
    as_theirs = copy.deepcopy(state)
    for entry in as_theirs["state"].values():
        for key, value in entry.items():
            entry[key] = torch.from_numpy(value.numpy().copy())
    with torch.no_grad():
        for p, q in zip(made[1][1], made[0][1], strict=True):
            p.copy_(torch.from_numpy(as_array(q).copy()))
    optimizers[1].load_state_dict(as_theirs)
    for step in range(3, 6):
        for (m, params), optimizer in zip(made, optimizers, strict=True):
            give_gradients(m, params, step)
            optimizer.step()
    for p, q in zip(made[0][1], made[1][1], strict=True):
        np.testing.assert_allclose(as_array(p), as_array(q), rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES[3:5] + CASES[7:8] + CASES[18:19])
def test_resuming_continues_exactly(name, options):
    params = parameters(tg, np.float32)
    optimizer = getattr(tg.optim, name)(params, **options)
    for step in range(4):
        give_gradients(tg, params, step)
        optimizer.step()
    resumed_params = [tg.nn.Parameter(p.detach().clone()) for p in params]
    resumed = getattr(tg.optim, name)(resumed_params, lr=123.0)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for step in range(4, 7):
        for some, one in ((params, optimizer), (resumed_params, resumed)):
            give_gradients(tg, some, step)
            one.step()
    for p, q in zip(params, resumed_params, strict=True):
        assert np.array_equal(as_array(p), as_array(q))


def test_groups_have_their_own_options():
    def run(m):
        a, b, c = parameters(m, np.float64)[:3]
        optimizer = m.optim.SGD(
            [{"params": [a], "lr": 0.5}, {"params": b, "momentum": 0.9}], lr=0.1, weight_decay=0.1
        )
        optimizer.add_param_group({"params": [c], "weight_decay": 0})
        for step in range(5):
            give_gradients(m, [a, b, c], step)
            optimizer.step()
            optimizer.param_groups[2]["lr"] *= 0.5
        return [as_array(p) for p in (a, b, c)], repr(optimizer)

    (ours, our_repr), (theirs, their_repr) = run(tg), run(torch)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-13)
    assert our_repr == their_repr


def test_named_parameters():
    model = tg.nn.Module()
    model.weight = tg.nn.Parameter(tg.zeros(2))
    optimizer = tg.optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight"]
    assert optimizer.param_groups[0]["params"] == [model.weight]


def test_state_replaced_by_the_user_is_used():
    p = tg.nn.Parameter(tg.zeros(3))
    optimizer = tg.optim.SGD([p], lr=1.0, momentum=0.5)
    p.grad = tg.ones(3)
    optimizer.step()
    optimizer.state[p]["momentum_buffer"] = tg.full((3,), 10.0)
    optimizer.step()
    assert p.tolist() == [-7.0] * 3  # 1, then 0.5 * 10 + 1
    optimizer.state.clear()
    optimizer.step()
    assert p.tolist() == [-8.0] * 3


def test_gradients_of_other_strides():
    p = tg.nn.Parameter(tg.zeros(3, 2))
    p.grad = tg.from_numpy(randn(2, 3, dtype=np.float32)).t()
    tg.optim.SGD([p], lr=1.0).step()
    assert np.array_equal(as_array(p), -as_array(p.grad))


def test_steps_count_as_writes():
    p = tg.nn.Parameter(tg.ones(3))
    y = p * p
    p.grad = tg.ones(3)
    tg.optim.SGD([p], lr=0.1).step()
    assert p._version == 1
    check_error(RuntimeError, "modified by an inplace operation", y.sum().backward)


@pytest.mark.host("threads are the CPU's")
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam"])
def test_every_thread_count_gives_the_same_bits(name):
    results = []
    before = tg.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            tg.set_num_threads(threads)
            p = tg.nn.Parameter(tg.from_numpy(randn(100_003, dtype=np.float32)))
            optimizer = getattr(tg.optim, name)([p], lr=0.1, weight_decay=0.1)
            for step in range(2):
                p.grad = tg.from_numpy(randn(100_003, dtype=np.float32, seed=step + 1))
                optimizer.step()
            results.append(as_array(p).tobytes())
    finally:
        tg.set_num_threads(before)
    assert len(set(results)) == 1


def test_zero_grad():
    p, q = tg.nn.Parameter(tg.zeros(2)), tg.nn.Parameter(tg.zeros(2))
    p.grad = tg.ones(2)
    optimizer = tg.optim.SGD([p, q], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0] and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_closure():
    p = tg.nn.Parameter(tg.ones(2))
    optimizer = tg.optim.SGD([p], lr=0.25)

    def closure():
        assert tg.is_grad_enabled()
        optimizer.zero_grad()
        loss = p * p
        loss.sum().backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).tolist() == [1, 1]
    assert p.tolist() == [0.5, 0.5]


def test_step_hooks():
    p = tg.nn.Parameter(tg.ones(2))
    optimizer = tg.optim.Adam([p])
    calls = []
    first = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append(("pre", args)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(("post", kwargs)))
    optimizer.step()
    first.remove()
    optimizer.step(closure=None)
    assert calls == [("pre", ()), ("post", {}), ("post", {"closure": None})]


def test_hooks_work_for_optimizers_of_users():
    class Mine(tg.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 1.0})

        @tg.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad, alpha=-group["lr"])

    p = tg.nn.Parameter(tg.ones(2))
    p.grad = tg.ones(2)
    optimizer = Mine([p])
    seen = []
    optimizer.register_step_post_hook(lambda *args: seen.append(args))
    optimizer.step()
    assert p.tolist() == [0, 0] and len(seen) == 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1},
        {"lr": float("nan")},
        {"momentum": -1},
        {"weight_decay": -0.5},
        {"eps": -1},
        {"alpha": -1},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -1)},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    ],
)
def test_invalid_options(name, options):
    def make(m):
        try:
            return getattr(m.optim, name)([m.nn.Parameter(m.zeros(2))], **options)
        except (ValueError, TypeError) as error:
            return error

    ours, theirs = make(tg), make(torch)
    if options.get("lr") != options.get("lr"):
        assert isinstance(ours, ValueError) and "learning rate" in str(ours)
        return
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs) or isinstance(theirs, TypeError)


def test_parameter_lists_that_are_refused():
    p = tg.nn.Parameter(tg.zeros(2))
    sgd = tg.optim.SGD
    check_error(ValueError, "optimizer got an empty parameter list", lambda: sgd([], lr=0.1))
    check_error(TypeError, "should be an iterable of Tensors or dicts", lambda: sgd(p, lr=0.1))
    check_error(TypeError, "can only optimize Tensors.*int", lambda: sgd([1], lr=0.1))
    check_error(ValueError, "can't optimize a non-leaf Tensor", lambda: sgd([p * 2], lr=0.1))
    check_error(TypeError, "ordered collections", lambda: sgd([{"params": {p}}], lr=0.1))
    check_error(TypeError, "must be a dict", lambda: sgd([{"params": [p]}, [p]], lr=0.1))
    check_error(
        ValueError,
        "some parameters appear in more than one parameter group",
        lambda: sgd([{"params": [p]}, {"params": [p]}], lr=0.1),
    )
    with pytest.warns(UserWarning, match="duplicate parameters"):
        sgd([p, p], lr=0.1)
    check_error(NotImplementedError, "differentiable", lambda: sgd([p], differentiable=True))


def test_states_that_do_not_fit():
    p = tg.nn.Parameter(tg.zeros(2))
    p.grad = tg.ones(2)
    optimizer = tg.optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.state[p]["momentum_buffer"] = tg.zeros(3)
    check_error(RuntimeError, r"sgd_step: .*shape \(2,\), got float32 and \(3,\)", optimizer.step)
    optimizer.state[p]["momentum_buffer"] = "text"
    check_error(TypeError, "sgd_step: expected every state to be a tensor", optimizer.step)
    assert p.tolist() == [0, 0]


def test_load_state_dict_of_other_groups():
    p, q = tg.nn.Parameter(tg.zeros(2)), tg.nn.Parameter(tg.zeros(2))
    one, two = tg.optim.SGD([p], lr=0.1), tg.optim.SGD([p, q], lr=0.1)
    groups = tg.optim.SGD([{"params": [p]}, {"params": [q]}], lr=0.1)
    check_error(
        ValueError,
        "different number of parameter groups",
        lambda: one.load_state_dict(groups.state_dict()),
    )
    check_error(
        ValueError, "doesn't match the size of", lambda: one.load_state_dict(two.state_dict())
    )


def test_deepcopy_keeps_parameter_and_state_together():
    p = tg.nn.Parameter(tg.ones(2))
    p.grad = tg.ones(2)
    optimizer = tg.optim.SGD([p], lr=0.5, momentum=0.5)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    q = twin.param_groups[0]["params"][0]
    assert q is not p and twin.state[q]["momentum_buffer"].tolist() == [1, 1]
    twin.step()
    assert q.tolist() == [-0.25, -0.25] and p.tolist() == [0.5, 0.5]


@pytest.mark.host("only there numbers below the normal ones cost time")
@pytest.mark.parametrize(
    ("name", "options"), [("Adam", {}), ("SGD", {"momentum": 0.8}), ("RMSprop", {"alpha": 0.8})]
)
def test_moments_of_units_that_never_fire_become_zero(name, options):
    parameter = tg.nn.Parameter(tg.ones(40))
    optimizer = getattr(tg.optim, name)([parameter], lr=1e-3, **options)
    parameter.grad = tg.full((40,), 1e-9)
    optimizer.step()
    parameter.grad = tg.zeros(40)
    for _ in range(700):
        optimizer.step()
    smallest = tg.finfo(tg.float32).tiny
    moments = [m for key, m in optimizer.state[parameter].items() if m.ndim]
    assert all(((m == 0) | (m.abs() >= smallest)).all() for m in moments)
    assert any((m == 0).all() for m in moments)
    # What the step did with small numbers, others do not.
    assert (tg.full((40,), smallest) * 0.5 > 0).all()

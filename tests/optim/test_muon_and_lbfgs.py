"""Optimizers that look at whole matrices or at the loss: beside PyTorch's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "weight_decay": 0.3, "nesterov": False, "momentum": 0.5},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
        {"lr": 0.1, "adjust_lr_fn": "original", "ns_coefficients": (2.0, -1.5, 0.5)},
    ],
)
def test_muon(options):
    def run(m):
        params = [
            m.nn.Parameter(m.from_numpy(randn(*shape, dtype=np.float32)))
            for shape in ((6, 9), (20, 7), (5, 5))
        ]
        optimizer = m.optim.Muon(params, **options)
        for step in range(5):
            for i, p in enumerate(params):
                p.grad = m.from_numpy(randn(*p.shape, dtype=np.float32, seed=10 * step + i))
            optimizer.step()
        return params, optimizer

    (ours, mine), (theirs, other) = run(tg), run(torch)
    lr = options.get("lr", 1e-3)
    for p, q in zip(ours, theirs, strict=True):
        # The steps are computed in bfloat16, whose unit is 0.8 %, by a polynomial of slope 3.4.
        np.testing.assert_allclose(as_array(p), as_array(q), rtol=0, atol=5 * lr * 0.03)
        buffers = mine.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"]
        np.testing.assert_allclose(*map(as_array, buffers), rtol=1e-5, atol=1e-6)
    assert mine.state_dict()["param_groups"] == other.state_dict()["param_groups"]


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (33, 12)])
def test_orthogonalization_is_as_good_as_bfloat16_allows(shape):
    from torch.optim._muon import _zeropower_via_newtonschulz

    from tilegrad.optim.muon import orthogonalize

    coefficients = (3.4445, -4.7750, 2.0315)
    x = randn(*shape)
    y = x / np.linalg.norm(x)
    for _ in range(5):  # the same in double precision
        gram = y @ y.T
        y = 3.4445 * y + (-4.7750 * gram + 2.0315 * gram @ gram) @ y
    single = x.astype(np.float32)
    ours = orthogonalize(tg.from_numpy(single), coefficients, 5, 1e-7).float().numpy()
    theirs = _zeropower_via_newtonschulz(torch.from_numpy(single), coefficients, 5, 1e-7)
    assert np.linalg.norm(ours - y) <= 1.5 * np.linalg.norm(theirs.float().numpy() - y)


def test_muon_refuses():
    p = tg.nn.Parameter(tg.zeros(2, 2))
    muon = tg.optim.Muon
    check_error(ValueError, "only supports 2D.*3", lambda: muon([tg.nn.Parameter(tg.zeros(3))]))
    check_error(ValueError, "momentum should be >= 0", lambda: muon([p], momentum=-1))
    check_error(ValueError, "Learning rate should be >= 0", lambda: muon([p], lr=-1))
    check_error(ValueError, "xyz is not supported", lambda: muon([p], adjust_lr_fn="xyz"))
    p.grad = tg.ones(2, 2)
    check_error(ValueError, "less than 100", muon([p], ns_steps=100).step)
    check_error(ValueError, "exactly 3", muon([p], ns_coefficients=(1, 2)).step)


def rosenbrock(m, params):
    x = m.cat([p.reshape(-1) for p in params])
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


LBFGS_CASES = [
    {},
    {"lr": 0.5, "max_iter": 7, "history_size": 3},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 50, "max_eval": 9, "history_size": 4},
    {"lr": 1e-3, "tolerance_change": 1e-2},
]


def minimize(m, options, steps):
    params = [
        m.nn.Parameter(m.tensor([[0.5, -0.3], [0.2, 0.9]], dtype=m.float64)),
        m.nn.Parameter(m.tensor(0.3, dtype=m.float64)),
    ]
    optimizer = m.optim.LBFGS(params, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(m, params) if options.get("line_search_fn") else bowl(m, params)
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
    return params, losses, optimizer


def bowl(m, params):
    return sum(((p - 0.7) ** 2 * (1 + i)).sum() + p.exp().sum() for i, p in enumerate(params))


@pytest.mark.parametrize("options", LBFGS_CASES)
def test_lbfgs(options):
    params, losses, mine = minimize(tg, options, 4)
    expected_params, expected, other = minimize(torch, options, 4)
    np.testing.assert_allclose(losses, expected, rtol=1e-8, atol=1e-12)
    for p, q in zip(params, expected_params, strict=True):
        np.testing.assert_allclose(as_array(p), as_array(q), rtol=1e-6, atol=1e-9)
    ours, theirs = mine.state_dict(), other.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    for key in ("func_evals", "n_iter"):
        assert ours["state"][0][key] == theirs["state"][0][key]
    assert set(theirs["state"][0]) == set(ours["state"][0])


def test_lbfgs_reaches_the_minimum():
    _, losses, _ = minimize(tg, {"line_search_fn": "strong_wolfe", "max_iter": 100}, 3)
    assert losses[-1] < 1e-9


def test_lbfgs_resumes_exactly():
    options = {"lr": 0.3, "max_iter": 3}
    params, _, optimizer = minimize(tg, options, 2)
    twins = [tg.nn.Parameter(p.detach().clone()) for p in params]
    resumed = tg.optim.LBFGS(twins)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for some, one in ((params, optimizer), (twins, resumed)):

        def closure(some=some, one=one):
            one.zero_grad()
            loss = bowl(tg, some)
            loss.backward()
            return loss

        one.step(closure)
    for p, q in zip(params, twins, strict=True):
        assert p.tolist() == q.tolist()


def test_lbfgs_refuses():
    p, q = tg.nn.Parameter(tg.ones(2)), tg.nn.Parameter(tg.ones(2))
    groups = [{"params": [p]}, {"params": [q]}]
    check_error(ValueError, "doesn't support per-parameter", lambda: tg.optim.LBFGS(groups))
    optimizer = tg.optim.LBFGS([p], line_search_fn="golden")

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    check_error(RuntimeError, "only 'strong_wolfe' is supported", lambda: optimizer.step(closure))


@pytest.mark.parametrize(
    "name",
    ["Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD", "Adafactor", "SGD"],
)
@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1},
        {"eps": -1},
        {"eps": (-1, 1e-3)},
        {"weight_decay": -0.5},
        {"betas": (1.0, 0.9)},
        {"lr_decay": -1},
        {"initial_accumulator_value": -1},
        {"rho": 1.5},
        {"momentum_decay": -1},
        {"etas": (0.5, 0.9)},
        {"d": 0.5},
        {"beta2_decay": 1},
        {"foreach": True, "fused": True},
    ],
)
def test_invalid_options(name, options):
    def outcome(m):
        try:
            getattr(m.optim, name)([m.nn.Parameter(m.zeros(2))], **options)
        except (ValueError, TypeError, RuntimeError) as error:
            return type(error), str(error)
        return None, ""

    ours, theirs = outcome(tg), outcome(torch)
    assert ours[0] is theirs[0]
    assert ours[1] == theirs[1] or theirs[0] is TypeError


@pytest.mark.parametrize(
    "name", ["Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD"]
)
@pytest.mark.parametrize("direction", ["to torch", "from torch"])
def test_state_dicts_go_both_ways(name, direction):
    def made(m):
        p = m.nn.Parameter(m.from_numpy(randn(5, 3)))
        return p, getattr(m.optim, name)([p], lr=0.1)

    def advance(m, p, optimizer, steps):
        for step in steps:
            p.grad = m.from_numpy(randn(5, 3, seed=step + 1))
            optimizer.step()

    source, target = (tg, torch) if direction == "to torch" else (torch, tg)
    (p, first), (q, second) = made(source), made(target)
    advance(source, p, first, range(4))
    state = first.state_dict()
    for entry in state["state"].values():
        for key, value in entry.items():
            entry[key] = target.from_numpy(value.numpy().copy())
    q.data.copy_(target.from_numpy(as_array(p).copy()))
    second.load_state_dict(state)
    p, first = made(source)  # the reference: the same steps without a change of library
    advance(source, p, first, range(7))
    advance(target, q, second, range(4, 7))
    np.testing.assert_allclose(as_array(q), as_array(p), rtol=1e-6)


def test_numbers_of_old_checkpoints_become_tensors():
    p = tg.nn.Parameter(tg.ones(2))
    p.grad = tg.ones(2)
    optimizer = tg.optim.NAdam([p])
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][0]["step"] = 1
    state["state"][0]["mu_product"] = state["state"][0]["mu_product"].item()
    del state["param_groups"][0]["capturable"]
    other = tg.optim.NAdam([p])
    other.load_state_dict(state)
    other.step()
    assert other.state[p]["step"].item() == 2 and other.param_groups[0]["capturable"] is False


def test_hooks_of_state_dicts():
    p = tg.nn.Parameter(tg.ones(2))
    optimizer = tg.optim.Adam([p])
    calls = []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("pre"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(
        lambda o, state: calls.append(state.pop("extra")) or state
    )
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("post"))
    state = optimizer.state_dict()
    assert state["extra"] == 1
    optimizer.load_state_dict(state)
    assert calls == ["pre", 1, "post"] and "extra" in state


def test_names_must_be_given_for_all_parameters_or_none():
    p, q = tg.nn.Parameter(tg.ones(2)), tg.nn.Parameter(tg.ones(2))
    check_error(ValueError, "Some param names are missing", lambda: tg.optim.SGD([("p", p), q]))
    optimizer = tg.optim.SGD([("p", p)])
    check_error(
        ValueError,
        "cannot add param group without names",
        lambda: optimizer.add_param_group({"params": [q]}),
    )


def test_rates_may_be_tensors():
    p = tg.nn.Parameter(tg.ones(2))
    p.grad = tg.ones(2)
    for name in ("SGD", "Adam", "RAdam", "ASGD", "Adafactor"):
        getattr(tg.optim, name)([p], lr=tg.tensor(0.0)).step()
    assert p.tolist() == [1, 1]
    check_error(
        ValueError,
        "Tensor lr must be 1-element",
        lambda: tg.optim.Adam([p], lr=tg.tensor([0.1, 0.2])),
    )

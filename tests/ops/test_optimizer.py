"""The raw optimizer steps: what they write, count and refuse. Values are tested in tests/optim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tilegrad as tg
from support import check_error
from tilegrad.ops import optimizer


def parameter(*shape: int, dtype: Any = tg.float64) -> Any:
    x = tg.ones(*shape, dtype=dtype, requires_grad=True)
    x.grad = tg.full(shape, 2.0, dtype=dtype)
    return x


def momentum_state(x: Any, **changes: Any) -> dict:
    return {x: {"momentum_buffer": tg.zeros_like(x.detach()), **changes}}


def sgd(parameters: Any, state: Any, lr: Any = 0.5, momentum: Any = 0.9) -> bool:
    return optimizer.sgd_step(parameters, state, lr, momentum, 0.0, 0.0, False, False)


def adam(parameters: Any, state: Any) -> bool:
    return optimizer.adam_step(parameters, state, 0.5, 0.9, 0.999, 1e-8, 0.0, False, False, False)


def adam_state(x: Any, **changes: Any) -> dict:
    zeros = {name: tg.zeros_like(x.detach()) for name in ("exp_avg", "exp_avg_sq")}
    return {x: {**zeros, "step": tg.tensor(0.0, device="cpu"), **changes}}


def test_writes_in_place_and_counts_versions() -> None:
    x = parameter(3)
    state = momentum_state(x)
    buffer, place = state[x]["momentum_buffer"], x.data_ptr()
    versions = x._version, buffer._version, x.grad._version
    assert sgd([x], state)
    assert (x._version, buffer._version, x.grad._version) == (
        versions[0] + 1,
        versions[1] + 1,
        versions[2],
    )
    assert x.data_ptr() == place and x.is_leaf and x.requires_grad
    assert state[x]["momentum_buffer"] is buffer and buffer.tolist() == [2.0] * 3
    assert x.tolist() == [0.0] * 3 and x.grad.tolist() == [2.0] * 3


def test_saved_parameter_notices_the_step() -> None:
    x = parameter(3)
    y = (x * x).sum()
    assert sgd([x], momentum_state(x))
    check_error(RuntimeError, "modified by an in-?place operation", y.backward)


def test_parameters_without_gradient_are_left_alone() -> None:
    x, y = parameter(2), tg.ones(2, requires_grad=True)
    assert sgd([y, x], momentum_state(x))
    assert y.tolist() == [1, 1] and y._version == 0
    assert sgd([], {}) and sgd([y], {})


def test_missing_state_writes_nothing() -> None:
    x, y = parameter(2), parameter(2)
    assert not sgd([x, y], momentum_state(x))
    assert not adam([x, y], adam_state(x))
    assert x.tolist() == [1, 1] and x._version == 0


def test_strided_and_empty_parameters() -> None:
    base = tg.ones(3, 4, dtype=tg.float64)
    x = base.t().requires_grad_() if base.t().is_leaf else base.t().detach().requires_grad_()
    x.grad = tg.arange(12, dtype=tg.float64).view(4, 3)
    assert sgd([x], momentum_state(x))
    assert x.tolist() == (1 - 0.5 * x.grad).tolist() and base.t().tolist() == x.tolist()
    empty = parameter(0, 3)
    assert adam([empty], adam_state(empty)) and empty.shape == (0, 3)


def test_step_is_counted() -> None:
    x = parameter(2)
    state = adam_state(x)
    for count in (1, 2, 3):
        assert adam([x], state) and state[x]["step"].item() == count


X = parameter(2)


@pytest.mark.parametrize(
    "exception, pattern, function",
    [
        (TypeError, "parameter.*int", lambda: sgd([3], {})),
        (TypeError, "", lambda: sgd(X, {})),
        (TypeError, "", lambda: sgd([X], None)),
        (TypeError, "dict.*list", lambda: sgd([X], {X: []})),
        (TypeError, "state.*str", lambda: sgd([X], momentum_state(X, momentum_buffer="x"))),
        (TypeError, "", lambda: sgd([X], momentum_state(X), lr="0.5")),
        (RuntimeError, r"state.*shape \(2,\), got float64 and \(3,\)",
         lambda: sgd([X], momentum_state(X, momentum_buffer=tg.zeros(3, dtype=tg.float64)))),
        (RuntimeError, r"dtype float64.*float32",
         lambda: sgd([X], momentum_state(X, momentum_buffer=tg.zeros(2)))),
        (RuntimeError, "'step'.*one element,.*got float32 of shape",
         lambda: adam([X], adam_state(X, step=tg.zeros(2)))),
        (TypeError, "step.*int", lambda: adam([X], adam_state(X, step=3))),
    ],
)  # fmt: skip
def test_complaints(exception: Any, pattern: str, function: Callable[[], Any]) -> None:
    check_error(exception, pattern, function)
    assert X.tolist() == [1, 1] and X._version == 0


# The others: their states, the scalars among them, and their options.
OTHERS = {
    "adagrad_step": (("sum",), (), (0.1, 0.0, 1e-8, 0.0, False)),
    "adadelta_step": (("square_avg", "acc_delta"), (), (0.1, 0.9, 1e-6, 0.0, False)),
    "adamax_step": (("exp_avg", "exp_inf"), (), (0.1, 0.9, 0.99, 1e-8, 0.0, False)),
    "nadam_step": (
        ("exp_avg", "exp_avg_sq"), ("mu_product",),
        (0.1, 0.9, 0.99, 1e-8, 0.0, 4e-3, False, False),
    ),
    "radam_step": (("exp_avg", "exp_avg_sq"), (), (0.1, 0.9, 0.99, 1e-8, 0.0, False, False)),
    "rprop_step": (("prev", "step_size"), (), (0.5, 1.2, 1e-6, 50.0, False)),
    "asgd_step": (("ax",), ("eta", "mu"), (0.1, 1e-4, 0.75, 1e6, 0.0, False)),
}  # fmt: skip


def state_of(x: Any, name: str) -> dict:
    tensors, scalars, _ = OTHERS[name]
    state: dict = {key: tg.ones_like(x.detach()) for key in tensors}
    state.update({key: tg.tensor(0.5, device="cpu") for key in (*scalars, "step")})
    return {x: state}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("dtype", [tg.float64, tg.float32, tg.bfloat16])
def test_others_write_everything_once(name: str, dtype: Any) -> None:
    x = parameter(3, 2, dtype=dtype)
    state = state_of(x, name)
    options = OTHERS[name][2]
    assert getattr(optimizer, name)([x], state, *options)
    assert state[x]["step"].item() == 1.5 and (x < 1).all().item() and x.dtype is dtype
    for key, value in state[x].items():
        assert value._version == 1, key
    empty = parameter(0, 3, dtype=dtype)
    assert getattr(optimizer, name)([empty], state_of(empty, name), *options)


@pytest.mark.parametrize("name", OTHERS)
def test_others_write_nothing_if_a_state_is_missing_or_wrong(name: str) -> None:
    step, options = getattr(optimizer, name), OTHERS[name][2]
    x = parameter(3)
    for key in state_of(x, name)[x]:
        state = state_of(x, name)
        del state[x][key]
        assert not step([x], state, *options), key
        is_scalar = key in OTHERS[name][1] or key == "step"
        for wrong in (tg.zeros(4), tg.zeros(3).bool() if not is_scalar else tg.tensor(1)):
            state = state_of(x, name)
            state[x][key] = wrong
            check_error(RuntimeError, f"{name}: expected", lambda s=state: step([x], s, *options))
        state[x][key] = "text"
        check_error(TypeError, f"{name}: expected every", lambda s=state: step([x], s, *options))
    assert x.tolist() == [1, 1, 1]

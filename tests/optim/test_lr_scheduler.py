"""Every scheduler against PyTorch's, over thirty epochs."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn


def optimizer_of(m, name="SGD", **options):
    p, q = m.nn.Parameter(m.zeros(2)), m.nn.Parameter(m.zeros(3))
    options = {"momentum": 0.9, **options} if name == "SGD" else options
    groups = [{"params": [p]}, {"params": [q], "lr": 0.05}]
    return getattr(m.optim, name)(groups, lr=0.4, **options)


def scheduler(name, *args, **options):
    return lambda m, o: getattr(m.optim.lr_scheduler, name)(o, *args, **options)


def sequence(m, o):
    s = m.optim.lr_scheduler
    parts = [s.LinearLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.9), s.StepLR(o, 3, 0.5)]
    return s.SequentialLR(o, parts, milestones=[5, 11])


def nested_sequence(m, o):
    s = m.optim.lr_scheduler
    inner = s.SequentialLR(o, [s.ConstantLR(o, 0.5, 2), s.ExponentialLR(o, 0.9)], milestones=[3])
    return s.SequentialLR(o, [inner, s.CosineAnnealingLR(o, 10)], milestones=[8])


def chain(m, o):
    s = m.optim.lr_scheduler
    return s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)], optimizer=o)


SCHEDULERS = {
    "StepLR": scheduler("StepLR", 4, 0.3),
    "StepLR default": scheduler("StepLR", step_size=7),
    "MultiStepLR": scheduler("MultiStepLR", [3, 9, 9, 20], gamma=0.5),
    "ConstantLR": scheduler("ConstantLR", 0.25, 6),
    "LinearLR": scheduler("LinearLR", 0.2, 0.7, 9),
    "LinearLR default": scheduler("LinearLR"),
    "ExponentialLR": scheduler("ExponentialLR", 0.93),
    "PolynomialLR": scheduler("PolynomialLR", 12, 1.7),
    "CosineAnnealingLR": scheduler("CosineAnnealingLR", 7, eta_min=0.01),
    "CosineAnnealingLR long": scheduler("CosineAnnealingLR", T_max=50),
    "WarmRestarts": scheduler("CosineAnnealingWarmRestarts", 4, 2, eta_min=0.01),
    "WarmRestarts equal": scheduler("CosineAnnealingWarmRestarts", 5),
    "LambdaLR": scheduler("LambdaLR", lambda epoch: 1 / (1 + epoch)),
    "LambdaLR list": scheduler("LambdaLR", [lambda e: 0.9**e, lambda e: 1.0 + e]),
    "MultiplicativeLR": scheduler("MultiplicativeLR", lambda epoch: 0.9 + 0.01 * epoch),
    "CyclicLR": scheduler("CyclicLR", 0.01, 0.3, step_size_up=4, step_size_down=7),
    "CyclicLR triangular2": scheduler("CyclicLR", 0.01, 0.3, 5, mode="triangular2"),
    "CyclicLR exp_range": scheduler("CyclicLR", [0.01, 0.02], 0.3, 5, mode="exp_range", gamma=0.9),
    "CyclicLR own": scheduler("CyclicLR", 0.01, 0.3, 5, scale_fn=lambda x: 1 / (1 + x)),
    "OneCycleLR": scheduler("OneCycleLR", 0.5, total_steps=31),
    "OneCycleLR three": scheduler(
        "OneCycleLR", [0.5, 0.2], epochs=4, steps_per_epoch=8, three_phase=True
    ),
    "OneCycleLR linear": scheduler(
        "OneCycleLR", 0.5, 40, pct_start=0.4, anneal_strategy="linear", div_factor=5
    ),
    "SequentialLR": sequence,
    "SequentialLR nested": nested_sequence,
    "ChainedScheduler": chain,
    "SWALR": lambda m, o: m.optim.swa_utils.SWALR(o, 0.07, anneal_epochs=6),
    "SWALR linear": lambda m, o: m.optim.swa_utils.SWALR(o, [0.7, 0.9], 5, "linear"),
}


@pytest.fixture(autouse=True)
def of_warnings(request):
    """A sequence in a sequence steps before the optimizer does, in PyTorch too: it warns."""
    with warnings.catch_warnings():
        if "nested" in request.node.name:
            warnings.simplefilter("ignore")
        yield


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_thirty_epochs(name):
    pairs = []
    for m in (tg, torch):
        o = optimizer_of(m)
        pairs.append((o, SCHEDULERS[name](m, o)))
    for epoch in range(30):
        (ours, mine), (theirs, other) = pairs
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12, err_msg=str(epoch))
        momenta = [[group["momentum"] for group in o.param_groups] for o in (ours, theirs)]
        np.testing.assert_allclose(*momenta, rtol=1e-12)
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-12)
        for o, s in pairs:
            o.step()
            s.step()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_state_dicts_have_the_same_keys_and_resume(name):
    made = {}
    for m in (tg, torch):
        o = optimizer_of(m)
        made[m] = o, SCHEDULERS[name](m, o)
        for _ in range(7):
            o.step()
            made[m][1].step()
    state = made[tg][1].state_dict()
    assert set(state) == set(made[torch][1].state_dict())
    o = optimizer_of(tg)
    resumed = SCHEDULERS[name](tg, o)
    o.load_state_dict(made[tg][0].state_dict())
    resumed.load_state_dict(copy.deepcopy(state))
    for _ in range(9):
        for one, s in (made[tg], (o, resumed)):
            one.step()
            s.step()
        assert rates(o) == rates(made[tg][0])


@pytest.mark.parametrize(
    "name", ["StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR",
             "CosineAnnealingLR", "LambdaLR"]
)  # fmt: skip
def test_steps_to_an_epoch(name):
    found = []
    for m in (tg, torch):
        o = optimizer_of(m)
        s = SCHEDULERS[name](m, o)
        o.step()
        for epoch in (3, 11, 6):
            with pytest.warns(UserWarning, match="epoch parameter in `scheduler.step"):
                s.step(epoch)
            found.append(rates(o))
    np.testing.assert_allclose(found[:3], found[3:], rtol=1e-12)


def test_warm_restarts_in_fractions():
    found = []
    for m in (tg, torch):
        for multiple in (1, 2, 3):
            o = optimizer_of(m)
            s = m.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3, multiple)
            for step in range(40):
                s.step(step / 2.5)
                found.append(rates(o))
    np.testing.assert_allclose(found[:120], found[120:], rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2, "factor": 0.5},
        {"mode": "max", "patience": 1},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "abs", "cooldown": 3},
        {"patience": 0, "min_lr": [0.1, 0.01], "eps": 1e-3},
        {"mode": "max", "threshold_mode": "abs", "patience": 1, "threshold": 0.1},
    ],
)
def test_plateau(options):
    measures = np.cos(np.arange(40) / 3) * np.exp(-np.arange(40) / 10)
    made = [(o, m) for m in (tg, torch) for o in [optimizer_of(m)]]
    both = [(o, m.optim.lr_scheduler.ReduceLROnPlateau(o, **options)) for o, m in made]
    for i, value in enumerate(measures):
        for _, s in both:
            s.step(float(value))
        assert rates(both[0][0]) == rates(both[1][0]), i
        for key in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            assert getattr(both[0][1], key) == getattr(both[1][1], key)
        assert both[0][1].get_last_lr() == both[1][1].get_last_lr()
    assert both[0][1].state_dict().keys() == both[1][1].state_dict().keys()
    both[0][1].step(tg.tensor(3.0))
    assert both[0][1].last_epoch == 41


def test_momentum_of_adam_is_its_first_beta():
    found = []
    for m in (tg, torch):
        o = optimizer_of(m, "Adam")
        s = m.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=10)
        for _ in range(5):
            found.append([(group["lr"], *group["betas"]) for group in o.param_groups])
            o.step()
            s.step()
    np.testing.assert_allclose(found[:5], found[5:], rtol=1e-12)


def test_schedulers_of_users():
    class Halving(tg.optim.lr_scheduler._LRScheduler):
        def get_lr(self):
            return [lr * 0.5**self.last_epoch for lr in self.base_lrs]

    o = optimizer_of(tg)
    s = Halving(o)
    o.step()
    s.step()
    assert rates(o) == [0.2, 0.025] and s.get_last_lr() == [0.2, 0.025]
    resumed = Halving(o, last_epoch=2)
    assert resumed.base_lrs == [0.4, 0.05] and rates(o) == [0.05, 0.00625]


def test_tensor_rates_are_written_in_place():
    p = tg.nn.Parameter(tg.zeros(2))
    lr = tg.tensor(0.5, dtype=tg.float64)
    o = tg.optim.SGD([p], lr=lr)
    s = tg.optim.lr_scheduler.ExponentialLR(o, 0.5)
    o.step()
    s.step()
    assert lr.item() == 0.25 and o.param_groups[0]["lr"] is lr


def test_warnings():
    o = optimizer_of(tg)
    s = tg.optim.lr_scheduler.StepLR(o, 2)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before"):
        s.step()
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        s.get_lr()


def test_complaints():
    o = optimizer_of(tg)
    plain = tg.optim.Adagrad([tg.nn.Parameter(tg.zeros(2))])
    s = tg.optim.lr_scheduler
    for kind, pattern, call in [
        (TypeError, "list is not an Optimizer", lambda: s.StepLR([], 3)),
        (KeyError, "initial_lr", lambda: s.StepLR(optimizer_of(tg), 3, last_epoch=4)),
        (ValueError, "Expected 2 lr_lambdas, but got 1", lambda: s.LambdaLR(o, [lambda e: 1])),
        (TypeError, "should be a function, but got int", lambda: s.MultiplicativeLR(o, 3)),
        (ValueError, "between 0 and 1", lambda: s.ConstantLR(o, 1.5)),
        (ValueError, "Starting multiplicative", lambda: s.LinearLR(o, 0)),
        (ValueError, "Ending multiplicative", lambda: s.LinearLR(o, 1, 2)),
        (ValueError, "positive integer T_0", lambda: s.CosineAnnealingWarmRestarts(o, 0)),
        (ValueError, "T_mult >= 1", lambda: s.CosineAnnealingWarmRestarts(o, 1, 0)),
        (ValueError, "mode is invalid", lambda: s.CyclicLR(o, 0.1, 0.2, mode="square")),
        (ValueError, "max_lr must have the same length", lambda: s.CyclicLR(o, 0.1, [0.2])),
        (ValueError, "must support momentum", lambda: s.CyclicLR(plain, 0.1, 0.2)),
        (ValueError, "must support momentum", lambda: s.OneCycleLR(plain, 0.1, 10)),
        (ValueError, "either total_steps OR", lambda: s.OneCycleLR(o, 0.1)),
        (ValueError, "positive integer epochs", lambda: s.OneCycleLR(o, 0.1, None, 0, 3)),
        (ValueError, "pct_start", lambda: s.OneCycleLR(o, 0.1, 10, pct_start=2.0)),
        (ValueError, "'cos' or 'linear'", lambda: s.OneCycleLR(o, 0.1, 9, anneal_strategy="x")),
        (ValueError, "at least one scheduler", lambda: s.SequentialLR(o, [], [])),
        (ValueError, "at least one scheduler", lambda: s.ChainedScheduler([])),
        (ValueError, "number of milestones", lambda: s.SequentialLR(o, [s.StepLR(o, 1)], [1])),
        (ValueError, "same optimizer", lambda: s.SequentialLR(plain, [s.StepLR(o, 1)], [])),
        (
            ValueError,
            "does not support `ReduceLROnPlateau`",
            lambda: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
        ),
        (ValueError, "Factor should be < 1", lambda: s.ReduceLROnPlateau(o, factor=1.0)),
        (ValueError, "mode up is unknown", lambda: s.ReduceLROnPlateau(o, mode="up")),
        (ValueError, "expected 2 min_lrs", lambda: s.ReduceLROnPlateau(o, min_lr=[1])),
        (ValueError, "anneal_epochs", lambda: tg.optim.swa_utils.SWALR(o, 0.1, -1)),
    ]:
        check_error(kind, pattern, call)
    once = s.OneCycleLR(o, 0.1, total_steps=1, pct_start=0.0)
    o.step()
    once.step()
    check_error(ValueError, "Tried to step 2 times", once.step)


def model_of(m):
    net = m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4), m.nn.Linear(4, 2))
    with m.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(m.from_numpy(randn(*p.shape, dtype=np.float32, seed=i)))
    return net


@pytest.mark.parametrize(
    "options",
    [
        lambda m: {},
        lambda m: {"use_buffers": True},
        lambda m: {"avg_fn": m.optim.swa_utils.get_ema_avg_fn(0.9)},
        lambda m: {"avg_fn": m.optim.swa_utils.get_swa_avg_fn()},
        lambda m: {"multi_avg_fn": m.optim.swa_utils.get_ema_multi_avg_fn(0.8)},
        lambda m: {
            "multi_avg_fn": m.optim.swa_utils.get_ema_multi_avg_fn(0.5),
            "use_buffers": True,
        },
        lambda m: {"avg_fn": lambda average, new, count: 0.5 * average + 0.5 * new},
    ],
)
def test_averaged_model(options):
    def run(m):
        net = model_of(m)
        average = m.optim.swa_utils.AveragedModel(net, **options(m))
        for step in range(4):
            net(m.from_numpy(randn(8, 3, dtype=np.float32, seed=step)))
            with m.no_grad():
                for p in net.parameters():
                    p.mul_(0.8)
            average.update_parameters(net)
        data = [m.from_numpy(randn(6, 3, dtype=np.float32, seed=50 + i)) for i in range(3)]
        m.optim.swa_utils.update_bn([[x, 0] for x in data], average)
        average.eval()
        return average.state_dict(), average(data[0])

    (ours, y), (theirs, expected) = run(tg), run(torch)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(as_array(ours[key]), as_array(value), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(as_array(y), as_array(expected), rtol=1e-4, atol=1e-5)


def test_average_complaints():
    u = tg.optim.swa_utils
    check_error(ValueError, "Invalid decay value 2", lambda: u.get_ema_avg_fn(2))
    check_error(
        AssertionError,
        "Only one of",
        lambda: u.AveragedModel(tg.nn.Identity(), avg_fn=max, multi_avg_fn=max),
    )

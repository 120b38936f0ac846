"""PyTorch's other names and paths for layers, and wrappers for several devices or processes."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn

# What torch.nn has and we have not; the reason stands beside it.
MISSING = {
    "CrossMapLRN2d",  # an old form of LocalResponseNorm
}


def test_every_layer_of_pytorch():
    theirs = {
        n
        for n, x in vars(torch.nn).items()
        if isinstance(x, type) and x.__module__[:8] == "torch.nn"
    }
    theirs -= {"Container"}  # deprecated for ten years
    assert {name for name in theirs if not hasattr(tg.nn, name)} == MISSING


def test_long_paths():
    classes = [x for x in vars(torch.nn).values() if isinstance(x, type)]
    named = {(x.__module__, x.__name__) for x in classes if x.__name__ not in MISSING}
    named = {pair for pair in named if ".modules." in pair[0] and pair[1] != "Container"}
    assert len(named) > 150
    for path, name in named:
        module = importlib.import_module(path.replace("torch", "tilegrad", 1))
        assert getattr(module, name) is getattr(tg.nn, name), f"{path}.{name}"
    from tilegrad.nn.modules.batchnorm import _BatchNorm
    from tilegrad.nn.modules.loss import _Loss

    from tilegrad.nn.modules.utils import _pair, _triple

    assert isinstance(tg.nn.BatchNorm1d(2), _BatchNorm) and isinstance(tg.nn.MSELoss(), _Loss)
    assert _pair(3) == (3, 3) and _triple([1, 2, 3]) == (1, 2, 3)
    with pytest.raises(ImportError):
        importlib.import_module("tilegrad.nn.modules.nothing")
    check_error(AttributeError, "no attribute 'Conv9d'", lambda: tg.nn.modules.conv.Conv9d)


def test_batch_normalization_over_one_process():
    net = tg.nn.Sequential(tg.nn.Conv2d(3, 4, 3), tg.nn.Sequential(tg.nn.BatchNorm2d(4)))
    x = tg.from_numpy(randn(2, 3, 5, 5, dtype=np.float32))
    expected = net.eval()(x)
    weight = net[1][0].weight
    converted = tg.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert type(converted[1][0]) is tg.nn.SyncBatchNorm and converted[1][0].weight is weight
    assert not converted[1][0].training
    np.testing.assert_array_equal(as_array(converted(x)), as_array(expected))
    check_error(ValueError, "at least 2D", lambda: tg.nn.SyncBatchNorm(3)(tg.zeros(3)))


def test_data_parallel_on_one_device():
    net = tg.nn.DataParallel(tg.nn.Linear(3, 2))
    assert list(net.state_dict()) == ["module.weight", "module.bias"]
    x = tg.ones(1, 3)
    assert net(x).tolist() == net.module(x).tolist()


def test_modules_do_what_they_can():
    net = tg.nn.Linear(3, 2)
    net.compile()
    assert net.share_memory() is net and net.weight.is_shared()
    assert tg.func.functional_call(
        net, {"weight": tg.zeros(2, 3), "bias": tg.ones(2)}, tg.ones(3)
    ).tolist() == [1, 1]

"""nn.init draws PyTorch's numbers, given PyTorch's seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error

CASES = [
    ("uniform_", (), {}),
    ("uniform_", (-2.0, 3.0), {}),
    ("normal_", (1.0, 0.5), {}),
    ("trunc_normal_", (), {}),
    ("trunc_normal_", (0.5, 2.0, -1.0, 1.5), {}),
    ("trunc_normal_", (0.0, 1.0, 1.0, 2.0), {}),
    ("constant_", (3.5,), {}),
    ("ones_", (), {}),
    ("zeros_", (), {}),
    ("eye_", (), {}),
    ("xavier_uniform_", (), {}),
    ("xavier_uniform_", (2.0,), {}),
    ("xavier_normal_", (), {}),
    ("kaiming_uniform_", (), {"a": 0.3}),
    ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", (), {"nonlinearity": "tanh"}),
    ("orthogonal_", (), {}),
    ("orthogonal_", (2.0,), {}),
    ("sparse_", (0.3,), {}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "args", "kwargs"), CASES)
def test_same_numbers(name, args, kwargs, dtype):
    for shape in ((5, 4), (4, 17)):
        tensors = []
        for m in (tg, torch):
            m.manual_seed(3)
            x = m.empty(*shape, dtype=getattr(m, dtype), requires_grad=True)
            assert getattr(m.nn.init, name)(x, *args, **kwargs) is x
            tensors.append(x)
        assert_same(*tensors, 1e-5, 1e-5, f"{name} {shape}")
        assert tensors[0].requires_grad and tensors[0].is_leaf


def test_convolution_weights():
    for name in ("kaiming_uniform_", "xavier_normal_", "orthogonal_"):
        tensors = []
        for m in (tg, torch):
            m.manual_seed(3)
            tensors.append(getattr(m.nn.init, name)(m.empty(6, 3, 5, 2)))
        assert_same(*tensors, 1e-4, 1e-5, name)


@pytest.mark.parametrize("shape", [(4, 3, 5), (6, 2, 3, 3), (4, 4, 3, 3, 3)])
def test_dirac(shape):
    for groups in (1, 2):
        ours = tg.nn.init.dirac_(tg.empty(*shape), groups)
        assert_same(ours, torch.nn.init.dirac_(torch.empty(*shape), groups), 0, 0, "dirac")


def test_generator():
    ours = tg.nn.init.normal_(tg.empty(4), generator=tg.Generator().manual_seed(5))
    theirs = torch.nn.init.normal_(torch.empty(4), generator=torch.Generator().manual_seed(5))
    assert_same(ours, theirs, 1e-6, 1e-6, "generator")


@pytest.mark.parametrize(
    ("name", "param"),
    [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None),
     ("leaky_relu", None), ("leaky_relu", 0.3), ("selu", None), ("conv_transpose3d", None)],
)  # fmt: skip
def test_gain(name, param):
    assert tg.nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


def test_refused():
    init, flat = tg.nn.init, tg.empty(3)
    check_error(ValueError, "Unsupported nonlinearity", lambda: init.calculate_gain("gelu"))
    check_error(ValueError, "not a valid number", lambda: init.calculate_gain("leaky_relu", "x"))
    check_error(ValueError, "fewer than 2 dimensions", lambda: init.xavier_uniform_(flat))
    check_error(ValueError, "2 dimensions", lambda: init.eye_(flat))
    check_error(ValueError, "3, 4, or 5 dimensions", lambda: init.dirac_(flat))
    check_error(ValueError, "divisible by groups", lambda: init.dirac_(tg.empty(3, 3, 3), 2))
    check_error(ValueError, "2 or more dimensions", lambda: init.orthogonal_(flat))
    check_error(ValueError, "2 dimensions", lambda: init.sparse_(flat, 0.5))
    check_error(
        ValueError, "Mode x not supported", lambda: init.kaiming_normal_(tg.empty(2, 2), mode="x")
    )
    with pytest.warns(UserWarning, match="no-op"):
        init.kaiming_uniform_(tg.empty(0, 3))
    with pytest.warns(UserWarning, match="2 std"):
        init.trunc_normal_(tg.empty(3), mean=10.0)


def test_orthogonal_is_orthogonal():
    q = as_array(tg.nn.init.orthogonal_(tg.empty(5, 3, dtype=tg.float64)))
    np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-12)

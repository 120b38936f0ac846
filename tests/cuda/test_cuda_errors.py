"""What goes wrong on a device is a clear exception, and the next call works."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu


def there(*shape):
    return tg.from_numpy(np.ones(shape, np.float32)).to("cuda")


MIXED = {
    "add": lambda: there(2) + tg.ones(2),
    "sub": lambda: tg.ones(2) - there(2),
    "matmul": lambda: there(2, 2) @ tg.ones(2, 2),
    "linear": lambda: tg.nn.functional.linear(there(2, 2), there(2, 2), tg.ones(2)),
    "where": lambda: tg.where(there(2) > 0, there(2), tg.ones(2)),
    "compare": lambda: there(2) == tg.ones(2),
    "equal": lambda: tg.equal(there(2), tg.ones(2)),
    "layer_norm": lambda: tg.nn.functional.layer_norm(there(2, 3), (3,), tg.ones(3)),
    "batch_norm": lambda: tg.nn.functional.batch_norm(there(2, 3), tg.zeros(3), tg.ones(3)),
    "group_norm": lambda: tg.nn.functional.group_norm(there(2, 4), 2, tg.ones(4)),
    "cross_entropy": lambda: tg.nn.functional.cross_entropy(there(2, 3), tg.tensor([0, 1])),
    "in place": lambda: there(2).add_(tg.ones(2)),
    "cat": lambda: tg.cat([there(2), tg.ones(2)]),
    "gradient": lambda: there(2).requires_grad_().mul(2).backward(tg.ones(2)),
}


@pytest.mark.parametrize("name", MIXED)
def test_devices_do_not_mix(name):
    with pytest.raises(RuntimeError, match=r"device|cuda"):
        MIXED[name]()
    assert (there(3) + 1).sum().item() == 6


def test_numbers_and_tensors_without_dimensions_do():
    assert (there(2) * tg.tensor(3.0)).tolist() == [3, 3]
    assert (tg.tensor(3.0) - there(2)).tolist() == [2, 2]
    assert (there(2) + 0.5).tolist() == [1.5, 1.5]


MAYBE_WITHOUT = {
    "grid_sample": lambda: tg.nn.functional.grid_sample(
        there(1, 1, 2, 2), there(1, 2, 2, 2), align_corners=False
    ),
    "lgamma": lambda: there(2).lgamma(),
    "cumsum": lambda: there(2).cumsum(0),
    "sort": lambda: there(2).sort(),
    "complex": lambda: there(2).to(tg.complex64) * there(2).to(tg.complex64),
    "lstm": lambda: tg.nn.LSTM(2, 3).to("cuda")(there(4, 1, 2)),
}


@pytest.mark.parametrize("name", MAYBE_WITHOUT)
def test_operations_without_a_kernel_name_the_operation_and_the_device(name):
    try:
        MAYBE_WITHOUT[name]()
    except NotImplementedError as error:
        text = str(error)
        assert "there is no CUDA kernel for this operation on device 'cuda:0'" in text
        assert text.index(":") > 0
    assert there(2).sum().item() == 2


def test_numpy_and_other_hosts_do_not_see_device_memory():
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        there(2).numpy()
    with pytest.raises((TypeError, BufferError, RuntimeError)):
        memoryview(there(2))


def test_misaligned_views_are_computed_like_others():
    whole = tg.arange(20, dtype=tg.float32, device="cuda")
    for first in range(1, 4):
        view = whole[first : first + 12]
        assert (view * 2).tolist() == [2.0 * i for i in range(first, first + 12)]
        assert view.sum().item() == sum(range(first, first + 12))
        row = view.view(3, 4)
        host = row.cpu()
        assert np.allclose((row @ row.t()).cpu().numpy(), (host @ host.t()).numpy())
        for f in (tg.softmax, tg.sum, tg.cumsum)[:2]:
            assert np.allclose(f(row, 1).cpu().numpy(), f(host, 1).numpy())


def test_zero_sizes():
    x = tg.zeros(0, 3, device="cuda", requires_grad=True)
    y = tg.nn.functional.linear(x, tg.ones(4, 3, device="cuda"))
    assert y.shape == (0, 4)
    (y * 2 + 1).sum().backward()
    assert x.grad.shape == (0, 3) and tg.zeros(0, device="cuda").sum().item() == 0
    assert x.detach().cpu().tolist() == [] and tg.empty(0, device="cuda").data_ptr() == 0


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range(labels):
    target = tg.tensor(labels, device="cuda")
    check_error(
        IndexError, "out of bounds", lambda: tg.nn.functional.cross_entropy(there(2, 3), target)
    )
    assert tg.nn.functional.cross_entropy(there(2, 3), target.abs() % 3).item() > 0


def test_division_by_zero_is_found():
    check_error(RuntimeError, "zero", lambda: tg.arange(3, device="cuda") // 0)
    check_error(
        RuntimeError, "zero",
        lambda: tg.arange(3, device="cuda") % tg.tensor([1, 0, 1], device="cuda"),
    )  # fmt: skip

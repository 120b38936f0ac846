"""What goes wrong on a device is a clear exception, and the next call works."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check_error, randn

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


# Views of the same 60 numbers, as (4, 5) matrices: what a kernel must read by strides.
VIEWS = {
    "contiguous": lambda x: x[:20].view(4, 5),
    "misaligned": lambda x: x[1:21].view(4, 5),
    "transposed": lambda x: x[:20].view(5, 4).t(),
    "every other column": lambda x: x[:40].view(4, 10)[:, ::2],
    "every other row": lambda x: x[:40].view(8, 5)[1::2],
    "cut out": lambda x: x.view(6, 10)[1:5, 3:8],
    "expanded": lambda x: x[3:4].expand(4, 5),
    "rows expanded": lambda x: x[1:6].expand(4, 5),
    "overlapping": lambda x: x.as_strided((4, 5), (2, 1), 7),
}
F = tg.nn.functional
OF_VIEWS = {
    "mul": lambda x: x * 2 + x,
    "compare": lambda x: (x > 0).to(tg.float32),
    "to": lambda x: x.to(tg.float64),
    "exp": lambda x: x.exp(),
    "where": lambda x: tg.where(x > 0, x, -x),
    "sum": lambda x: x.sum(0),
    "argmax": lambda x: x.argmax(1),
    "matmul": lambda x: x @ x.t(),
    "linear": lambda x: F.linear(x, x, x[:, 0]),
    "softmax": lambda x: F.softmax(x, 0),
    "layer_norm": lambda x: F.layer_norm(x, (5,), x[0], x[1]),
    "batch_norm": lambda x: F.batch_norm(x, x.mean(0), x.var(0)),
    "group_norm": lambda x: F.group_norm(x[None], 2),
    "cross_entropy": lambda x: F.cross_entropy(x, x[:, 0].abs().to(tg.int64) % 5),
    "conv2d": lambda x: F.conv2d(x[None, None], x[None, None, :2, :3], padding=1),
    "depthwise": lambda x: F.conv2d(x[None, :, :, None], x[:, None, :2, None], groups=4),
    "max_pool2d": lambda x: F.max_pool2d(x[None, None], 2),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "embedding": lambda x: F.embedding(x.abs().to(tg.int64) % 4, x),
    "index": lambda x: x[x[:, 0].abs().to(tg.int64) % 4],
    "gather": lambda x: x.gather(1, x.abs().to(tg.int64) % 5),
    "scatter_add": lambda x: x.scatter_add(1, x.abs().to(tg.int64) % 5, x),
    "cumsum": lambda x: x.cumsum(1),
    "sort": lambda x: x.sort(0).values,
    "topk": lambda x: x.topk(3).values,
    "cat": lambda x: tg.cat((x, x.t().reshape(4, 5))),
    "interpolate": lambda x: F.interpolate(x[None, None], scale_factor=2.0),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", OF_VIEWS)
def test_views_of_any_strides_are_computed_like_others(name, view):
    numbers = tg.from_numpy(randn(60, dtype=np.float32))
    here, on_card = (OF_VIEWS[name](VIEWS[view](x)) for x in (numbers, numbers.to("cuda")))
    assert on_card.is_cuda
    np.testing.assert_allclose(on_card.cpu().numpy(), here.numpy(), rtol=1e-5, atol=1e-5)


# Tensor cores read 16 bytes at a time, where that many lie at such an address.
@pytest.mark.parametrize("dtype", [tg.bfloat16, tg.float16])
@pytest.mark.parametrize("first", [0, 1, 2, 4, 8])
def test_halves_at_any_address(first, dtype):
    numbers = tg.from_numpy(randn(3000, dtype=np.float32)).to(dtype).to("cuda")[first:]
    x = numbers[:2304].view(1, 4, 24, 24)
    exact = x.to(tg.float32)
    for function in (
        lambda x: x @ x.transpose(-1, -2),
        lambda x: F.conv2d(x, x[:, :, :3, :3], padding=1),
        lambda x: F.scaled_dot_product_attention(x, x, x),
    ):
        result = function(x).to(tg.float32).cpu().numpy()
        np.testing.assert_allclose(result, function(exact).cpu().numpy(), 0.02, 0.1)


LARGE = {
    "empty": lambda: tg.empty(2**45, device="cuda"),
    "ones": lambda: tg.ones(2**33, 2**10, device="cuda"),
    "an expanded sum": lambda: there(1).expand(2**40) + 1,
    "matmul": lambda: there(1, 1).expand(2**39, 1) @ there(1, 4),
    "outer": lambda: there(2**20)[:, None] * there(2**20),
    "linear": lambda: F.linear(there(1, 1).expand(2**31 + 5, 1), there(64, 1)),
    "conv2d": lambda: F.conv2d(there(1, 1, 3, 3), there(1, 1, 1, 1), padding=2**29),
    "pad": lambda: F.pad(there(3), (2**40, 0)),
    "repeat": lambda: there(4).repeat(2**40),
    "interpolate": lambda: F.interpolate(there(1, 1, 2, 2), size=(2**20, 2**20)),
    "one_hot": lambda: F.one_hot(tg.arange(2**10, device="cuda"), 2**40),
    "too many to count": lambda: tg.empty(2**40, 2**40, device="cuda"),
    "arange": lambda: tg.arange(0, 2**50, device="cuda"),
}


@pytest.mark.parametrize("name", LARGE)
def test_sizes_beyond_the_card_are_an_error_and_no_more(name):
    with pytest.raises(RuntimeError, match=r"memory|too large|overflow|elements"):
        LARGE[name]()
    assert (there(3) + 1).sum().item() == 6


def test_places_beyond_32_bits():
    free, _ = tg.cuda.mem_get_info()
    size = 2**32 + 40  # of bytes
    if free < size + 2**20:
        pytest.skip("needs 4 GiB of the card's memory")
    x = tg.empty(size, dtype=tg.uint8, device="cuda")
    x[2**31 - 3 : 2**31 + 3] = 5
    x[2**32 :] = tg.arange(40, device="cuda", dtype=tg.uint8)
    assert x[2**31 - 3 : 2**31 + 3].tolist() == [5] * 6
    place = tg.tensor([2**32 + 7, 2**31, 2**32 + 39], device="cuda")
    assert x[place].tolist() == [7, 5, 39] == x.index_select(0, place).tolist()
    assert x.gather(0, place).tolist() == [7, 5, 39]
    assert x[2**32 :].to(tg.int64).sum().item() == 780
    x.index_fill_(0, place, 9)
    assert x[2**32 + 6 : 2**32 + 9].tolist() == [6, 9, 8]
    assert x[:: 2**31].shape == (3,) and x[:: 2**31][1:].tolist() == [9, 0]
    check_error(IndexError, "out of bounds", lambda: x[place + 1])
    assert x[-1].item() == 9


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

"""DataParallel and DistributedDataParallel move what a module on a device is called with."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check_error, randn

pytestmark = pytest.mark.gpu
Pair = collections.namedtuple("Pair", "first second")


class Net(tg.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = tg.nn.Linear(3, 2)
        self.seen = None

    def forward(self, x, *others, **options):
        self.seen = (others, options)
        return self.linear(x)


@pytest.fixture
def group(tmp_path):
    tg.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/f", rank=0, world_size=1
    )
    yield
    tg.distributed.destroy_process_group()


def check_moves(wrapped, net):
    x = tg.from_numpy(randn(4, 3, dtype=np.float32)).requires_grad_()
    y = wrapped(x, [x, "text"], Pair(x, 1), mask={"a": (x, None)}, flag=True)
    assert y.is_cuda
    (items, pair), options = net.seen
    assert items[0].is_cuda and items[1] == "text" and type(pair) is Pair and pair.first.is_cuda
    assert options["mask"]["a"][0].is_cuda and options["mask"]["a"][1] is None and options["flag"]
    weights = [as_array(p.detach().cpu()) for p in net.linear.parameters()]
    np.testing.assert_allclose(as_array(y), as_array(x) @ weights[0].T + weights[1], rtol=1e-5)
    y.sum().backward()
    assert x.grad.device.type == "cpu" and net.linear.weight.grad.is_cuda
    np.testing.assert_allclose(as_array(x.grad), np.tile(weights[0].sum(0), (4, 1)), rtol=1e-5)


@pytest.mark.parametrize("ids", [[0], None, ["cuda:0"], [tg.device("cuda", 0)]])
def test_data_parallel(ids):
    net = Net()
    wrapped = tg.nn.DataParallel(net, device_ids=ids)
    assert wrapped.device_ids == [0] == [wrapped.output_device] and net.linear.weight.is_cuda
    check_moves(wrapped.cuda(), net)
    assert tg.nn.parallel.data_parallel(net, tg.ones(1, 3), [0]).is_cuda
    net.cpu()
    check_error(RuntimeError, "on device cuda:0.*found one of them on device: cpu",
                lambda: wrapped(tg.ones(1, 3)))  # fmt: skip
    check_error(NotImplementedError, "one device", lambda: tg.nn.DataParallel(net, [0, 1]))


@pytest.mark.usefixtures("group")
def test_distributed_data_parallel():
    net = Net().cuda()
    check_moves(tg.nn.parallel.DistributedDataParallel(net, device_ids=[0]), net)
    plain = tg.nn.parallel.DistributedDataParallel(net)
    check_error(RuntimeError, "device", lambda: plain(tg.ones(1, 3)))  # as in PyTorch
    ddp = tg.nn.parallel.DistributedDataParallel
    check_error(ValueError, "device_ids.*cpu", lambda: ddp(Net(), device_ids=[0]))
    check_error(ValueError, "device_ids", lambda: ddp(net, device_ids=[0, 1]))

"""Graphs: capture and replay of kernels, up to whole training steps."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check_error, randn

pytestmark = pytest.mark.gpu


def there(*shape, seed=0):
    return tg.from_numpy(randn(*shape, dtype=np.float32, seed=seed)).to("cuda")


def test_a_replay_computes_with_what_its_inputs_hold_now():
    x = there(40, 50)
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        y = (x @ x.t()).softmax(1) * 2.0
        assert tg.cuda.is_current_stream_capturing()
    assert not tg.cuda.is_current_stream_capturing()
    for seed in (1, 2):
        x.copy_(there(40, 50, seed=seed))
        graph.replay()
        np.testing.assert_array_equal(y.cpu().numpy(), ((x @ x.t()).softmax(1) * 2.0).cpu().numpy())


def test_graphs_may_share_memory():
    x = there(1000)
    first, second = tg.cuda.CUDAGraph(), tg.cuda.CUDAGraph()
    with tg.cuda.graph(first):
        y = x + 1
    with tg.cuda.graph(second, pool=first.pool()):
        z = y * 2
    first.replay()
    second.replay()
    np.testing.assert_allclose(z.cpu().numpy(), (x.cpu().numpy() + 1) * 2)
    assert first.pool() == second.pool() != tg.cuda.graph_pool_handle()
    first.reset()
    check_error(RuntimeError, "replay", first.replay)


def network():
    net = tg.nn.Sequential(tg.nn.Linear(6, 16), tg.nn.Tanh(), tg.nn.LayerNorm(16),
                           tg.nn.Linear(16, 4))  # fmt: skip
    with tg.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(tg.from_numpy(0.3 * randn(*p.shape, dtype=np.float32, seed=i)))
    return net.to("cuda")


def train(net, optimizer, x, target):
    optimizer.zero_grad(set_to_none=False)
    loss = tg.nn.functional.cross_entropy(net(x), target)
    loss.backward()
    optimizer.step()
    return loss


# What has a step count of its own counts it on the card.
OPTIMIZERS = {
    "SGD": lambda p: tg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: tg.optim.Adam(p, lr=0.1, capturable=True),
    "AdamW, a rate on the card": lambda p: tg.optim.AdamW(
        p, lr=tg.tensor(0.1, device="cuda"), weight_decay=0.1, amsgrad=True, capturable=True
    ),
    "RAdam": lambda p: tg.optim.RAdam(p, lr=0.1, capturable=True),
    "Adamax": lambda p: tg.optim.Adamax(p, lr=0.1, capturable=True),
    "RMSprop": lambda p: tg.optim.RMSprop(p, lr=0.01, momentum=0.9, capturable=True),
    "Adadelta": lambda p: tg.optim.Adadelta(p, lr=0.1, capturable=True),
    "Rprop": lambda p: tg.optim.Rprop(p, lr=0.01, capturable=True),
    "NAdam": lambda p: tg.optim.NAdam(p, lr=0.1, capturable=True),
    "NAdam, a rate on the card": lambda p: tg.optim.NAdam(
        p,
        lr=tg.tensor(0.1, device="cuda"),
        weight_decay=0.1,
        decoupled_weight_decay=True,
        capturable=True,
    ),
    "ASGD": lambda p: tg.optim.ASGD(p, lr=0.1, t0=1, capturable=True),
    "ASGD, a rate on the card": lambda p: tg.optim.ASGD(
        p, lr=tg.tensor(0.1, device="cuda"), lambd=0.1, capturable=True
    ),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_training_step_as_a_graph(kind):
    x, target = there(8, 6), tg.tensor([0, 1, 2, 3] * 2, device="cuda")
    plain, captured = network(), network()
    optimizers = [OPTIMIZERS[kind](net.parameters()) for net in (plain, captured)]
    side = tg.cuda.Stream()
    side.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(side):
        for _ in range(2):
            train(captured, optimizers[1], x, target)
    tg.cuda.current_stream().wait_stream(side)
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        loss = train(captured, optimizers[1], x, target)
    for _ in range(2):
        train(plain, optimizers[0], x, target)
    for seed in (3, 4, 5):
        x.copy_(there(8, 6, seed=seed))
        expected = train(plain, optimizers[0], x, target)
        graph.replay()
        assert loss.item() == expected.item()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                if isinstance(group["lr"], tg.Tensor):
                    group["lr"].mul_(0.5)  # the graph reads it anew
    for a, b in zip(plain.parameters(), captured.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())
        for name, state in optimizers[0].state[a].items():
            if state is not None:
                other = optimizers[1].state[b][name]
                np.testing.assert_array_equal(state.cpu().numpy(), other.cpu().numpy())


def test_what_waits_cannot_be_captured():
    x = there(5)
    graph = tg.cuda.CUDAGraph()
    refused = pytest.raises(RuntimeError, match="not permitted when stream is capturing")
    with refused, tg.cuda.graph(graph):
        x.sum().item()
    check_error(RuntimeError, "replay", graph.replay)
    with tg.cuda.graph(graph):  # the next capture works
        y = x * 2
    graph.replay()
    np.testing.assert_array_equal(y.cpu().numpy(), 2 * x.cpu().numpy())
    check_error(RuntimeError, "non-default stream", tg.cuda.CUDAGraph().capture_begin)
    check_error(RuntimeError, "no capture", tg.cuda.CUDAGraph().capture_end)


def test_a_capture_that_is_given_up_leaves_the_card_usable():
    x = there(5)
    with tg.cuda.stream(tg.cuda.Stream()):
        graph = tg.cuda.CUDAGraph()
        graph.capture_begin()
        x + 1
        del graph
        assert not tg.cuda.is_current_stream_capturing()
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        y = x * 2
    graph.replay()
    np.testing.assert_array_equal(y.cpu().numpy(), 2 * x.cpu().numpy())


def test_graphed_callables():
    net, twin = network(), network()
    sample = there(8, 6).requires_grad_()
    tg.cuda.make_graphed_callables(net, (sample,))
    for seed in (1, 2):
        results = []
        for model in (net, twin):
            x = there(8, 6, seed=seed).requires_grad_()
            model.zero_grad()
            y = model(x)
            (y * y).sum().backward()
            results.append([y, x.grad, *[p.grad for p in model.parameters()]])
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(
                a.detach().cpu().numpy(), b.detach().cpu().numpy(), rtol=1e-6, atol=1e-6
            )
    with pytest.raises(ValueError, match="sample_args"):
        net(there(9, 6))
    net.eval()
    assert net(there(9, 6)).shape == (9, 4)  # the other mode runs as ever
    double = tg.cuda.make_graphed_callables(lambda a, b: (a + b, a * b), (there(3), there(3)))
    total, product = double(there(3, seed=1), there(3, seed=2))
    a, b = there(3, seed=1).cpu().numpy(), there(3, seed=2).cpu().numpy()
    np.testing.assert_allclose(total.cpu().numpy(), a + b)
    np.testing.assert_allclose(product.cpu().numpy(), a * b)

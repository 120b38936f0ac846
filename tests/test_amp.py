"""Mixed precision beside PyTorch's: which dtypes come out, what numbers, and the scaler."""

from __future__ import annotations

import copy
import threading
import warnings

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn


def constant(m, layer):
    with m.no_grad():
        for p in layer.parameters():
            p.fill_(0.2)
    return layer


FUNCTIONS = {
    "linear": lambda m, t: m.nn.functional.linear(t(4, 6), t(5, 6), t(5)),
    "matmul": lambda m, t: t(4, 6) @ t(6, 3),
    "mm": lambda m, t: m.mm(t(4, 6), t(6, 3)),
    "bmm": lambda m, t: m.bmm(t(2, 4, 6), t(2, 6, 3)),
    "addmm": lambda m, t: m.addmm(t(4, 3), t(4, 6), t(6, 3)),
    "baddbmm": lambda m, t: m.baddbmm(t(2, 4, 3), t(2, 4, 6), t(2, 6, 3)),
    "mv": lambda m, t: m.mv(t(4, 6), t(6)),
    "dot": lambda m, t: m.dot(t(6), t(6)),
    "conv1d": lambda m, t: m.nn.functional.conv1d(t(2, 3, 8), t(4, 3, 3), t(4)),
    "conv2d": lambda m, t: m.nn.functional.conv2d(t(2, 3, 8, 8), t(4, 3, 3, 3)),
    "conv3d": lambda m, t: m.nn.functional.conv3d(t(1, 2, 5, 5, 5), t(3, 2, 2, 2, 2)),
    "transposed": lambda m, t: m.nn.functional.conv_transpose2d(t(2, 3, 5, 5), t(3, 4, 3, 3)),
    "attention": lambda m, t: m.nn.functional.scaled_dot_product_attention(*[t(1, 2, 5, 4)] * 3),
    "float64": lambda m, t: m.nn.functional.linear(t(4, 6).double(), t(5, 6).double()),
    "integers": lambda m, t: m.ones(3, 3, dtype=m.int64) @ m.ones(3, 3, dtype=m.int64),
    "sum": lambda m, t: t(4, 6).bfloat16().sum(),
    "softmax": lambda m, t: m.softmax(t(4, 6).bfloat16(), 1),
    "gelu": lambda m, t: m.nn.functional.gelu(t(4, 6).bfloat16()),
    "layer_norm": lambda m, t: m.nn.functional.layer_norm(t(4, 6).bfloat16(), (6,)),
    "mixed sum": lambda m, t: t(4, 6).bfloat16() + t(4, 6),
    "cat": lambda m, t: m.cat([t(4, 6).bfloat16(), t(4, 6)]),
    "mse": lambda m, t: m.nn.functional.mse_loss(t(4, 6).bfloat16(), t(4, 6).bfloat16()),
    "cross_entropy": lambda m, t: m.nn.functional.cross_entropy(
        t(4, 6).bfloat16(), m.tensor([0, 3, 5, 1])
    ),
    "nll": lambda m, t: m.nn.functional.nll_loss(t(4, 6).bfloat16(), m.tensor([0, 3, 5, 1])),
    "bce": lambda m, t: m.nn.functional.binary_cross_entropy_with_logits(
        t(4, 6).bfloat16(), t(4, 6).sigmoid()
    ),
    "huber": lambda m, t: m.nn.functional.huber_loss(t(4, 6).bfloat16(), t(4, 6).bfloat16()),
    "prelu": lambda m, t: m.nn.functional.prelu(t(4, 6), t(6)),
    "addbmm": lambda m, t: m.addbmm(t(4, 3), t(2, 4, 6), t(2, 6, 3)),
    "vecdot": lambda m, t: m.linalg.vecdot(t(4, 6), t(4, 6)),
    "addmv": lambda m, t: m.addmv(t(4), t(4, 6), t(6)),
    "addr": lambda m, t: m.addr(t(4, 6), t(4), t(6)),
    "prod": lambda m, t: t(4, 6).bfloat16().prod(),
    "prod of a dtype": lambda m, t: t(4, 6).bfloat16().prod(1, dtype=m.bfloat16),
    "cdist": lambda m, t: m.cdist(t(4, 6).bfloat16(), t(3, 6).bfloat16()),
    "trace": lambda m, t: m.trace(t(4, 6).bfloat16()),
    "reflect": lambda m, t: m.nn.functional.pad(t(4, 6).bfloat16(), (2, 1), mode="reflect"),
    "replicate": lambda m, t: m.nn.functional.pad(t(4, 6).bfloat16(), (2, 1), mode="replicate"),
    "constant": lambda m, t: m.nn.functional.pad(t(4, 6).bfloat16(), (2, 1)),
    "quantile": lambda m, t: t(4, 6).bfloat16().quantile(0.3),
    "inv": lambda m, t: m.linalg.inv(t(4, 4).bfloat16()),
    "svdvals": lambda m, t: m.linalg.svdvals(t(4, 6).bfloat16()),
    "solve": lambda m, t: m.linalg.solve(t(4, 4).bfloat16(), t(4, 2).bfloat16()),
    "cholesky": lambda m, t: m.linalg.cholesky((m.eye(4) + 0.1).bfloat16()),
    "eigvalsh": lambda m, t: m.linalg.eigvalsh(t(4, 4).bfloat16()),
    "qr": lambda m, t: m.linalg.qr(t(4, 6).bfloat16()).R.abs(),
    "rfft": lambda m, t: m.fft.rfft(t(4, 6).bfloat16()).abs(),
    "grid_sample": lambda m, t: m.nn.functional.grid_sample(
        t(1, 2, 4, 4).bfloat16(), t(1, 3, 3, 2).bfloat16(), align_corners=False
    ),
    "lstm": lambda m, t: constant(m, m.nn.LSTM(6, 3))(t(4, 2, 6))[0].detach(),
    "norm": lambda m, t: t(4, 6).bfloat16().norm(),
    "logsumexp": lambda m, t: t(4, 6).bfloat16().logsumexp(1),
    "avg_pool3d": lambda m, t: m.nn.functional.avg_pool3d(t(1, 2, 4, 4, 4).bfloat16(), 2),
    "avg_pool2d": lambda m, t: m.nn.functional.avg_pool2d(t(2, 4, 4, 4).bfloat16(), 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes_and_values(name):
    def run(m):
        with m.autocast("cpu", dtype=m.bfloat16):
            return FUNCTIONS[name](m, lambda *shape: m.from_numpy(randn(*shape, dtype=np.float32)))

    ours, theirs = run(tg), run(torch)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    a, b = as_array(ours.double()), theirs.double().numpy()
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2 * np.abs(b).max())


def network(m):
    f = m.nn
    net = f.Sequential(
        f.Conv2d(3, 8, 3), f.BatchNorm2d(8), f.ReLU(), f.Flatten(), f.Linear(128, 16),
        f.LayerNorm(16), f.GELU(), f.Linear(16, 5),
    )  # fmt: skip
    with m.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(m.from_numpy(0.2 * randn(*p.shape, dtype=np.float32, seed=i)))
    return net


def test_a_step_of_training():
    def run(m):
        net = network(m)
        with m.autocast(device_type="cpu"):
            y = net(m.from_numpy(randn(4, 3, 6, 6, dtype=np.float32)))
            loss = m.nn.functional.cross_entropy(y, m.tensor([1, 2, 0, 4]))
        loss.backward()
        return y, loss, [p.grad for p in net.parameters()]

    (y, loss, grads), (_, their_loss, their_grads) = run(tg), run(torch)
    assert y.dtype is tg.bfloat16 and loss.dtype is tg.float32
    assert loss.item() == pytest.approx(their_loss.item(), rel=2e-2)
    for a, b in zip(grads, their_grads, strict=True):
        assert a.dtype is tg.float32
        scale = b.abs().max().item() + 1e-2
        np.testing.assert_allclose(as_array(a), as_array(b), atol=6e-2 * scale)


def test_blocks_nest_and_decorate():
    x = tg.ones(2, 2)
    with tg.autocast("cpu"):
        assert (x @ x).dtype is tg.bfloat16 and tg.is_autocast_enabled("cpu")
        with tg.amp.autocast("cpu", enabled=False):
            assert (x @ x).dtype is tg.float32 and not tg.is_autocast_enabled("cpu")
        with tg.amp.autocast("cpu", dtype=tg.float16):
            assert (x @ x).dtype is tg.float16
            assert tg.get_autocast_dtype("cpu") is tg.float16
        assert (x @ x).dtype is tg.bfloat16
    assert (x @ x).dtype is tg.float32

    @tg.autocast("cpu")
    def product():
        return x @ x

    assert product().dtype is tg.bfloat16 and not tg.is_autocast_enabled("cpu")
    with pytest.raises(ZeroDivisionError), tg.autocast("cpu"):
        raise ZeroDivisionError
    assert (x @ x).dtype is tg.float32


def test_it_holds_for_one_thread():
    x = tg.ones(2, 2)
    seen = []
    with tg.autocast("cpu"):
        other = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        other.start()
        other.join()
    assert seen == [tg.float32]


def test_fused_neighbours_agree_with_single_layers():
    net = tg.nn.Sequential(tg.nn.Linear(8, 8), tg.nn.ReLU(), tg.nn.Linear(8, 4))
    x = tg.from_numpy(randn(3, 8, dtype=np.float32))
    with tg.autocast("cpu"):
        fused = net(x)
        for layer in net:
            x = layer(x)
    assert fused.dtype is x.dtype is tg.bfloat16 and fused.tolist() == x.tolist()


@pytest.mark.skipif(tg.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_cuda():
    x = tg.ones(2, 2)
    with pytest.warns(UserWarning, match="CUDA is not available. Disabling"):
        context = tg.autocast("cuda")
    with context:
        assert (x @ x).dtype is tg.float32
    with pytest.warns(FutureWarning, match="deprecated"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA is not available")
        scaler = tg.cuda.amp.GradScaler()
    assert not scaler.is_enabled() and scaler.scale(x) is x and scaler.state_dict() == {}
    assert scaler.get_scale() == 1.0
    with pytest.warns(FutureWarning), tg.cuda.amp.autocast(enabled=False):
        assert (x @ x).dtype is tg.float32


def test_complaints():
    check_error(RuntimeError, "unsupported autocast device_type 'tpu'", lambda: tg.autocast("tpu"))
    check_error(ValueError, "Expected `device_type` of type `str`", lambda: tg.autocast(3))
    with pytest.warns(UserWarning, match="not supported. Disabling"):
        tg.autocast("cpu", dtype=tg.float32)
    scaler = tg.amp.GradScaler
    check_error(AssertionError, "growth factor", lambda: scaler("cpu", growth_factor=1.0))
    check_error(AssertionError, "backoff factor", lambda: scaler("cpu", backoff_factor=1.0))
    check_error(ValueError, "outputs must be", lambda: scaler("cpu").scale(3))


def scaler_history(m, spoil):
    p = m.nn.Parameter(m.ones(3))
    optimizer = m.optim.SGD([p], lr=0.1)
    scaler = m.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    history = []
    for step in range(7):
        optimizer.zero_grad()
        loss = (p * p).sum() * (float("inf") if step in spoil else 1.0)
        scaler.scale(loss).backward()
        if step % 2:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        history.append([scaler.get_scale(), *p.tolist()])
    return history, scaler


@pytest.mark.parametrize("spoil", [(), (2,), (0, 1, 5)])
def test_scaler(spoil):
    (ours, scaler), (theirs, other) = scaler_history(tg, spoil), scaler_history(torch, spoil)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert scaler.state_dict() == other.state_dict()
    twin = tg.amp.GradScaler("cpu")
    twin.load_state_dict(copy.deepcopy(other.state_dict()))
    assert twin.state_dict() == scaler.state_dict()


def test_scaler_refuses_a_wrong_order():
    p = tg.nn.Parameter(tg.ones(3))
    optimizer = tg.optim.SGD([p], lr=0.1)
    scaler = tg.amp.GradScaler("cpu")
    check_error(AssertionError, "_scale is None", lambda: scaler.step(optimizer))
    scaler.scale(p.sum())
    check_error(AssertionError, "No inf checks", lambda: scaler.step(optimizer))
    scaler.scale(p.sum()).backward()
    scaler = tg.amp.GradScaler("cpu")
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    check_error(RuntimeError, "already been called", lambda: scaler.unscale_(optimizer))
    scaler.step(optimizer)
    check_error(RuntimeError, "after step", lambda: scaler.unscale_(optimizer))
    check_error(RuntimeError, "already been called", lambda: scaler.step(optimizer))
    check_error(RuntimeError, "Closure", lambda: scaler.step(optimizer, closure=lambda: 1))


def test_functions_of_users():
    class Product(tg.autograd.Function):
        @staticmethod
        @tg.amp.custom_fwd(device_type="cpu", cast_inputs=tg.float32)
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @tg.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            a, b = ctx.saved_tensors
            assert not tg.is_autocast_enabled("cpu")
            return grad @ b.t(), a.t() @ grad

    a, b = tg.ones(2, 3, requires_grad=True), tg.ones(3, 2).bfloat16()
    with tg.autocast("cpu"):
        y = Product.apply(a, b)
        y.sum().backward()
    assert y.dtype is tg.float32 and a.grad.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize("kind", ["RNN", "GRU", "RNNCell", "GRUCell", "LSTMCell"])
def test_recurrent_layers_give_the_dtypes_of_pytorch(kind):
    x = randn(4, 5, 6, dtype=np.float32)
    x = x if kind in ("RNN", "GRU") else x[0]
    results = []
    for m in (tg, torch):
        layer, first = getattr(m.nn, kind)(6, 3), m.nn.Linear(6, 6)
        with m.autocast("cpu", dtype=m.bfloat16):
            for given in (m.from_numpy(x), first(m.from_numpy(x))):
                y = layer(given)
                y = y if isinstance(y, tuple) else (y,)
                results.append([str(z.dtype).split(".")[1] for z in y])
    assert results[:2] == results[2:]


def test_lstm_after_a_small_layer():
    layer, first = tg.nn.LSTM(6, 3), tg.nn.Linear(6, 6)
    with tg.autocast("cpu", dtype=tg.bfloat16):
        y, (h, _) = layer(first(tg.ones(2, 4, 6)))
        z, _ = layer(tg.ones(2, 4, 6))
    assert y.dtype is h.dtype is z.dtype is tg.bfloat16
    y.float().sum().backward()
    assert all(p.grad.dtype is tg.float32 for p in layer.parameters())


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("forward, behind", [(True, False), (True, True), (False, True)])
def test_recomputation_has_the_precision_of_the_first_run(forward, behind, reentrant):
    def run(m):
        part, layers = m.nn.Linear(3, 3), m.nn.Sequential(m.nn.Linear(3, 3), m.nn.LayerNorm(3))
        with m.no_grad():
            for i, p in enumerate([*part.parameters(), *layers.parameters()]):
                p.copy_(m.from_numpy(0.2 * randn(*p.shape, dtype=np.float32, seed=i)))
        x = m.from_numpy(randn(2, 3, dtype=np.float32)).requires_grad_()
        call = m.utils.checkpoint.checkpoint
        with m.autocast("cpu", enabled=forward):
            y = call(layers, call(part, x, use_reentrant=reentrant), use_reentrant=reentrant)
        with m.autocast("cpu", dtype=m.float16, enabled=behind):
            (y.float() ** 2).sum().backward()
            dtype = m.get_autocast_dtype("cpu") if m.is_autocast_enabled("cpu") else None
        results = [y, x.grad, *(p.grad for p in [*part.parameters(), *layers.parameters()])]
        return [str(dtype).split(".")[-1], *(str(z.dtype).split(".")[-1] for z in results)], results

    (dtypes, ours), (their_dtypes, theirs) = run(tg), run(torch)
    assert dtypes == their_dtypes
    for a, b in zip(ours, theirs, strict=True):
        atol = (3e-2 if forward else 1e-3) * max(1.0, b.abs().max().item())
        np.testing.assert_allclose(as_array(a.float()), as_array(b.float()), atol=atol)


def scaling_steps(m, unscaled, spoiled, chosen):
    """What an optimizer sees that scales by itself."""

    class Own(m.optim.Optimizer):
        _step_supports_amp_scaling = True

        def step(self, closure=None):
            given = self.grad_scale, self.found_inf
            seen.extend(None if value is None else float(value) for value in given)

    p = m.nn.Parameter(m.ones(3))
    seen, optimizer = [], Own([p], {})
    scaler = m.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    for _ in range(2):
        p.grad = None
        (scaler.scale(p.sum()) * (float("inf") if spoiled else 1.0)).backward()
        if chosen:
            optimizer.grad_scale = m.tensor(2.0)
        if unscaled:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        seen += [*p.grad.tolist(), scaler.get_scale(), hasattr(optimizer, "grad_scale")]
    return seen


@pytest.mark.parametrize("unscaled", [True, False])
@pytest.mark.parametrize("spoiled", [True, False])
@pytest.mark.parametrize("chosen", [True, False])
def test_optimizers_that_scale_by_themselves(unscaled, spoiled, chosen):
    ours = scaling_steps(tg, unscaled, spoiled, chosen)
    assert ours == scaling_steps(torch, unscaled, spoiled, chosen)


def test_steps_that_take_the_scaler():
    class Own(tg.optim.Optimizer):
        _step_supports_amp_scaling = True

        def step(self, closure=None, *, grad_scaler=None):
            return grad_scaler

    p = tg.nn.Parameter(tg.ones(3))
    scaler = tg.amp.GradScaler("cpu")
    scaler.scale(p.sum()).backward()
    with pytest.warns(FutureWarning, match="grad_scaler"):
        assert scaler.step(Own([p], {})) is scaler
    assert [x.item() for x in scaler.scale(x for x in [tg.tensor(1.0)])] == [65536.0]


def test_switches():
    def run(m):
        seen, x = [], m.eye(2)

        def look():
            dtypes = m.get_autocast_dtype("cpu"), (x @ x).dtype
            seen.extend(str(dtype).split(".")[1] for dtype in dtypes)
            seen.append(m.is_autocast_enabled("cpu"))

        try:
            m.set_autocast_dtype("cpu", m.float16)
            look()
            m.set_autocast_enabled("cpu", True)
            look()
            m.set_autocast_dtype("cpu", m.bfloat16)
            look()
            with m.autocast("cpu", dtype=m.float16):
                look()
                with m.autocast("cpu"):
                    look()
                with m.autocast("cpu", enabled=False):
                    look()
            look()
            m.set_autocast_enabled("cpu", False)
            look()
        finally:
            m.set_autocast_enabled("cpu", False)
            m.set_autocast_dtype("cpu", m.bfloat16)
        return seen

    assert run(tg) == run(torch)
    check_error(TypeError, "dtype", lambda: tg.set_autocast_dtype("cpu", 3))
    check_error(RuntimeError, "tpu", lambda: tg.set_autocast_enabled("tpu", True))


def test_old_names_for_the_cpu():
    x = tg.ones(2, 2)
    with pytest.warns(FutureWarning, match="deprecated"), tg.cpu.amp.autocast():
        assert (x @ x).dtype is tg.bfloat16
    with pytest.warns(FutureWarning, match="deprecated"):
        assert tg.cpu.amp.GradScaler(init_scale=4.0).scale(tg.ones(())).item() == 4.0

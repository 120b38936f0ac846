"""Mixed precision on a device: which dtypes come out, and the scaler's history beside the CPU's."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, randn

pytestmark = pytest.mark.gpu
F = tg.nn.functional


def there(*shape, seed=0):
    return tg.from_numpy(randn(*shape, dtype=np.float32, seed=seed)).to("cuda")


LOWERED = {
    "matmul": lambda x: x @ x.t(),
    "linear": lambda x: F.linear(x, x),
    "mm": lambda x: tg.mm(x, x.t()),
    "bmm": lambda x: tg.bmm(x[None], x.t()[None]),
    "addmm": lambda x: tg.addmm(there(4, 4), x, x.t()),
    "mv": lambda x: tg.mv(x, x[0]),
    "addmv": lambda x: tg.addmv(x[:, 0], x, x[0]),
    "addr": lambda x: tg.addr(x, x[:, 0], x[0]),
    "addbmm": lambda x: tg.addbmm(there(4, 4), x[None], x.t()[None]),
    "vecdot": lambda x: tg.linalg.vecdot(x, x),
    "prelu": lambda x: F.prelu(x, x[0]),
    "multi_dot": lambda x: tg.linalg.multi_dot([x, x.t(), x]),
}
# PyTorch's list of what runs in float32 on CUDA devices, as far as it has kernels here.
FULL = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.abs().log(),
    "log1p": lambda x: x.abs().log1p(),
    "pow": lambda x: x.abs().pow(1.5),
    "reciprocal": lambda x: x.reciprocal(),
    "rsqrt": lambda x: x.abs().rsqrt(),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "layer_norm": lambda x: F.layer_norm(x, (6,)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "sum": lambda x: x.sum(),
    "prod": lambda x: x.prod(),
    "softplus": lambda x: F.softplus(x),
    "cross_entropy": lambda x: F.cross_entropy(x, tg.tensor([0, 1, 2, 3], device="cuda")),
    "mse": lambda x: F.mse_loss(x, x * 2),
    "norm": lambda x: x.norm(),
    "norm of rows": lambda x: x.norm(1, 1),
    "linalg.norm": lambda x: tg.linalg.norm(x),
    "vector_norm": lambda x: tg.linalg.vector_norm(x, 3, 1),
    "matrix_norm": lambda x: tg.linalg.matrix_norm(x),
    "normalize": lambda x: F.normalize(x),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x.flip(0)),
    "dist": lambda x: tg.dist(x, x * 2),
    "cdist": lambda x: tg.cdist(x, x * 2),
    "pdist": lambda x: F.pdist(x),
    "renorm": lambda x: x.renorm(2, 0, 1.0),
    "logsumexp": lambda x: x.logsumexp(1),
    "interpolate": lambda x: F.interpolate(x[None, None], scale_factor=2),
    "bilinear": lambda x: F.interpolate(x[None, None], scale_factor=2.0, mode="bilinear"),
}
AS_IT_COMES = {
    "add": lambda x: x + x,
    "relu": lambda x: x.relu(),
    "gelu": lambda x: F.gelu(x),
    "mean": lambda x: x.mean(),
    "tanh": lambda x: x.tanh(),
    "max": lambda x: x.amax(1),
    "avg_pool3d": lambda x: F.avg_pool3d(x[None, None], (1, 2, 2)),
    "dot": lambda x: tg.dot(x[0], x[1]),
    "norm of a dtype": lambda x: x.norm(dtype=x.dtype),
}
# PyTorch promotes these to the widest dtype of their arguments.
WIDEST = {
    "dot": lambda x, y: tg.dot(x[0], y[1]),
    "vdot": lambda x, y: tg.vdot(y[0], x[1]),
    "tensordot": lambda x, y: tg.tensordot(x, y, 2),
    "bilinear": lambda x, y: F.bilinear(x, y, there(3, 6, 6)),
    "addcmul": lambda x, y: tg.addcmul(x, y, y),
    "cross": lambda x, y: tg.cross(x[:, :3], y[:, :3]),
}


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16])
@pytest.mark.parametrize("name", [*LOWERED, *FULL, *AS_IT_COMES])
def test_dtypes(name, dtype):
    x = there(4, 6)
    with tg.autocast("cuda", dtype=dtype):
        if name in LOWERED:
            y, exact = LOWERED[name](x), LOWERED[name]
            assert y.dtype is dtype
        else:
            exact = FULL.get(name) or AS_IT_COMES[name]
            y = exact(x.to(dtype))
            assert y.dtype is (tg.float32 if name in FULL else dtype)
    x = x if name in LOWERED else x.to(dtype).float()
    scale = max(1.0, float(np.abs(as_array(exact(x))).max()))
    np.testing.assert_allclose(as_array(y.float()), as_array(exact(x)), atol=2e-2 * scale)


@pytest.mark.parametrize("name", WIDEST)
def test_mixed_arguments_meet_in_the_widest_dtype(name):
    x, y = there(4, 6), there(4, 6, seed=1).half()
    exact = WIDEST[name](x, y.float())
    with tg.autocast("cuda"):
        for got in (WIDEST[name](x, y), WIDEST[name](x, y.float())):
            assert got.dtype is tg.float32
            np.testing.assert_allclose(as_array(got), as_array(exact), rtol=1e-5, atol=1e-5)


def test_a_norm_beyond_float16():
    x = tg.full((1000,), 3000.0, device="cuda").half()
    with tg.autocast("cuda"):
        for norm in (x.norm(), tg.linalg.vector_norm(x), tg.linalg.norm(x)):
            assert norm.dtype is tg.float32 and abs(norm.item() - 94868.33) < 1


def test_losses_of_probabilities_are_refused():
    p = there(4, 6).sigmoid()
    with tg.autocast("cuda"):
        for given in (p, p.half()):
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                F.binary_cross_entropy(given, given)
        with tg.autocast("cuda", enabled=False):
            F.binary_cross_entropy(p, p)
        F.binary_cross_entropy(p.cpu(), p.cpu())
    with tg.autocast("cpu"):
        F.binary_cross_entropy(p, p)


def test_it_concerns_one_kind_of_device():
    x, host = there(3, 3), tg.ones(3, 3)
    with tg.autocast("cuda"):
        assert (x @ x).dtype is tg.float16 and (host @ host).dtype is tg.float32
        assert tg.is_autocast_enabled() and not tg.is_autocast_enabled("cpu")
        with tg.autocast("cpu"):
            assert (x @ x).dtype is tg.float16 and (host @ host).dtype is tg.bfloat16
        with tg.autocast("cuda", enabled=False):
            assert (x @ x).dtype is tg.float32 and x.half().exp().dtype is tg.float16
        assert x.half().exp().dtype is tg.float32 and host.half().exp().dtype is tg.float16
        assert x.double().matmul(x.double()).dtype is tg.float64
    with tg.autocast("cpu"):
        assert (x @ x).dtype is tg.float32 and x.half().exp().dtype is tg.float16


def test_gradients_arrive_in_the_dtypes_of_parameters():
    net = tg.nn.Sequential(tg.nn.Linear(6, 8), tg.nn.LayerNorm(8), tg.nn.GELU(),
                           tg.nn.Linear(8, 4)).to("cuda")  # fmt: skip
    twin = tg.nn.Sequential(tg.nn.Linear(6, 8), tg.nn.LayerNorm(8), tg.nn.GELU(),
                            tg.nn.Linear(8, 4))  # fmt: skip
    twin.load_state_dict(net.state_dict())
    target = tg.tensor([0, 1, 2, 3] * 2)
    with tg.autocast("cuda", dtype=tg.bfloat16):
        loss = F.cross_entropy(net(there(8, 6)), target.to("cuda"))
    loss.backward()
    F.cross_entropy(twin(there(8, 6).cpu()), target).backward()
    assert loss.dtype is tg.float32
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert a.grad.dtype is tg.float32 and a.grad.is_cuda
        np.testing.assert_allclose(as_array(a.grad), as_array(b.grad), atol=3e-2)


def history(device, spoil):
    p = tg.nn.Parameter(tg.ones(3, device=device))
    optimizer = tg.optim.SGD([p], lr=0.1)
    scaler = tg.amp.GradScaler(device, init_scale=8.0, growth_interval=2)
    found = []
    for step in range(7):
        optimizer.zero_grad()
        loss = (p * p).sum() * (float("inf") if step in spoil else 1.0)
        scaler.scale(loss).backward()
        if step % 2:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        found.append([scaler.get_scale(), *p.tolist()])
    return found, scaler.state_dict()


@pytest.mark.parametrize("spoil", [(), (2,), (0, 1, 5)])
def test_scaler(spoil):
    assert history("cuda", spoil) == history("cpu", spoil)


def test_a_step_in_float16_with_the_scaler():
    net = tg.nn.Linear(6, 4).to("cuda")
    optimizer = tg.optim.AdamW(net.parameters(), lr=0.05)
    scaler = tg.amp.GradScaler("cuda", init_scale=1024.0)
    x, target = there(16, 6), tg.tensor([0, 1, 2, 3] * 4, device="cuda")
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        with tg.autocast("cuda", dtype=tg.float16):
            loss = F.cross_entropy(net(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0] and scaler.get_scale() == 1024.0


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_compute_in_the_small_dtype(kind, dtype):
    layer = getattr(tg.nn, kind)(6, 5, num_layers=2, bidirectional=True).to("cuda")
    x = there(7, 3, 6).requires_grad_()
    y, state = layer(x)
    with tg.autocast("cuda", dtype=dtype):
        small, small_state = layer(x)
    for wide, narrow in zip((y, *flat(state)), (small, *flat(small_state)), strict=True):
        assert narrow.dtype is dtype and wide.dtype is tg.float32
        np.testing.assert_allclose(as_array(narrow.float()), as_array(wide), atol=3e-2)
    gradients = []
    for result in (y, small):
        layer.zero_grad()
        x.grad = None
        (result.float() ** 2).sum().backward()
        gradients.append([x.grad, *(p.grad for p in layer.parameters())])
    for wide, narrow in zip(*gradients, strict=True):
        assert narrow.dtype is tg.float32
        scale = max(1.0, float(np.abs(as_array(wide)).max()))
        np.testing.assert_allclose(as_array(narrow), as_array(wide), atol=6e-2 * scale)


def flat(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_cells_compute_in_the_small_dtype(kind):
    cell = getattr(tg.nn, kind)(6, 5).to("cuda")
    with tg.autocast("cuda"):
        assert all(h.dtype is tg.float16 for h in flat(cell(there(3, 6))))
    with tg.autocast("cpu"):
        assert all(h.dtype is tg.float32 for h in flat(cell(there(3, 6))))
    host = getattr(tg.nn, kind)(6, 5)
    with tg.autocast("cuda"):
        assert all(h.dtype is tg.float32 for h in flat(host(tg.ones(3, 6))))


def test_packed_sequences_and_projections():
    rnn = tg.nn.utils.rnn
    lstm = tg.nn.LSTM(6, 5, proj_size=3).to("cuda")
    packed = rnn.pack_padded_sequence(there(7, 3, 6), [7, 4, 2])
    with tg.autocast("cuda", dtype=tg.bfloat16):
        y, (h, c) = lstm(packed)
    assert {y.data.dtype, h.dtype, c.dtype} == {tg.bfloat16}
    exact, _ = lstm(packed)
    np.testing.assert_allclose(as_array(y.data.float()), as_array(exact.data), atol=2e-2)

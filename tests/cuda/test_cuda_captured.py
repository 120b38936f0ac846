"""What a CUDA graph does with calls that draw, that check, that wait and that count steps."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tilegrad as tg
from support import check_error, randn

pytestmark = pytest.mark.gpu
F = tg.nn.functional


def there(*shape, seed=0):
    return tg.from_numpy(randn(*shape, dtype=np.float32, seed=seed)).to("cuda")


def indices(*values):
    return tg.tensor(values, device="cuda")


def captured(function):
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        result = function()
    return graph, result


# --- random numbers -----------------------------------------------------------------------------


def attention_in_training(x):
    q = x.reshape(1, 2, 20, 8).requires_grad_()
    y = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    y.sum().backward()
    return tg.cat((y.detach().reshape(-1), q.grad.reshape(-1)))


def dropout_in_training(x):
    x = x.clone().requires_grad_()
    y = F.dropout(x, 0.3)
    (y * y).sum().backward()
    return tg.cat((y.detach(), x.grad))


DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout, backward": dropout_in_training,
    "dropout in place": lambda x: F.dropout(x.clone(), 0.5, inplace=True),
    "channels": lambda x: F.dropout2d(x.reshape(4, 20, 2, 2), 0.5),
    "attention": attention_in_training,
    "rand": lambda x: tg.rand_like(x),
    "randn": lambda x: tg.randn(7, 11, device="cuda"),
    "randint": lambda x: tg.randint(0, 1000, (50,), device="cuda"),
    "randperm": lambda x: tg.randperm(100, device="cuda"),
    "normal": lambda x: tg.normal(x, x.abs()),
    "exponential": lambda x: x.clone().exponential_(),
    "bernoulli": lambda x: tg.bernoulli(x.abs().clamp(0, 1)),
    "multinomial": lambda x: tg.multinomial(x.abs(), 30),
    "with replacement": lambda x: tg.multinomial(x.abs(), 30, replacement=True),
    "halves": lambda x: tg.rand(300, dtype=tg.float16, device="cuda"),
    "two": lambda x: tg.rand_like(x) + F.dropout(x, 0.5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_replay_draws_what_the_calls_would_draw(name):
    x, draw = there(320), DRAWS[name]
    graph, y = captured(lambda: draw(x))
    tg.cuda.manual_seed(11)
    expected = [draw(x).cpu().numpy() for _ in range(3)]
    tg.cuda.manual_seed(11)
    for plain in expected:
        graph.replay()
        np.testing.assert_array_equal(y.cpu().numpy(), plain)
    assert not np.array_equal(expected[0], expected[1])
    assert not np.array_equal(expected[1], expected[2])


def test_a_capture_leaves_the_generators_alone():
    mine, x = tg.Generator("cuda").manual_seed(5), there(100)
    state, others = mine.get_state(), tg.cuda.get_rng_state()
    graph, y = captured(functools.partial(x.clone().normal_, generator=mine))
    assert (mine.get_state() == state).all() and (tg.cuda.get_rng_state() == others).all()
    graph.replay()
    first = y.tolist()
    assert first == x.clone().normal_(generator=mine.manual_seed(5)).tolist()
    del mine  # the graph keeps it
    graph.replay()
    assert y.tolist() != first and (tg.cuda.get_rng_state() == others).all()
    graph.register_generator_state(tg.Generator("cuda"))


def test_graphed_callables_drop_anew():
    net = tg.nn.Sequential(tg.nn.Linear(6, 200), tg.nn.Dropout(0.5)).to("cuda")
    tg.cuda.make_graphed_callables(net, (there(4, 6),))
    masks = []
    for _ in range(2):
        net.zero_grad()
        y = net(there(4, 6))
        y.sum().backward()
        kept = y.detach() != 0
        # The bias's gradient counts what was kept, each doubled: backward drew the same mask.
        np.testing.assert_array_equal(
            net[0].bias.grad.cpu().numpy(), 2.0 * kept.sum(0).cpu().numpy()
        )
        masks.append(kept.cpu().numpy())
    assert 0.3 < masks[0].mean() < 0.7 and not np.array_equal(*masks)


# --- checks -------------------------------------------------------------------------------------

CHECKED = {
    "embedding": lambda i, x: F.embedding(i, x),
    "index": lambda i, x: x[i],
    "two indices": lambda i, x: x[i, i],
    "index_select": lambda i, x: tg.index_select(x, 1, i),
    "gather": lambda i, x: tg.gather(x[0], 0, i),
    "take_along_dim": lambda i, x: tg.take_along_dim(x[0], i, 0),
    "scatter": lambda i, x: x[0].scatter(0, i, 1.0),
    "scatter_add": lambda i, x: x[0].scatter_add(0, i, x[1, :4]),
    "index_add": lambda i, x: x.index_add(0, i, x[:4]),
    "index_put": lambda i, x: x[0].index_put((i,), x[1, :4]),
    "cross_entropy": lambda i, x: F.cross_entropy(x[:4], i),
    "nll_loss": lambda i, x: F.nll_loss(x[:4], i, reduction="none"),
}


@pytest.mark.parametrize("name", CHECKED)
def test_a_replay_complains_of_an_index_out_of_range_when_something_waits(name):
    x, index = there(5, 5), indices(1, 4, 0, 3)
    function = functools.partial(CHECKED[name], index, x)
    graph, y = captured(function)
    graph.replay()
    np.testing.assert_array_equal(y.cpu().numpy(), function().cpu().numpy())
    index.copy_(indices(2, 3, 0, 1))
    graph.replay()
    np.testing.assert_array_equal(y.cpu().numpy(), function().cpu().numpy())
    for wrong in (5, 10**12, -(10**12)):
        index.copy_(indices(0, wrong, 0, 2))
        graph.replay()
        check_error(RuntimeError, "a replay met an index or a label out of range", y.cpu)
        assert y.cpu().shape == y.shape  # said once; the card can be used on
    index.copy_(indices(0, 5, 0, 2))
    graph.replay()
    tg.cuda.current_stream().query()
    check_error(RuntimeError, "out of range", tg.cuda.synchronize)


def test_gradients_of_a_wrong_index_stay_in_bounds():
    table, index = there(5, 3).requires_grad_(), indices(1, 4)

    def step():
        table.grad = None
        F.embedding(index, table).sum().backward()
        return table.grad

    graph, grad = captured(step)
    index.copy_(indices(2, 7))
    graph.replay()
    check_error(RuntimeError, "out of range", tg.cuda.synchronize)
    index.copy_(indices(2, 2))
    graph.replay()
    np.testing.assert_array_equal(
        grad.cpu().numpy(), np.array([[0], [0], [2], [0], [0]]) * np.ones(3)
    )


def test_an_empty_table_is_refused_at_once():
    index, table = indices(0), tg.zeros(0, 3, device="cuda")
    for function in (
        lambda: F.embedding(index, table),
        lambda: table[index],
        lambda: tg.gather(table[:, 0], 0, index),
    ):
        with pytest.raises((IndexError, RuntimeError)):
            captured(function)
    assert (there(3) + 1).shape == (3,)


def test_divisors_of_a_graph():
    x, divisor = indices(7, -7, 9), indices(2, 2, 3)
    graph, (quotient, rest) = captured(lambda: (x // divisor, x % 4))
    graph.replay()
    assert quotient.tolist() == [3, -4, 3] and rest.tolist() == [3, 1, 1]
    divisor.copy_(indices(1, 0, 0))
    graph.replay()
    check_error(RuntimeError, "a replay met an integer division by zero,", quotient.tolist)
    assert quotient.tolist()[0] == 7  # said once
    check_error(RuntimeError, "division by zero", lambda: x // divisor)
    check_error(RuntimeError, "division by zero", lambda: captured(lambda: x // 0))


DIVIDES = {
    "floor_divide": tg.floor_divide,
    "remainder": tg.remainder,
    "fmod": tg.fmod,
    "in place": lambda x, divisor: x.clone().remainder_(divisor),
    "onto the divisor": lambda x, divisor: tg.floor_divide(x, divisor, out=divisor.clone()),
    "truncated": lambda x, divisor: tg.div(x, divisor, rounding_mode="trunc"),
    "broadcast": lambda x, divisor: x[:, None] // divisor,
}


@pytest.mark.parametrize("dtype", [tg.int64, tg.uint8])
@pytest.mark.parametrize("name", DIVIDES)
def test_a_replay_complains_of_a_divisor_that_is_zero(name, dtype):
    x, divisor = indices(7, 8, 9).to(dtype), indices(2, 3, 4).to(dtype)
    graph, y = captured(lambda: DIVIDES[name](x, divisor))
    graph.replay()
    assert y.tolist() == DIVIDES[name](x, divisor).tolist()
    divisor.copy_(indices(1, 2, 0))
    graph.replay()
    check_error(RuntimeError, "integer division by zero", tg.cuda.synchronize)
    divisor.copy_(indices(1, 2, 3))
    graph.replay()
    assert y.tolist() == DIVIDES[name](x, divisor).tolist()


CHANCES = {
    "bernoulli": (lambda p: tg.bernoulli(p), [-0.1, 1.1, float("nan")]),
    "multinomial": (lambda p: tg.multinomial(p, 2), [-0.1, float("inf"), float("nan")]),
    "with replacement": (lambda p: tg.multinomial(p, 4, replacement=True), [-1.0, float("nan")]),
    "rows": (lambda p: tg.multinomial(tg.stack((p.abs(), p)), 1), [-0.5]),
    "deviations": (lambda p: tg.normal(0.0, p), [-0.1]),
    "deviations and means": (lambda p: tg.normal(p[:, None], p[::2]), [-0.1]),
}


@pytest.mark.parametrize("name", CHANCES)
def test_a_replay_complains_of_chances_out_of_range(name):
    draw, wrong = CHANCES[name]
    right = tg.tensor([0.5, 0.0, 1.0], device="cuda")
    p = right.clone()
    graph, y = captured(lambda: draw(p))
    graph.replay()
    tg.cuda.synchronize()
    for value in wrong:
        p[2] = value
        graph.replay()
        check_error(RuntimeError, "met probabilities, weights or deviations", y.cpu)
        with pytest.raises(RuntimeError):
            draw(p)  # refused at once
        p.copy_(right)
        graph.replay()
        assert y.cpu().shape == y.shape


def test_a_replay_complains_of_too_few_categories_for_its_samples():
    p = tg.tensor([0.5, 0.0, 1.0], device="cuda")
    two, _ = captured(lambda: tg.multinomial(p, 2))
    again, _ = captured(lambda: tg.multinomial(p, 3, replacement=True))
    p[0] = 0
    again.replay()  # one is enough
    tg.cuda.synchronize()
    two.replay()
    check_error(RuntimeError, "met probabilities", tg.cuda.synchronize)
    p.zero_()
    again.replay()
    check_error(RuntimeError, "met probabilities", tg.cuda.synchronize)


def test_several_faults_are_told_together():
    p, index, x = tg.tensor([0.5, 0.5], device="cuda"), indices(0, 1), indices(4, 5)
    graph, _ = captured(lambda: (tg.bernoulli(p), x[index], x // (index + 1)))
    index.copy_(indices(-1, 5))
    p.fill_(2.0)
    graph.replay()
    expected = "out of range and an integer division by zero and probabilities"
    check_error(RuntimeError, expected, tg.cuda.synchronize)


# --- what waits ---------------------------------------------------------------------------------

WAITS = {
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "printing": lambda x: repr(x),
    "a condition": lambda x: bool((x > 0).all()),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "unique": lambda x: x.unique(),
    "a tensor of numbers": lambda x: tg.tensor([1.0, 2.0], device="cuda"),
    "to the card": lambda x: tg.ones(3, device="cpu").to("cuda"),
    "synchronize": lambda x: tg.cuda.synchronize(),
    "a stream": lambda x: tg.cuda.current_stream().synchronize(),
    "a query": lambda x: tg.cuda.current_stream().query(),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_is_refused_by_name(name):
    x = there(6)
    expected = "operation not permitted when stream is capturing: .* would make the host wait"
    with pytest.raises(RuntimeError, match=expected):
        captured(lambda: WAITS[name](x))
    assert not tg.cuda.is_current_stream_capturing()
    WAITS[name](x)

    def caught():
        y = x + 1
        check_error(RuntimeError, "not permitted", lambda: WAITS[name](y))
        return y * 2

    graph, z = captured(caught)  # a program that catches the complaint goes on
    x.copy_(there(6, seed=1))
    graph.replay()
    np.testing.assert_array_equal(z.cpu().numpy(), (there(6, seed=1).cpu().numpy() + 1) * 2)


def test_pinned_memory_can_be_copied():
    x, host = there(4), tg.empty(4).pin_memory()
    graph, _ = captured(lambda: host.copy_(x, non_blocking=True))
    graph.replay()
    tg.cuda.synchronize()
    np.testing.assert_array_equal(host.numpy(), x.cpu().numpy())


# --- optimizers ---------------------------------------------------------------------------------


def parameter(value=1.0):
    p = tg.nn.Parameter(tg.full((3,), value, device="cuda"))
    p.grad = tg.full((3,), 0.5, device="cuda")
    return p


COUNTED = {
    "Adam": {},
    "AdamW": {},
    "RAdam": {},
    "Adamax": {},
    "RMSprop": {},
    "Adadelta": {},
    "Rprop": {},
    "NAdam": {"weight_decay": 0.1, "momentum_decay": 0.1},
    "ASGD": {"lambd": 0.1, "alpha": 0.5, "t0": 2},
}


@pytest.mark.parametrize("kind", COUNTED)
def test_steps_counted_on_the_card_are_the_same(kind):
    make = getattr(tg.optim, kind)
    results = []
    for capturable in (False, True):
        p = parameter()
        optimizer = make([p], lr=0.1, capturable=capturable, **COUNTED[kind])
        for _ in range(7):  # RAdam is rectified from the sixth on
            optimizer.step()
        state = optimizer.state[p]
        numbers = {name: x for name, x in state.items() if x.ndim == 0}
        assert all(x.is_cuda == capturable for x in numbers.values())
        assert state["step"].item() == 7
        results.append([p.tolist(), *[x.tolist() for x in state.values()]])
    for plain, counted in zip(*results, strict=True):
        np.testing.assert_allclose(plain, counted, rtol=1e-6)


def test_a_count_on_the_card_survives_checkpoints():
    p, other = parameter(), parameter()
    optimizer = tg.optim.Adam([p], capturable=True)
    optimizer.step()
    saved = {
        "state": {0: {k: v.cpu() for k, v in optimizer.state_dict()["state"][0].items()}},
        "param_groups": optimizer.state_dict()["param_groups"],
    }
    fresh = tg.optim.Adam([other], capturable=True)
    fresh.load_state_dict(saved)
    assert fresh.state[other]["step"].is_cuda and fresh.state[other]["step"].item() == 1
    other.data.copy_(p.data)
    for each in (optimizer, fresh):
        each.step()
    assert other.tolist() == p.tolist()


def test_steps_that_cannot_be_captured_say_so():
    p = parameter()
    for kind in ("Adam", "RMSprop", "Adamax", "NAdam", "ASGD"):
        optimizer = getattr(tg.optim, kind)([p])
        optimizer.step()
        with pytest.raises(RuntimeError, match=f"instance of {kind} .*capturable is False"):
            captured(optimizer.step)
    for optimizer in (tg.optim.Adam([p], capturable=True), tg.optim.SGD([p], 0.1, momentum=0.9)):
        with pytest.raises(RuntimeError, match="before the capture"):
            captured(optimizer.step)
        optimizer.step()
        captured(optimizer.step)[0].replay()
    tg.cuda.synchronize()


def test_counts_on_two_devices_are_refused():
    p, q = parameter(), parameter()
    optimizer = tg.optim.Adam([p, q], capturable=True)
    optimizer.step()
    optimizer.state[q]["step"] = optimizer.state[q]["step"].cpu()
    before = p.tolist()
    check_error(RuntimeError, "expected every 'step'", optimizer.step)
    assert p.tolist() == before


def test_an_own_number_apart_from_the_count_is_refused():
    p = parameter()
    optimizer = tg.optim.NAdam([p], capturable=True)
    optimizer.step()
    optimizer.state[p]["mu_product"] = optimizer.state[p]["mu_product"].cpu()
    before = p.tolist()
    check_error(RuntimeError, "nadam_step: expected 'mu_product' .* on cuda:0", optimizer.step)
    assert p.tolist() == before

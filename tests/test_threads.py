"""Threads: bit-identical results for every number of them, and where the number comes from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import tilegrad as tg

COUNTS = (1, 2, 3, 8)


@pytest.fixture(autouse=True)
def restore_threads():
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


def random(*shape: int, dtype: str = "float32") -> tg.Tensor:
    generator = np.random.default_rng(sum(shape))
    return tg.from_numpy(generator.standard_normal(shape).astype(dtype))


def sums(m):
    x = random(513, 777)
    return x.sum(), x.sum(0), x.sum(1), x.mean(), x.var(), x.amax(1), random(1_000_003).sum()


def elementwise(m):
    x, y = random(513, 777), random(513, 777).t().contiguous().t()
    return x + y, x * 0.3, (x / (y * y + 1.0)), m.maximum(x, y), x + y[0]


def products(m):
    x, y, bias = random(301, 555), random(299, 555), random(299)
    return x @ y.t(), m.linear(x, y, bias), random(40, 33, 17) @ random(40, 17, 55)


def gradients(m):
    x, y = random(301, 555).requires_grad_(), random(299, 555).requires_grad_()
    ((x @ y.t()) * 0.01).backward(m.ones(301, 299))
    return x.grad, y.grad


def convolutions(m):
    """One for each way that a convolution takes, with all gradients and in inference."""
    results = []
    for batch, channels, size, filters, kernel, stride, groups in (
        (3, 32, 20, 48, 3, 1, 1),
        (7, 20, 16, 40, 5, 2, 1),
        (9, 3, 32, 64, 7, 2, 1),
        (5, 64, 14, 96, 1, 1, 1),
        (5, 5, 20, 12, 3, 1, 1),
        (11, 40, 7, 40, 3, 1, 40),
        (11, 40, 8, 40, 5, 1, 40),
        (11, 40, 28, 40, 3, 2, 40),
        (3, 40, 33, 40, 3, 1, 40),
    ):
        x = random(batch, channels, size, size).requires_grad_()
        layer = m.nn.Conv2d(
            channels, filters, kernel, stride, kernel // 2, groups=groups, bias=True
        )
        weight = random(*layer.weight.shape).requires_grad_()
        layer.weight, layer.bias = m.nn.Parameter(weight), m.nn.Parameter(random(filters))
        net = m.nn.Sequential(layer, m.nn.BatchNorm2d(filters), m.nn.ReLU()).eval()
        y = layer(x)
        y.backward(random(*y.shape))
        with m.no_grad():
            results += [y, x.grad, layer.weight.grad, layer.bias.grad, net(x)]
    return results


def training(m):
    """Ten steps of a small convnet: initial values, batches and every update."""
    m.manual_seed(0)
    net = m.nn.Sequential(
        m.nn.Conv2d(1, 8, 3, padding=1),
        m.nn.BatchNorm2d(8),
        m.nn.ReLU(),
        m.nn.MaxPool2d(2),
        m.nn.Flatten(),
        m.nn.Linear(8 * 16, 10),
    )
    optimizer = m.optim.Adam(net.parameters(), lr=0.01)
    x = random(64, 1, 8, 8)
    labels = m.from_numpy(np.arange(64) % 10)
    for _ in range(10):
        optimizer.zero_grad()
        m.nn.CrossEntropyLoss()(net(x), labels).backward()
        optimizer.step()
    return tuple(net.state_dict().values())


def digest(tensors: tuple) -> str:
    """A hash of every bit of every tensor."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().numpy()
        assert np.isfinite(array).all()
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


@pytest.mark.parametrize("work", [elementwise, products, gradients, convolutions, sums, training])
def test_the_bits_do_not_depend_on_the_number_of_threads(work):
    digests = {}
    for count in COUNTS * 2:  # twice: nor on the run
        tg.set_num_threads(count)
        digests.setdefault(count, set()).add(digest(work(tg)))
    assert len(set.union(*digests.values())) == 1, digests


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


PRINT_COUNT = "import tilegrad as tg; print(tg.get_num_threads())"


def test_set_num_threads_is_seen_by_get_num_threads():
    for count in COUNTS:
        tg.set_num_threads(count)
        assert tg.get_num_threads() == count


@pytest.mark.parametrize("count", [0, -1, 100_000])
def test_impossible_counts_are_refused(count):
    with pytest.raises(RuntimeError, match=rf"set_num_threads.*{count}"):
        tg.set_num_threads(count)


@pytest.mark.parametrize("count", ["2", 1.5, None])
def test_counts_that_are_no_integers_are_type_errors(count):
    with pytest.raises(TypeError):
        tg.set_num_threads(count)


def test_the_environment_variable_is_respected():
    assert python(PRINT_COUNT, TILEGRAD_NUM_THREADS="5").stdout.strip() == "5"


@pytest.mark.parametrize("text", ["0", "-3", "many", "2x", "1e3", "99999999999999999999"])
def test_a_wrong_environment_variable_is_a_value_error(text):
    last = python(PRINT_COUNT, TILEGRAD_NUM_THREADS=text).stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError") and "TILEGRAD_NUM_THREADS" in last and text in last


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_the_affinity_mask_limits_the_default():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});" + PRINT_COUNT
    assert python(code, TILEGRAD_NUM_THREADS="").stdout.strip() == "1"


def test_the_default_does_not_exceed_the_processors_of_this_process():
    count = int(python(PRINT_COUNT, TILEGRAD_NUM_THREADS="").stdout)
    assert 1 <= count <= len(os.sched_getaffinity(0))


FORK = """
import os, signal
import numpy as np, tilegrad as tg
tg.set_num_threads(3)
x = tg.from_numpy(np.random.default_rng(0).standard_normal((400, 400)))
expected = (x @ x).numpy().copy()        # the parent's workers exist now
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        same = np.array_equal((x @ x).numpy(), expected) and tg.get_num_threads() == 3
        os._exit(0 if same else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], np.array_equal((x @ x).numpy(), expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_children_compute_with_pools_of_their_own():
    result = python(FORK)
    assert result.stdout.strip() == "[0, 0, 0] True", result.stderr


THREADS = """
import threading
import numpy as np, tilegrad as tg
tg.set_num_threads(3)
x = tg.from_numpy(np.random.default_rng(0).standard_normal((300, 300)))
expected, wrong = (x @ x).numpy().copy(), []
def work():
    for _ in range(20):
        if not np.array_equal((x @ x).numpy(), expected):
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; tg.set_num_threads(2); [t.join() for t in threads]
print(len(wrong))
"""


def test_python_threads_may_share_the_pool():
    result = python(THREADS)
    assert result.stdout.strip() == "0", result.stderr

"""The generators of CUDA tensors: one per device, seeded like PyTorch's."""

from __future__ import annotations

import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu


def draw(**options):
    return tg.rand(1000, device="cuda", **options).tolist()


def test_seeds_repeat_numbers():
    tg.manual_seed(3)
    first = draw()
    tg.cuda.manual_seed(3)
    assert draw() == first != draw()
    tg.cuda.manual_seed_all(3)
    assert draw() == first and tg.cuda.initial_seed() == 3
    assert 0.4 < sum(first) / 1000 < 0.6 and min(first) >= 0 and max(first) < 1
    tg.cuda.seed()
    assert draw() != first


def test_the_cpu_has_its_own():
    tg.manual_seed(5)
    draw()
    after = tg.rand(3).tolist()
    tg.manual_seed(5)
    assert tg.rand(3).tolist() == after
    state = tg.cuda.get_rng_state()
    first = draw()
    tg.rand(3)
    tg.cuda.set_rng_state(state)
    assert draw() == first
    with tg.random.fork_rng():
        draw()
    tg.cuda.set_rng_state_all([state])
    assert draw() == first and len(tg.cuda.get_rng_state_all()) == tg.cuda.device_count()
    check_error(TypeError, "Tensor", lambda: tg.cuda.set_rng_state(3))


def test_generators_belong_to_a_device():
    mine = tg.Generator("cuda").manual_seed(7)
    assert mine.device == tg.device("cuda", 0)
    first = draw(generator=mine)
    assert draw(generator=mine.manual_seed(7)) == first
    wrong = "Expected a 'cuda' device type for generator but found 'cpu'"
    check_error(RuntimeError, wrong, lambda: draw(generator=tg.Generator()))
    check_error(RuntimeError, "found 'cuda'", lambda: tg.rand(2, generator=mine))
    assert tg.cuda.default_generators[0].device == tg.device("cuda", 0)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_follows_the_seed(p):
    x = tg.ones(2000, device="cuda")
    tg.cuda.manual_seed(1)
    try:
        first = tg.nn.functional.dropout(x, p)
    except NotImplementedError as error:
        pytest.skip(str(error))
    tg.cuda.manual_seed(1)
    assert tg.nn.functional.dropout(x, p).tolist() == first.tolist()
    assert abs((first == 0).float().mean().item() - p) < 0.05

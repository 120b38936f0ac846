"""Datasets, samplers, collating and DataLoader beside PyTorch's."""

from __future__ import annotations

import collections
import os
import time

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error, randn

# Python 3.12 and later warn when a process with threads forks; the pool starts anew in the child.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

X = randn(11, 3, dtype=np.float32)
Y = np.arange(11)
Point = collections.namedtuple("Point", "x y")


def dataset(m):
    return m.utils.data.TensorDataset(m.from_numpy(X), m.from_numpy(Y))


class Squares:
    """A map-style dataset of numbers, of no library."""

    def __len__(self):
        return 11

    def __getitem__(self, i):
        return i * i


class Broken(Squares):
    """Fails at sample 5."""

    def __getitem__(self, i):
        if i == 5:
            raise ArithmeticError("sample 5 is broken")
        return i


class Keyless(Squares):
    """Fails with a KeyError."""

    def __getitem__(self, i):
        raise KeyError("no such key")


class Stream(tg.utils.data.IterableDataset):
    """Seven numbers, shared out among the workers."""

    def __iter__(self):
        info = tg.utils.data.get_worker_info()
        yield from range(7) if info is None else range(info.id, 7, info.num_workers)


class Dying(Squares):
    """Kills its process."""

    def __getitem__(self, i):
        os._exit(3)


class Slow(Squares):
    """Late worker results must still come in order."""

    def __getitem__(self, i):
        time.sleep(0.05 if i % 4 == 0 else 0.0)
        return i


class Ids(Squares):
    """Tells who read it, and with which seed."""

    def __getitem__(self, i):
        info = tg.utils.data.get_worker_info()
        return info.id, info.num_workers, info.seed


def assert_same_batches(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert_same_nested(a, b)


def assert_same_nested(a, b):
    if isinstance(b, torch.Tensor):
        assert_same(a, b, 0, 0, "batch")
    elif isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            assert_same_nested(a[key], b[key])
    elif isinstance(b, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for p, q in zip(a, b, strict=True):
            assert_same_nested(p, q)
    else:
        assert type(a) is type(b) and a == b


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": 4, "shuffle": True},
        {"batch_size": None},
        {"batch_size": None, "shuffle": True},
        {"batch_sampler": [[0, 1], [5], [3, 3]]},
        {"sampler": [4, 2, 0], "batch_size": 2},
        {"batch_size": 20, "shuffle": True},
    ],
)
def test_batches_and_order(options):
    loaders = []
    for m in (tg, torch):
        m.manual_seed(11)
        loader = m.utils.data.DataLoader(dataset(m), **options)
        loaders.append((len(loader), [*loader, *loader], m.rand(2)))  # two epochs
    assert loaders[0][0] == loaders[1][0]
    assert_same_batches(loaders[0][1], loaders[1][1])
    assert_same(loaders[0][2], loaders[1][2], 0, 0, "the generator's state afterwards")


def test_order_with_a_generator():
    batches = []
    for m in (tg, torch):
        generator = m.Generator().manual_seed(5)
        loader = m.utils.data.DataLoader(dataset(m), 3, shuffle=True, generator=generator)
        batches.append([*loader, *loader])
    assert_same_batches(*batches)


def test_fast_path_equals_collating():
    data = tg.utils.data
    loader = data.DataLoader(dataset(tg), 4)
    generic = data.DataLoader(dataset(tg), 4, collate_fn=lambda batch: data.default_collate(batch))
    for a, b in zip(loader, generic, strict=True):
        assert type(a) is type(b) is list
        for p, q in zip(a, b, strict=True):
            assert p.dtype is q.dtype and np.array_equal(as_array(p), as_array(q))
    first = next(iter(loader))[0]
    first.zero_()
    assert np.array_equal(as_array(loader.dataset.tensors[0]), X)  # batches are copies


BATCHES = [
    lambda m: [1, 2, 3],
    lambda m: [1.5, 2.5],
    lambda m: [True, False],
    lambda m: ["a", "b"],
    lambda m: [b"a", b"b"],
    lambda m: [np.float32(1), np.float32(2)],
    lambda m: [np.int64(1), np.int64(2)],
    lambda m: [np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)],
    lambda m: [np.array(3), np.array(4)],
    lambda m: [m.ones(2), m.zeros(2)],
    lambda m: [(1, m.ones(2)), (2, m.zeros(2))],
    lambda m: [[1, 2.0], [3, 4.0]],
    lambda m: [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    lambda m: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    lambda m: [Point(1, 2.0), Point(3, 4.0)],
    lambda m: [{"a": (1, [2, m.ones(1)])}, {"a": (3, [4, m.ones(1)])}],
]


@pytest.mark.parametrize("make", BATCHES)
def test_default_collate(make):
    ours = tg.utils.data.default_collate(make(tg))
    assert_same_nested(ours, torch.utils.data.default_collate(make(torch)))


@pytest.mark.parametrize("make", BATCHES)
def test_default_convert(make):
    for a, b in zip(make(tg), make(torch), strict=True):
        ours = tg.utils.data.default_convert(a)
        assert_same_nested(ours, torch.utils.data.default_convert(b))


@pytest.mark.parametrize(
    "batch",
    [[object()], [None], [[1], [1, 2]], [np.array(["a"])], [np.ones(2), np.ones(3)]],
)
def test_default_collate_refuses(batch):
    kinds = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            m.utils.data.default_collate(batch)
        kinds.append(type(caught.value))
    assert kinds[0] is kinds[1]


def test_datasets():
    def run(m):
        data = m.utils.data
        both = data.ConcatDataset([dataset(m), data.Subset(dataset(m), [5, 2])])
        numbers = [int(both[i][1]) for i in (0, 10, 11, 12, -1, -13)]
        joined = dataset(m) + dataset(m)
        pairs = data.StackDataset(dataset(m), Squares())
        named = data.StackDataset(a=Squares(), b=Squares())
        return numbers, len(both), len(joined), pairs[3][1], len(named), named[2]

    assert run(tg) == run(torch)
    data = tg.utils.data
    check_error(AssertionError, "Size mismatch", lambda: data.TensorDataset(tg.ones(2), tg.ones(3)))
    check_error(AssertionError, "empty iterable", lambda: data.ConcatDataset([]))
    check_error(ValueError, "absolute value", lambda: data.ConcatDataset([Squares()])[-12])
    check_error(ValueError, "Size mismatch", lambda: data.StackDataset(Squares(), [1]))
    check_error(NotImplementedError, "__getitem__", lambda: data.Dataset()[0])


@pytest.mark.parametrize("lengths", [[5, 6], [0.5, 0.5], [0.3, 0.3, 0.4], [11, 0]])
def test_random_split(lengths):
    parts = []
    for m in (tg, torch):
        m.manual_seed(2)
        own = m.utils.data.random_split(Squares(), lengths)
        seeded = m.utils.data.random_split(Squares(), lengths, m.Generator().manual_seed(9))
        parts.append([list(part.indices) for part in (*own, *seeded)])
    assert parts[0] == parts[1]


def test_random_split_refuses():
    split = tg.utils.data.random_split
    check_error(ValueError, "Sum of input lengths", lambda: split(Squares(), [5, 5]))
    check_error(ValueError, "between 0 and 1", lambda: split(Squares(), [-0.5, 1.5]))


@pytest.mark.parametrize(
    "make",
    [
        lambda d: d.SequentialSampler(Squares()),
        lambda d: d.RandomSampler(Squares()),
        lambda d: d.RandomSampler(Squares(), num_samples=25),
        lambda d: d.RandomSampler(Squares(), num_samples=5),
        lambda d: d.RandomSampler(Squares(), replacement=True),
        lambda d: d.RandomSampler(Squares(), replacement=True, num_samples=70),
        lambda d: d.SubsetRandomSampler([7, 8, 9, 3]),
        lambda d: d.BatchSampler(d.RandomSampler(Squares()), 4, False),
        lambda d: d.BatchSampler(d.SequentialSampler(Squares()), 4, True),
    ],
)
def test_samplers(make):
    orders = []
    for m in (tg, torch):
        m.manual_seed(4)
        sampler = make(m.utils.data)
        orders.append((len(sampler), list(sampler), list(sampler)))
    assert orders[0] == orders[1]


def test_weighted_sampler():
    sampler = tg.utils.data.WeightedRandomSampler([0.0, 3.0, 1.0, 0.0], 4000)
    tg.manual_seed(0)
    counts = np.bincount(list(sampler), minlength=4)
    assert counts[0] == counts[3] == 0 and 2800 < counts[1] < 3200
    without = tg.utils.data.WeightedRandomSampler([1.0, 3.0, 1.0], 3, replacement=False)
    assert sorted(without) == [0, 1, 2] and len(without) == 3


def test_samplers_refuse():
    data = tg.utils.data
    check_error(ValueError, "batch_size=0", lambda: data.BatchSampler([1], 0, False))
    check_error(ValueError, "drop_last=3", lambda: data.BatchSampler([1], 1, 3))
    check_error(ValueError, "num_samples=0", lambda: data.RandomSampler([]))
    check_error(ValueError, "num_samples=-1", lambda: data.RandomSampler([1], num_samples=-1))
    check_error(TypeError, "replacement=3", lambda: data.RandomSampler([1], 3))
    check_error(ValueError, "1d sequence", lambda: data.WeightedRandomSampler([[1.0]], 1))


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"persistent_workers": True},
        {"multiprocessing_context": "fork"},
        {"sampler": [1], "shuffle": True},
        {"batch_sampler": [[1]], "batch_size": 4},
        {"batch_sampler": [[1]], "shuffle": True},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
    ],
)
def test_options_that_are_refused(options):
    for m in (tg, torch):
        with pytest.raises(ValueError):
            m.utils.data.DataLoader(Squares(), **options)


def test_streams():
    data = tg.utils.data
    assert [b.tolist() for b in data.DataLoader(Stream(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in data.DataLoader(Stream(), 3, drop_last=True)] == [
        [0, 1, 2],
        [3, 4, 5],
    ]
    assert list(data.DataLoader(Stream(), None)) == list(range(7))
    assert list(data.ChainDataset([Stream(), Stream()])) == [*range(7), *range(7)]
    for name, value in (("shuffle", True), ("sampler", [1]), ("batch_sampler", [[1]])):
        check_error(
            ValueError,
            f"unspecified {name} option",
            lambda name=name, value=value: data.DataLoader(Stream(), **{name: value}),
        )


# --- workers --------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_read_the_same_batches(persistent):
    # Workers that live on draw one seed for all epochs, so only the first is that of no workers.
    epochs = []
    for workers in (0, 2):
        tg.manual_seed(3)
        options = {"persistent_workers": persistent} if workers else {}
        loader = tg.utils.data.DataLoader(
            dataset(tg), 2, shuffle=True, num_workers=workers, **options
        )
        epochs.append([[[p.tolist() for p in batch] for batch in loader] for _ in range(2)])
    compared = 1 if persistent else 2
    assert epochs[0][:compared] == epochs[1][:compared]
    assert sorted(x for _, labels in epochs[1][1] for x in labels) == sorted(
        x for _, labels in epochs[0][1] for x in labels
    )


def test_order_is_kept_and_an_epoch_may_be_left_early():
    loader = tg.utils.data.DataLoader(Slow(), 2, num_workers=2, persistent_workers=True)
    next(iter(loader))
    assert [x for batch in loader for x in batch.tolist()] == list(range(11))


def test_streams_in_workers():
    loader = tg.utils.data.DataLoader(Stream(), 2, num_workers=2)
    assert sorted(x for batch in loader for x in batch.tolist()) == list(range(7))


def test_worker_info_and_init():
    started = []
    loader = tg.utils.data.DataLoader(Ids(), None, num_workers=2, worker_init_fn=started.append)
    seen = list(loader)
    assert {info[:2] for info in map(tuple, seen)} == {(0, 2), (1, 2)}
    seeds = {i: seed for i, _, seed in seen}
    assert seeds[1] == seeds[0] + 1
    assert tg.utils.data.get_worker_info() is None and started == []


def test_exceptions_of_workers_arrive():
    loader = tg.utils.data.DataLoader(Broken(), 2, num_workers=2)
    batches = iter(loader)
    next(batches), next(batches)
    with pytest.raises(ArithmeticError) as caught:
        next(batches)
    text = str(caught.value)
    assert "Caught ArithmeticError in DataLoader worker process" in text
    assert "Traceback" in text and "sample 5 is broken" in text and "__getitem__" in text
    check_error(
        KeyError,
        "Caught KeyError in DataLoader worker process 0.\n",
        lambda: next(iter(tg.utils.data.DataLoader(Keyless(), 2, num_workers=1))),
    )


def test_dead_workers_are_noticed():
    loader = tg.utils.data.DataLoader(Dying(), 2, num_workers=1)
    check_error(RuntimeError, "exited unexpectedly", lambda: list(loader))


def test_timeout():
    class Stuck(Squares):
        def __getitem__(self, i):
            time.sleep(30)

    loader = tg.utils.data.DataLoader(Stuck(), 2, num_workers=1, timeout=0.2)
    check_error(RuntimeError, "timed out after 0.2 seconds", lambda: next(iter(loader)))


def test_workers_end_with_the_loader():
    import multiprocessing

    iterator = iter(tg.utils.data.DataLoader(Squares(), 2, num_workers=2))
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    del iterator
    assert multiprocessing.active_children() == []


def test_what_pytorch_does_at_the_edges():
    for m in (tg, torch):
        data = m.utils.data
        batch = data.default_collate([(1, "a"), (2, "b")])
        assert batch[0].tolist() == [1, 2] and batch[1] == ("a", "b")
        with pytest.raises(IndexError):
            data.default_collate([])
        loader = data.DataLoader(range(4))
        with pytest.raises(ValueError, match="batch_size attribute should not be set"):
            loader.batch_size = 3
        with pytest.raises(ValueError, match="valid start method"):
            data.DataLoader(range(4), num_workers=1, multiprocessing_context="pigeons")
        loader.worker_init_fn = None


@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"shuffle": False}, {"seed": 3}], ids=str
)
def test_shares_of_several_processes(options):
    for size in (0, 1, 10, 11, 12):
        for rank in range(3):
            samplers = [
                m.utils.data.DistributedSampler(range(size), 3, rank, **options)
                for m in (tg, torch)
            ]
            for epoch in range(2):
                for sampler in samplers:
                    sampler.set_epoch(epoch)
                ours, theirs = map(list, samplers)
                if size:  # of nothing PyTorch divides by zero
                    assert ours == theirs and len(samplers[0]) == len(samplers[1])
    with pytest.raises(ValueError, match="Invalid rank"):
        tg.utils.data.DistributedSampler(range(3), 2, 2)


@pytest.mark.skipif(tg.cuda.is_available(), reason="about a machine without a device")
@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a device")
def test_without_a_device_batches_are_plain_with_a_warning():
    for m in (tg, torch):
        with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no acc"):
            batches = list(m.utils.data.DataLoader(dataset(m), batch_size=4, pin_memory=True))
        assert len(batches) == 3 and not batches[0][0].is_pinned()
        check_error(
            RuntimeError, "pin_memory=True requires a CUDA", lambda m=m: m.zeros(2, pin_memory=True)
        )
    np.testing.assert_array_equal(as_array(batches[0][0]), X[:4])

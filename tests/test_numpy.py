"""NumPy both ways: shared memory, dtypes, strides, lifetime, and arrays that are refused."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tilegrad as tg
from support import check

DTYPES = ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways_share_memory(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    tensor = tg.from_numpy(array)
    assert (str(tensor.dtype), tuple(tensor.shape)) == (f"tilegrad.{dtype}", (3, 4))
    back = tensor.numpy()
    assert back.dtype == array.dtype and np.shares_memory(array, back)
    array[1, 2] = 0
    assert tensor[1, 2].item() == 0 and back[1, 2] == 0
    back[2, 3] = 1
    assert array[2, 3] == 1 and tensor[2, 3].item() == 1


def test_writes_through_the_tensor_reach_the_array():
    array = np.zeros((2, 3), np.float32)
    tensor = tg.from_numpy(array)
    tensor.fill_(7.0)
    assert (array == 7).all()
    tensor[0].fill_(2.0)
    assert array[0].tolist() == [2, 2, 2] and array[1].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[:, 1::2],
        lambda a: a[1:, :2],
        lambda a: a[:, 3],
        lambda a: a[None, :, :, None],
        lambda a: np.broadcast_to(a[0], (5, 4)),
        lambda a: np.asfortranarray(a),
        lambda a: a[:0],
        lambda a: a[1, 1, ...],
    ],
)
def test_strided_arrays_keep_their_strides(view):
    array = view(np.arange(12.0).reshape(3, 4))
    tensor = tg.from_numpy(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert array.size == 0 or np.shares_memory(tensor.numpy(), array)
    np.testing.assert_array_equal((tensor + 1.0).numpy(), array + 1)


def test_views_of_tensors_become_views_of_arrays():
    tensor = tg.from_numpy(np.arange(24.0).reshape(2, 3, 4))
    array = tensor.transpose(0, 2)[1:, ::2].numpy()
    np.testing.assert_array_equal(
        array, np.arange(24.0).reshape(2, 3, 4).transpose(2, 1, 0)[1:, ::2]
    )
    array[...] = -1
    assert (tensor.numpy() == -1).sum() == array.size


def test_the_tensor_keeps_the_array_alive():
    class Array(np.ndarray):  # plain arrays cannot be referenced weakly on every NumPy
        pass

    array = np.ones(1000).view(Array)
    watch = weakref.ref(array)
    tensor = tg.from_numpy(array)
    view = tensor[10:]
    del array, tensor
    gc.collect()
    assert watch() is not None and view.numpy().sum() == 990
    del view
    gc.collect()
    assert watch() is None


def test_the_array_keeps_the_memory_alive():
    tensor = tg.full((1000,), 3.0)
    array = tensor[500:].numpy()
    del tensor
    gc.collect()
    others = [tg.full((1000,), 9.0) for _ in range(10)]
    assert (array == 3).all() and len(others) == 10


def test_read_only_arrays_stay_read_only():
    array = np.arange(4.0)
    array.flags.writeable = False
    tensor = tg.from_numpy(array)
    assert not tensor.numpy().flags.writeable
    with pytest.raises(RuntimeError, match="read-only"):
        tensor.fill_(0.0)
    with pytest.raises(RuntimeError, match="read-only"):
        tensor[1:].add_(1.0)
    assert array.tolist() == [0, 1, 2, 3]
    assert (tensor + 1.0).numpy().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("view", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[::-2]])
def test_negative_strides_are_value_errors(view):
    with pytest.raises(ValueError, match="negative strides"):
        tg.from_numpy(view(np.arange(12.0).reshape(3, 4)))


def test_the_other_byte_order_is_refused():
    with pytest.raises((TypeError, ValueError), match="byte order"):
        tg.from_numpy(np.arange(3.0).astype(">f8"))


def test_strides_between_elements_are_value_errors():
    record = np.zeros(4, dtype=[("flag", "i1"), ("value", "f4")])
    with pytest.raises(ValueError, match="multiples of the element size"):
        tg.from_numpy(record["value"])


@pytest.mark.parametrize("dtype", ["clongdouble", "uint16", "uint64", "U3", "O", "M8[s]"])
def test_other_dtypes_are_type_errors(dtype):
    with pytest.raises(TypeError, match=r"can't convert np\.ndarray of type"):
        tg.from_numpy(np.zeros(2, dtype=dtype))


@pytest.mark.parametrize("thing", [[1, 2], 3.0, None, "text"])
def test_other_objects_are_type_errors(thing):
    with pytest.raises(TypeError):
        tg.from_numpy(thing)


@pytest.mark.parametrize("number", [int, float])
@pytest.mark.parametrize("count", [0, 2])
def test_only_one_element_becomes_a_number(number, count):
    with pytest.raises(ValueError, match=rf"one element.*\({count},\)"):
        number(tg.ones(count))
    assert number(tg.ones(1, 1)) == 1


def test_tensors_that_require_gradients_must_be_detached_first():
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        x.numpy()
    assert np.shares_memory(x.detach().numpy(), x.detach().numpy())


def test_numpy_functions_accept_tensors():
    x = tg.from_numpy(np.arange(6.0).reshape(2, 3))
    assert np.asarray(x).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    assert np.array(x, copy=True).sum() == 15 and not np.shares_memory(np.array(x), x.numpy())


def test_zero_dimensional_arrays():
    assert tg.from_numpy(np.array(2.5)).item() == 2.5
    assert tg.from_numpy(np.array(3)).numpy().shape == ()


AXIS = {
    "cat": lambda m, x: m.cat([x, x], axis=1),
    "stack": lambda m, x: m.stack([x, x], axis=1),
    "unsqueeze": lambda m, x: x.unsqueeze(axis=-1),
    "squeeze": lambda m, x: x[:, :1].squeeze(axis=1),
    "softmax": lambda m, x: m.softmax(x, axis=1),
    "log_softmax": lambda m, x: x.log_softmax(axis=0),
    "cumprod": lambda m, x: m.cumprod(x, axis=0),
    "logcumsumexp": lambda m, x: m.logcumsumexp(x, axis=1),
    "sort": lambda m, x: m.sort(x, axis=0, descending=True)[0],
    "argsort": lambda m, x: x.argsort(axis=1),
    "topk": lambda m, x: x.topk(2, axis=1)[0],
    "median": lambda m, x: x.median(axis=1, keepdims=True)[0],
    "nansum": lambda m, x: m.nansum(x, axis=1, keepdims=True),
    "count_nonzero": lambda m, x: m.count_nonzero(x, axis=1),
    "unbind": lambda m, x: m.unbind(x, axis=1)[2],
    "chunk": lambda m, x: x.chunk(2, axis=1)[1],
    "diff": lambda m, x: m.diff(x, axis=1),
    "repeat_interleave": lambda m, x: x.repeat_interleave(2, axis=1),
}


@pytest.mark.parametrize("call", AXIS.values(), ids=AXIS)
def test_axis_stands_for_dim(call):
    check(call, np.random.default_rng(0).standard_normal((3, 4)))


def test_axis_and_dim_together_raise():
    with pytest.raises(TypeError, match="'dim' and 'axis'"):
        tg.softmax(tg.ones(2, 2), dim=0, axis=1)

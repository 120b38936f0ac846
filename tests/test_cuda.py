"""tilegrad.cuda: honest answers without a card, and with one the same results as on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _C

without_gpu = pytest.mark.skipif(tg.cuda.is_available(), reason="this machine has a GPU")


@without_gpu
def test_without_a_device_the_questions_have_honest_answers():
    assert tg.cuda.is_available() is False
    assert tg.cuda.device_count() == 0
    assert tg.cuda.memory_allocated() == tg.cuda.max_memory_allocated() == 0
    assert tg.cuda.memory_reserved() == 0
    tg.cuda.empty_cache()


@without_gpu
@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.zeros(2, device="cuda"),
        lambda: tg.empty(2, device="cuda:0"),
        lambda: tg.arange(3, device=tg.device("cuda")),
        lambda: tg.ones(2).to("cuda"),
        lambda: tg.ones(2).to(0),
        lambda: tg.nn.Linear(1, 1).to(0),
        lambda: tg.device(0),
        lambda: tg.cuda.synchronize(),
        lambda: tg.cuda.get_device_name(),
        lambda: tg.cuda.current_device(),
    ],
)
def test_without_a_device_calls_say_what_is_missing(call):
    with pytest.raises(RuntimeError, match="'cuda:0' is not available") as caught:
        call()
    missing = "built without CUDA" if tg.config()["cuda"] == "off" else r"driver|card"
    assert re.search(missing, str(caught.value))
    assert _C.cuda_unavailable_reason() in str(caught.value)


def test_with_device_blocks_nest_and_end():
    before = tg.get_default_device()
    with tg.device("cpu") as device:
        assert device == tg.get_default_device() == tg.device("cpu")
        with pytest.raises(ValueError, match="left"), device, tg.device("cuda", 0):
            assert tg.get_default_device() == tg.device("cuda", 0)
            raise ValueError("left")
        assert tg.tensor([1.0]).device == tg.get_default_device() == device
    assert tg.get_default_device() == before


@pytest.mark.parametrize(
    ("device", "exception"),
    [
        ("cpu", ValueError),
        (-1, ValueError),
        (1000, ValueError),
        (1.5, TypeError),
        (True, TypeError),
    ],
)
def test_devices_that_are_no_cards_are_refused(device, exception):
    with pytest.raises(exception, match="cuda: expected"):
        tg.cuda.synchronize(device)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "CPU", ""])
def test_unknown_devices_are_runtime_errors(name):
    with pytest.raises(RuntimeError, match="expected 'cpu', 'cuda'"):
        tg.device(name)


@pytest.mark.gpu
class TestOnTheCard:
    """The operations that cuda/ has, against the CPU."""

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
    def test_copies_there_and_back_keep_every_bit(self, dtype):
        array = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(dtype)
        there = tg.from_numpy(array).to("cuda")
        assert str(there.device) == "cuda:0"
        np.testing.assert_array_equal(there.cpu().numpy(), array)
        np.testing.assert_array_equal(there.transpose(0, 2)[1:].cpu().numpy(), array.T[1:])

    def test_conversion_happens_on_the_card(self):
        x = tg.from_numpy(np.array([-1.5, 0.0, 2.5, 300.0]))
        for dtype in (tg.float32, tg.int64, tg.int16, tg.bool):
            there = x.to("cuda").to(dtype)
            np.testing.assert_array_equal(there.cpu().numpy(), x.to(dtype).numpy())

    @pytest.mark.parametrize("dtype", [tg.float32, tg.int64, tg.uint8])
    def test_creation(self, dtype):
        assert (
            tg.full((3, 4), 7, dtype=dtype, device="cuda").cpu().numpy().tolist() == [[7] * 4] * 3
        )
        expected = tg.arange(1, 20, 3, dtype=dtype).numpy()
        there = tg.arange(1, 20, 3, dtype=dtype, device="cuda")
        np.testing.assert_array_equal(there.cpu().numpy(), expected)

    @pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "pow", "remainder"])
    def test_arithmetic_broadcasts(self, name):
        generator = np.random.default_rng(1)
        x = tg.from_numpy(generator.uniform(0.5, 2, (5, 1, 300)).astype(np.float32))
        y = tg.from_numpy(generator.uniform(0.5, 2, (7, 1)).astype(np.float32))
        operation = getattr(tg, name)
        there = operation(x.to("cuda"), y.to("cuda")).cpu().numpy()
        np.testing.assert_allclose(there, operation(x, y).numpy(), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
    def test_integer_division_by_zero_is_an_error_there_too(self, name):
        x = tg.from_numpy(np.array([7, -7])).to("cuda")
        with pytest.raises(RuntimeError, match="division by zero"):
            getattr(tg, name)(x, tg.from_numpy(np.array([2, 0])).to("cuda"))

    @pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (65, 33, 130), (128, 0, 3)])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
    def test_matmul(self, rows, inner, columns, dtype):
        generator = np.random.default_rng(2)
        x = (generator.standard_normal((4, rows, inner)) * 9).astype(dtype)
        y = (generator.standard_normal((columns, inner)) * 9).astype(dtype)
        there = (tg.from_numpy(x).to("cuda") @ tg.from_numpy(y).to("cuda").t()).cpu().numpy()
        exact = x.astype("float64") @ y.T.astype("float64")
        tolerance = {"float32": 1e-4, "float64": 1e-12, "int64": 0}[dtype]
        np.testing.assert_allclose(there, exact, rtol=tolerance, atol=tolerance * 100)

    def test_gradients_flow_on_the_card(self):
        x = tg.from_numpy(np.random.default_rng(3).standard_normal((8, 9))).to("cuda")
        x.requires_grad_()
        ((x @ x.t()) * 0.5).backward(tg.ones(8, 8, device="cuda", dtype=tg.float64))
        here = x.detach().cpu().requires_grad_()
        ((here @ here.t()) * 0.5).backward(tg.ones(8, 8, dtype=tg.float64))
        assert str(x.grad.device) == "cuda:0"
        np.testing.assert_allclose(x.grad.cpu().numpy(), here.grad.numpy(), rtol=1e-12, atol=1e-12)

    def test_devices_do_not_mix(self):
        with pytest.raises(RuntimeError, match="one device"):
            tg.ones(2, device="cuda") + tg.ones(2)

    def test_memory_is_counted_and_reused(self):
        before = tg.cuda.memory_allocated()
        x = tg.empty(1000, 1000, device="cuda")
        address = x.data_ptr()
        assert tg.cuda.memory_allocated() >= before + 4_000_000
        del x
        assert tg.cuda.memory_allocated() == before
        assert tg.empty(1000, 1000, device="cuda").data_ptr() == address
        reserved = tg.cuda.memory_reserved()
        tg.cuda.empty_cache()
        assert before <= tg.cuda.memory_reserved() <= reserved

    def test_a_full_card_is_an_error_and_no_more(self):
        with pytest.raises(RuntimeError, match="out of memory"):
            tg.empty(2**45, device="cuda", dtype=tg.uint8)
        assert tg.ones(3, device="cuda").cpu().numpy().tolist() == [1, 1, 1]

    def test_a_device_that_does_not_exist(self):
        with pytest.raises(RuntimeError, match=r"'cuda:99' does not exist.* CUDA device"):
            tg.empty(1, device="cuda:99")

    def test_an_index_out_of_range_is_an_error_and_no_more(self):
        x, index = tg.arange(5.0, device="cuda"), tg.tensor([4, 5], device="cuda")
        with pytest.raises(IndexError, match="index 5 is out of bounds"):
            x[index]
        with pytest.raises(RuntimeError, match="index 5 is out of bounds"):
            x.gather(0, index)
        assert x[index - 1].cpu().numpy().tolist() == [3, 4]

    def test_indices_are_where_the_tensor_is(self):
        x, index = tg.arange(5.0, device="cuda"), tg.tensor([4, 0])
        for call in (lambda: x.gather(0, index), lambda: x.index_select(0, index)):
            with pytest.raises(RuntimeError, match="same device"):
                call()

    def test_the_card_is_left_in_peace_at_exit(self):
        code = "import tilegrad as tg; x = tg.ones(3, device='cuda') + 1.0; print(x.cpu().numpy())"
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "[2. 2. 2.]", "")

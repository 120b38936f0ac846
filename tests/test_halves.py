"""bfloat16 and float16: conversions, promotion, and every public function against PyTorch."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
import tilegrad.nn.functional as F
from support import check_error, randn

DTYPES = ["bfloat16", "float16"]
ULP = {"bfloat16": 2.0**-7, "float16": 2.0**-10}  # relative distance of neighbours, at most


def ours(x: torch.Tensor) -> tg.Tensor:
    """The same tensor, of any dtype, for tilegrad."""
    if x.dtype is torch.bfloat16:
        return tg.from_numpy(x.float().numpy()).bfloat16()
    return tg.from_numpy(x.numpy().copy())


def values(x: Any) -> np.ndarray:
    """A floating tensor of either library in float64, another as it is."""
    x = x.detach()
    return (x.double() if x.is_floating_point() else x).numpy()


def bits(x: Any) -> np.ndarray:
    """The 16-bit patterns of a half tensor of either library."""
    x = x.detach()
    return (
        x.view(torch.int16) if isinstance(x, torch.Tensor) else tg._C.reinterpret(x, tg.int16)
    ).numpy()


# --- conversions ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_half_converts_exactly(dtype):
    patterns = np.arange(-(2**15), 2**15, dtype=np.int16)
    theirs = torch.from_numpy(patterns).view(getattr(torch, dtype))
    halves = tg._C.reinterpret(tg.from_numpy(patterns), getattr(tg, dtype))
    for wide in ("float", "double"):
        a, b = getattr(halves, wide)().numpy(), getattr(theirs, wide)().numpy()
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
    nan = np.isnan(theirs.float().numpy())
    there_and_back = bits(halves.float().to(getattr(tg, dtype)))
    np.testing.assert_array_equal(there_and_back[~nan], patterns[~nan])
    assert np.isnan(halves.float().to(getattr(tg, dtype)).float().numpy()[nan]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [1, 2])  # 2: a strided source
def test_floats_round_to_the_nearest_half_ties_to_even(dtype, step):
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 2**32, 1 << 16, dtype=np.uint32)
    ties = patterns & 0xFFFF0000 | 0x8000  # of bfloat16
    small = generator.integers(0x33000000, 0x38900000, 1 << 14, dtype=np.uint32)  # around 2^-14
    edges = generator.integers(0x477FE000, 0x47801000, 1 << 12, dtype=np.uint32)  # around 65504
    half_ties = patterns & 0x87FFE000 | 0x38001000  # of float16
    x = np.concatenate([patterns, ties, small, edges, half_ties]).view(np.float32)
    theirs = torch.from_numpy(x)[::step].to(getattr(torch, dtype))
    halves = tg.from_numpy(x)[::step].to(getattr(tg, dtype))
    nan = torch.isnan(theirs).numpy()
    assert nan.any()
    np.testing.assert_array_equal(bits(halves)[~nan], bits(theirs)[~nan])
    assert np.isnan(halves.float().numpy()[nan]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "other", ["float64", "int64", "int32", "int16", "int8", "uint8", "bool", "float16", "bfloat16"]
)
def test_conversions_between_halves_and_other_dtypes(dtype, other):
    x = torch.tensor([0.0, 1.0, -1.0, 2.5, -2.5, 100.0, 0.1, -0.0])
    if other == "uint8":
        x = x.abs()
    half = x.to(getattr(torch, dtype))
    there = half.to(getattr(torch, other))
    mine = ours(half).to(tg._C._dtype_by_name(other))
    np.testing.assert_array_equal(values(mine), values(there))
    np.testing.assert_array_equal(
        values(mine.to(getattr(tg, dtype))), values(there.to(getattr(torch, dtype)))
    )


# --- the dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_promotion(dtype):
    for other in ["float16", "bfloat16", "float32", "float64", "int64", "bool"]:
        pairs = [
            [m.ones(2, dtype=getattr(m, name)) for name in (dtype, other)] for m in (tg, torch)
        ]
        for cut in [lambda x, y: (x, y), lambda x, y: (x[0], y), lambda x, y: (x, y[0])]:
            (a, b), (c, d) = (cut(*pair) for pair in pairs)
            for mine, theirs in [(a + b, c + d), (b * a, d * c)]:
                assert str(mine.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    x = tg.ones(2, dtype=getattr(tg, dtype))
    for number in (1, 0.5, True):
        assert (x + number).dtype is x.dtype and (number * x).dtype is x.dtype
    assert x.sum(dtype=tg.float32).dtype is tg.float32
    assert tg.ones(2).sum(dtype=x.dtype).dtype is x.dtype
    assert tg.arange(3, dtype=x.dtype).dtype is x.dtype


def test_names_and_sizes():
    assert tg.half is tg.float16
    for dtype in (tg.bfloat16, tg.float16):
        assert dtype.itemsize == 2 and dtype.is_floating_point and dtype.is_signed
        assert tg.zeros(3, dtype=dtype).nbytes == 6
    assert tg.ones(1).bfloat16().dtype is tg.bfloat16 and tg.ones(1).half().dtype is tg.float16


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_lists_printing_and_pickle(dtype):
    x = tg.tensor([[1.5, -2.25], [3.0, 0.1]], dtype=getattr(tg, dtype))
    y = torch.tensor([[1.5, -2.25], [3.0, 0.1]], dtype=getattr(torch, dtype))
    assert x.tolist() == y.tolist() and x[0, 1].item() == -2.25
    assert repr(x) == repr(y).replace("torch.", "tilegrad.")
    again = pickle.loads(pickle.dumps(x))
    assert again.dtype is x.dtype and again.tolist() == x.tolist()
    assert tg.tensor([x[0], x[1]]).tolist() == x.tolist()


def test_numpy_has_float16_but_not_bfloat16():
    array = np.array([1.5, 2.0], np.float16)
    assert tg.from_numpy(array).dtype is tg.float16
    assert tg.from_numpy(array).numpy().dtype == np.float16
    check_error(TypeError, "unsupported ScalarType BFloat16", tg.ones(2, dtype=tg.bfloat16).numpy)


def test_numbers_too_large_are_refused():
    check_error(RuntimeError, "overflow", lambda: tg.full((2,), 1e6, dtype=tg.float16))
    check_error(RuntimeError, "overflow", lambda: tg.full((2,), 3.4e38, dtype=tg.bfloat16))
    assert tg.full((1,), 65504, dtype=tg.float16).item() == 65504


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_limits(dtype):
    mine, theirs = tg.finfo(getattr(tg, dtype)), torch.finfo(getattr(torch, dtype))
    for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert repr(mine) == repr(theirs)
    assert tg.finfo().dtype == "float32"
    check_error(TypeError, "iinfo", lambda: tg.finfo(tg.int8))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_limits_of_integers(dtype):
    mine, theirs = tg.iinfo(getattr(tg, dtype)), torch.iinfo(getattr(torch, dtype))
    for name in ("bits", "min", "max", "dtype"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert repr(mine) == repr(theirs)
    for wrong in (tg.float32, tg.bool, 3):
        check_error(TypeError, "finfo", lambda wrong=wrong: tg.iinfo(wrong))


# --- in place ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_writes_reach_the_tensor_its_views_and_its_version(dtype):
    x = tg.zeros(4, 3, dtype=getattr(tg, dtype))
    row = x[1]
    version = x._version
    row.add_(1.5)
    assert x._version > version
    assert x.tolist() == [[0.0] * 3, [1.5] * 3, [0.0] * 3, [0.0] * 3]
    x.t()[0].exp_()
    assert x[:, 0].tolist()[0] == 1.0 and row[0].item() == pytest.approx(4.48, rel=2**-7)
    x += tg.ones(3)  # float32: computed there, rounded
    assert x.dtype is getattr(tg, dtype) and x[3].tolist() == [2.0, 1.0, 1.0]
    wide = tg.zeros(3)
    wide.add_(x[3])
    assert wide.tolist() == [2.0, 1.0, 1.0]
    check_error(RuntimeError, "expanded", lambda: x[0, :1].expand(5).add_(1))


# --- every public function --------------------------------------------------------------------

RANDOM = (
    "rand", "normal", "bernoulli", "multinomial", "dropout", "seed", "poisson", "exponential_",
    "uniform_", "log_normal_", "cauchy_", "geometric_", "rrelu", "gumbel", "fractional",
)  # fmt: skip
SKIPPED = {
    # switches, and what has no values to compare
    "lp_pool1d", "lp_pool2d", "lp_pool3d", "set_default_dtype", "set_num_threads",
    "set_grad_enabled", "set_printoptions", "empty",
    "empty_like", "new", "new_empty", "data_ptr", "register_hook", "is_tensor", "numpy", "resize_",
    "__array__", "from_numpy", "set_rng_state", "get_rng_state", "initial_seed", "inference_mode",
    "no_grad", "enable_grad", "__reduce_ex__", "__reduce__", "__class__", "__new__", "__init__",
    "__hash__", "__setstate__", "__repr__", "__str__", "__format__", "__dir__", "__sizeof__",
    "__init_subclass__", "__subclasshook__", "__getattribute__", "__delattr__", "__setattr__",
    "__deepcopy__", "backward", "empty_strided", "as_strided", "storage_offset", "__contains__",
    "new_tensor", "tensor", "as_tensor", "Size", "device", "dtype", "Tensor", "to", "is_inference",
    "requires_grad_", "retain_grad", "apply_", "map_", "resize_as_",
    "matrix_exp",  # refuses halves, as PyTorch's
    "nextafter", "nextafter_",  # float32 and float64 only
}  # fmt: skip


def half(*shape: int, seed: int = 0, scale: float = 1.0) -> Callable[[], torch.Tensor]:
    return lambda: torch.from_numpy(randn(*shape, seed=seed) * scale).to(torch.bfloat16)


X, Y, Z = half(5, 6), half(5, 6, seed=1), half(5, 6, seed=2)
VECTOR, SQUARE, CUBE = half(6, seed=3), half(6, 6, seed=4), half(3, 5, 6, seed=5)
PART = lambda: torch.rand(5, 6, generator=torch.Generator().manual_seed(0)).bfloat16()  # noqa: E731
IMAGE, FILTER, FILTER_BIAS = half(2, 4, 9, 8), half(6, 4, 3, 3, seed=7), half(6, seed=8)
SIGNAL, FILTER1 = half(2, 4, 12), half(6, 4, 3, seed=9)
VOLUME, FILTER3 = half(1, 2, 6, 5, 6), half(4, 2, 3, 3, 3, seed=9)
LABELS = lambda: torch.arange(5) % 6  # noqa: E731
INDEX = lambda: torch.tensor([[0, 2, 1], [3, 0, 4]])  # noqa: E731
PLACES = lambda: torch.tensor([3, 0, 1])  # noqa: E731
MASK = lambda: torch.arange(30).reshape(5, 6) % 3 == 0  # noqa: E731
HEADS = half(2, 2, 5, 8, seed=11)
FLOATS = lambda: X().float()  # noqa: E731
WIDE = lambda: Y().float()  # noqa: E731

ARGUMENTS: list[tuple] = [
    (X,), (PART,), (VECTOR,), (SQUARE,), (CUBE,), (IMAGE,), (SIGNAL,),
    (X, Y), (X, WIDE), (FLOATS, Y), (X, VECTOR), (SQUARE, VECTOR), (VECTOR, VECTOR), (X, SQUARE),
    (CUBE, SQUARE), (CUBE, half(3, 6, 4)), (X, 2), (X, 0.25), (0.25, X), (X, -1), (X, 0), (PART, 3),
    (X, 0.25, 0.75), (X, Y, Z), (X, Y, 0.25), (X, 0, 1), (X, 1, True), (X, (0, 1)), (X, 2, 0),
    ([X, Y],), ([X, Y], 1), (X, MASK), (X, MASK, 2.5), (MASK, X, Y), (MASK, X, 0.5),
    (X, 1, INDEX), (X, 0, PLACES), (X, 1, PLACES), (X, 0, INDEX, half(2, 3, seed=12)),
    (X, 0, PLACES, half(3, 6, seed=12)), (X, (6, 5)), (X, 6, 5), (X, (3, 5, 6)), (X, 3, 5, 6),
    (X, LABELS), (X, (1, 1)), (X, (6,)), (X, (6,), VECTOR, VECTOR), (X, SQUARE, VECTOR),
    (IMAGE, FILTER), (IMAGE, FILTER, FILTER_BIAS), (IMAGE, FILTER, FILTER_BIAS, 2, 1),
    (IMAGE, 2), (IMAGE, 3, 2), (IMAGE, (3, 3)), (SIGNAL, FILTER1), (SIGNAL, FILTER1, FILTER_BIAS),
    (SIGNAL, 3), (VOLUME, FILTER3), (VOLUME, 2), (VOLUME,), (IMAGE, (1, 2, 0, 1)),
    (IMAGE, 2, half(4), half(4)),
    (IMAGE, half(4), half(4, scale=0.1), half(4), half(4)), (HEADS, HEADS, HEADS),
    (INDEX, half(7, 4)), (X, 3, 1), (X, 3, -1), (X, Y, VECTOR), (VECTOR, SQUARE, VECTOR),
    (SQUARE, SQUARE, SQUARE), (half(3, 4, 5), half(3, 5, 6)), (X, "mean"), (X, Y, 1),
    (MASK, 0.5, X),
    (X, VECTOR, X, 1), (IMAGE, 1), (PART, PART), (X, PART),
]  # fmt: skip


def made(argument: Any, mine: bool) -> Any:
    if isinstance(argument, list):
        return [made(item, mine) for item in argument]
    if not callable(argument):
        return argument
    tensor = argument()
    return ours(tensor) if mine else tensor


def leaves(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [leaf for item in result for leaf in leaves(item)]
    return [result]


def compare(name: str, mine: Any, theirs: Any, exact: Any) -> None:
    """PyTorch's shapes and dtypes; values within one rounding, or within PyTorch's error."""
    mine, theirs, exact = leaves(mine), leaves(theirs), leaves(exact)
    assert len(mine) == len(theirs), name
    for a, b, c in zip(mine, theirs, exact, strict=True):
        if not isinstance(b, torch.Tensor):
            continue
        dtypes = [str(t.dtype).split(".")[1] for t in (a, b)]
        assert dtypes[0] == dtypes[1] or (name in WIDER and dtypes[0] == "float32"), (name, dtypes)
        assert tuple(a.shape) == tuple(b.shape), name
        a, b, c = values(a), values(b), values(c)
        if c.dtype.kind != "f":
            np.testing.assert_array_equal(a, c, err_msg=name)  # of equal elements, we take one
            continue
        with np.errstate(invalid="ignore"):
            scale = np.abs(c) + ROUNDINGS.get(name, 0) * np.abs(c).max(initial=0)
            limit = np.fmax(scale * ULP["bfloat16"], np.abs(b - c)) + 1e-30
            same = (np.abs(a - c) <= limit) | (a == c) | (np.isnan(a) & np.isnan(c))
        assert same.all(), (name, a[~same][:4], c[~same][:4])


# Written with several operations, each of which rounds: relative to the largest element. The roots
# of lp_pool's sums of odd powers, which may be anywhere near 0, have no bound at all: not compared.
ROUNDINGS = dict.fromkeys(
    ["addmm", "baddbmm", "lerp", "lerp_", "binary_cross_entropy_with_logits"], 1.0
)
# A float32 argument beside a half makes the result float32, where PyTorch rounds it.
WIDER = {"binary_cross_entropy_with_logits", "huber_loss", "soft_margin_loss"}


def functions(mine: Any, theirs: Any) -> list[tuple[str, Any, Any]]:
    found = []
    for name in dir(mine):
        if name in SKIPPED or any(word in name for word in RANDOM) or name in ("__dict__",):
            continue
        if name[0] == "_" and not name.startswith("__"):
            continue
        f, g = getattr(mine, name), getattr(theirs, name, None)
        if inspect.isclass(f) or not callable(f) or g is None:
            continue
        found.append((name, f, g))
    return found


@pytest.mark.filterwarnings("ignore")  # of arguments that fit by chance
@pytest.mark.parametrize("room", ["tg", "Tensor", "F"])
def test_every_function_gives_what_pytorch_gives(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # `save` is among them
    mine, theirs = {
        "tg": (tg, torch), "Tensor": (tg.Tensor, torch.Tensor), "F": (F, torch.nn.functional)
    }[room]  # fmt: skip
    compared, failed, problems = set(), set(), []
    for name, f, g in functions(mine, theirs):
        for template in ARGUMENTS:
            arguments = [made(a, True) for a in template]
            is_method_call = room != "Tensor" or isinstance(arguments[0], tg.Tensor)
            if name in failed or not is_method_call or not fits(f, arguments):
                continue
            halves = [t for t in leaves(arguments) if getattr(t, "dtype", None) is tg.bfloat16]
            their_arguments = [made(a, False) for a in template]
            wide_arguments = [widened(a) for a in arguments]
            try:
                expected, exact = g(*their_arguments), f(*wide_arguments)
            except Exception:
                continue  # not how this function is called
            try:
                compare(name, f(*arguments), expected, exact)
                compare(name, arguments, their_arguments, wide_arguments)  # in-place writes
                if halves:
                    compared.add(name)
            except Exception as error:
                failed.add(name)
                shapes = [tuple(getattr(a, "shape", [a])) for a in leaves(arguments)]
                problems.append(f"{name} {shapes} {type(error).__name__}: {str(error)[:300]}")
    assert not problems, f"{len(problems)}\n" + "\n".join(problems)
    assert len(compared) >= {"tg": 120, "Tensor": 200, "F": 50}[room], len(compared)


def widened(argument: Any) -> Any:
    """A copy with float32 tensors in place of halves."""
    if isinstance(argument, list):
        return [widened(item) for item in argument]
    if not isinstance(argument, tg.Tensor):
        return argument
    return argument.float() if argument.dtype is tg.bfloat16 else argument.clone()


def fits(function: Callable[..., Any], arguments: list) -> bool:
    """Whether the function takes so many arguments: PyTorch's old overloads take other ones."""
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):  # ValueError: a builtin without one
        return False
    return True


# --- products ---------------------------------------------------------------------------------

# Rows, inner, columns: whole tiles, edges, odd inner sizes, few rows, one column, several blocks.
PRODUCTS = [
    (12, 32, 32), (24, 64, 96), (13, 31, 33), (1, 1, 1), (1, 257, 70), (5, 96, 1), (16, 33, 17),
    (17, 64, 31), (100, 1200, 45), (64, 2051, 8), (200, 30, 2100), (3, 0, 4), (0, 3, 4), (4, 3, 0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", PRODUCTS)
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt", "strided"])
def test_products_round_once(dtype, sizes, layout):
    rows, inner, columns = sizes
    kind = getattr(torch, dtype)
    a = torch.from_numpy(randn(rows, inner)).to(kind)
    b = torch.from_numpy(randn(inner, columns, seed=1)).to(kind)
    x, y = ours(a), ours(b)
    if layout == "strided":
        x = tg.cat([x, x], 1)[:, :inner] if inner else x
        y = tg.stack([y, y], 2)[:, :, 1]
    else:
        x = x.t().contiguous().t() if layout[0] == "t" else x
        y = y.t().contiguous().t() if layout[1] == "t" else y
    product = x @ y
    assert product.dtype is getattr(tg, dtype) and tuple(product.shape) == (rows, columns)
    exact = a.double() @ b.double()
    spread = (a.double().abs() @ b.double().abs()).numpy() * 2.0**-20  # of the float32 sums
    error = np.abs(values(product) - exact.numpy())
    assert (error <= np.abs(exact.numpy()) * ULP[dtype] * 0.51 + spread + 1e-6).all()


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_linear_adds_the_bias_before_it_rounds(rows, activation):
    a, w = (torch.from_numpy(randn(n, 67, seed=n)).bfloat16() for n in (rows, 50))
    bias = torch.from_numpy(randn(50)).bfloat16()
    y = tg._C.linear(ours(a), ours(w), ours(bias), activation)
    exact = a.double() @ w.double().t() + bias.double()
    exact = {"none": exact, "relu": exact.relu(), "gelu": torch.nn.functional.gelu(exact)}[
        activation
    ]
    np.testing.assert_allclose(values(y), exact.numpy(), rtol=2**-8 * 1.02, atol=1e-4)


def test_batches_broadcast_and_match_one_by_one():
    x, y = ours(half(2, 3, 5, 33)()), ours(half(3, 33, 40, seed=1)())
    product = tg.matmul(x, y)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(bits(product[i, j]), bits(x[i, j] @ y[j]))


def test_products_propagate_nan_and_infinity():
    x = torch.ones(14, 9)
    x[0, 3], x[5, 8], x[13, 0] = float("nan"), float("inf"), -float("inf")
    y = torch.ones(9, 35)
    y[0, 34] = 0
    # In float32, exact here: PyTorch's bfloat16 product gives NaN for infinity on some processors.
    expected = (x @ y).bfloat16()
    product = ours(x.bfloat16()) @ ours(y.bfloat16())
    np.testing.assert_array_equal(values(product), values(expected))


def test_products_do_not_depend_on_the_number_of_threads():
    x, y = ours(half(150, 300)()), ours(half(300, 500, seed=1)())
    before = tg.get_num_threads()
    try:
        tg.set_num_threads(1)
        one = bits(x @ y)
        tg.set_num_threads(2)
        np.testing.assert_array_equal(one, bits(x @ y))
    finally:
        tg.set_num_threads(before)


def test_products_refuse_mixed_dtypes():
    x = tg.ones(2, 2)
    check_error(RuntimeError, "one dtype", lambda: x @ x.bfloat16())
    check_error(RuntimeError, "one dtype", lambda: F.linear(x.bfloat16(), x.half()))


# --- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(dtype):
    results = []
    for m in (tg, torch):
        make = ours if m is tg else (lambda x: x)
        kind = getattr(torch, dtype)
        x, w, b = (
            make(torch.from_numpy(randn(*s, seed=i)).to(kind)).requires_grad_()
            for i, s in enumerate([(9, 33), (20, 33), (20,)])
        )
        y = m.nn.functional.linear(x, w, b).tanh()
        (y * y).sum().backward()
        assert str(x.grad.dtype).split(".")[1] == dtype
        results.append([values(t) for t in (y, x.grad, w.grad, b.grad)])
    for mine, theirs in zip(*results, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=2 * ULP[dtype], atol=2 * scale * ULP[dtype])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_module_learns(name, dtype):
    results = []
    for m in (tg, torch):
        make = ours if m is tg else (lambda x: x)
        layer = m.nn.Linear(6, 3)
        with m.no_grad():
            layer.weight.copy_(make(torch.from_numpy(randn(3, 6)).float()))
            layer.bias.copy_(make(torch.from_numpy(randn(3)).float()))
        layer = getattr(layer, "half" if dtype == "float16" else dtype)()
        assert str(layer.weight.dtype).split(".")[1] == dtype
        options = {"eps": 1e-4} if name != "SGD" else {"momentum": 0.9}
        optimizer = getattr(m.optim, name)(layer.parameters(), lr=0.125, **options)
        x = make(torch.from_numpy(randn(5, 6, seed=3)).to(getattr(torch, dtype)))
        for _ in range(3):
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()
        results.append(values(layer.weight))
    np.testing.assert_allclose(*results, rtol=8 * ULP[dtype], atol=8 * ULP[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_numbers_stay_below_the_bound(dtype):
    tg.manual_seed(0)
    for low, high in [(0.0, 1.0), (-2.0, -1.0), (-1.0, 0.0)]:
        x = tg.empty(20000, dtype=getattr(tg, dtype)).uniform_(low, high).float().numpy()
        assert x.min() >= low and x.max() < high
        assert x.mean() == pytest.approx((low + high) / 2, abs=0.02)
    assert tg.rand(3, dtype=getattr(tg, dtype)).dtype is getattr(tg, dtype)

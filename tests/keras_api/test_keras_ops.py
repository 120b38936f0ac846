"""``keras.ops``: values, dtypes and shapes are Keras's, also for tensors to come."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, both, close, ours

from tilegrad.keras import ops

A, B = array(3, 4), array(3, 4, seed=1)
INTS = np.array([[3, 1, 2, 0], [1, 1, 0, 2], [2, 3, 3, 1]], dtype="int32")
SQUARE = A @ A.T + 3 * np.eye(3, dtype="float32")
HOLES = np.where(A > 0.8, np.nan, A).astype("float32")
HOT = np.eye(4, dtype="float32")[:3]
IMAGE, KERNEL = array(2, 6, 5, 4), array(3, 3, 4, 2, seed=2)

# name -> arguments, options; several cases of one function have a number behind the name
CASES = {
    **{
        name: ((A,), {})
        for name in (
            "abs", "arctan", "arcsinh", "ceil", "cos", "cosh", "erf", "exp", "exp2", "expm1",
            "floor",
            "isfinite", "isinf", "isnan", "logical_not", "negative", "reciprocal", "relu", "round",
            "sigmoid", "sign", "signbit", "sin", "sinh", "softplus", "square", "tan", "tanh",
            "trunc",
            "silu", "softmax", "ravel", "transpose", "sum", "mean", "max", "min", "prod", "std",
            "var",
            "argmax", "argmin", "sort", "argsort", "cumsum", "cumprod", "diff", "flip", "median",
            "ptp", "any", "all", "logsumexp", "zeros_like", "ones_like", "diagonal",
            "trace", "tril", "triu", "norm", "isposinf", "deg2rad", "rad2deg", "fabs", "erfc",
        )
    },
    **{name: ((np.abs(A),), {}) for name in ("log", "log10", "log1p", "log2", "sqrt", "rsqrt")},
    **{name: ((np.clip(A, -0.9, 0.9),), {}) for name in ("arccos", "arcsin", "arctanh", "erfinv")},
    **{
        name: ((A, B), {})
        for name in (
            "add", "subtract", "multiply", "divide", "maximum", "minimum", "arctan2", "greater",
            "less_equal", "equal", "not_equal", "floor_divide", "mod", "hypot", "logaddexp", "dot_",
            "isclose", "logical_and", "logical_xor", "divide_no_nan", "fmod", "copysign_", "outer",
            "inner", "append", "cdist",
        )
        if not name.endswith("_")
    },
    "sum_axes": ((array(2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    "mean_ints": ((INTS,), {"axis": 1}),
    "divide_ints": ((INTS, 2), {}),
    "add_scalar": ((INTS, 1.5), {}),
    "multiply_scalar": ((2, A), {}),
    "power": ((np.abs(A), 1.5), {}),
    "clip": ((A, -0.5, 0.5), {}),
    "where": ((A > 0, A, B), {}),
    "where_scalar": ((A > 0, A, 0.0), {}),
    "matmul": ((A, B.T), {}),
    "dot": ((A, B.T), {}),
    "tensordot": ((A, B), {"axes": 2}),
    "einsum": (("ij,kj->ik", A, B), {}),
    "kron": ((A, B), {}),
    "vdot": ((A[0], B[0]), {}),
    "concatenate": (([A, B],), {"axis": 1}),
    "stack": (([A, B],), {"axis": -1}),
    "hstack": (([A, B],), {}),
    "vstack": (([A, B],), {}),
    "split": ((A, 2), {"axis": 1}),
    "split_indices": ((A, [1, 3]), {"axis": 1}),
    "reshape": ((A, (2, -1)), {}),
    "transpose_axes": ((array(2, 3, 4), (2, 0, 1)), {}),
    "expand_dims": ((A, (0, -1)), {}),
    "squeeze": ((array(3, 1, 4), 1), {}),
    "moveaxis": ((array(2, 3, 4), 0, -1), {}),
    "swapaxes": ((array(2, 3, 4), 0, 2), {}),
    "repeat": ((A, 2), {"axis": 1}),
    "tile": ((A, (2, 1)), {}),
    "roll": ((A, 1), {"axis": 1}),
    "rot90": ((A,), {}),
    "pad": ((A, ((1, 2), (0, 1))), {}),
    "pad_reflect": ((A, ((1, 2), (0, 1))), {"mode": "reflect"}),
    "broadcast_to": ((A, (2, 3, 4)), {}),
    "take": ((A, [2, 0, -1]), {"axis": 0}),
    "take_flat": ((A, [5, 1]), {}),
    "take_along_axis": ((A, np.argsort(A, 1)), {"axis": 1}),
    "one_hot": ((INTS, 4), {}),
    "multi_hot": ((INTS, 4), {}),
    "top_k": ((A, 2), {}),
    "in_top_k": ((np.array([0, 1, 2]), A, 2), {}),
    "bincount": ((INTS.ravel(),), {"minlength": 6}),
    "digitize": ((A, np.array([-1.0, 0.0, 1.0])), {}),
    "searchsorted": ((np.arange(4.0), np.array([0.5, 2.0])), {}),
    "segment_sum": ((A, np.array([0, 1, 0])), {"num_segments": 3}),
    "segment_max": ((A, np.array([0, 1, 0])), {"num_segments": 2}),
    "average": ((A,), {"axis": 1, "weights": np.array([1.0, 2.0, 0.5, 0.0], "float32")}),
    "quantile": ((A, 0.3), {"axis": 1}),
    "nan_to_num": ((HOLES,), {}),
    "nansum": ((HOLES,), {"axis": 1}),
    "nanmean": ((HOLES,), {"axis": 1}),
    "nanmax": ((HOLES,), {"axis": 1}),
    "diag": ((A[0],), {"k": 1}),
    "meshgrid": ((A[0], B[:, 0]), {}),
    "arange": ((2, 9, 3), {}),
    "arange_float": ((1.0,), {}),
    "linspace": ((0, 1, 5), {}),
    "linspace_open": ((0, 1, 5), {"endpoint": False}),
    "logspace": ((0, 2, 4), {}),
    "eye": ((3, 4), {"k": 1}),
    "tri": ((3,), {}),
    "full": ((), {"shape": (2, 3), "fill_value": 2.5}),
    "identity": ((3,), {}),
    "cast": ((A, "int32"), {}),
    "get_item": ((A, (slice(None), 1)), {}),
    "slice": ((A, (1, 0), (2, 3)), {}),
    "slice_update": ((A, (1, 0), np.zeros((2, 2), "float32")), {}),
    "scatter": ((np.array([[0], [2]]), A[:2], (4, 4)), {}),
    "scatter_update": ((A, np.array([[0, 1], [2, 3]]), np.array([9.0, 8.0], "float32")), {}),
    "moments": ((A,), {"axes": (0,)}),
    "normalize": ((A,), {}),
    "qr": ((SQUARE,), {}),
    "cholesky": ((SQUARE,), {}),
    "inv": ((SQUARE,), {}),
    "det": ((SQUARE,), {}),
    "solve": ((SQUARE, A), {}),
    "slogdet": ((SQUARE,), {}),
    "solve_triangular": ((np.tril(SQUARE), A), {"lower": True}),
    "conv": ((IMAGE, KERNEL), {"strides": 2, "padding": "same"}),
    "depthwise_conv": ((IMAGE, KERNEL), {}),
    "conv_transpose": ((IMAGE, array(3, 3, 2, 4)), {"strides": 2}),
    "max_pool": ((IMAGE, 2), {"padding": "same"}),
    "average_pool": ((IMAGE, (2, 2)), {"strides": 1}),
    "categorical_crossentropy": ((HOT, np.abs(A)), {}),
    "sparse_categorical_crossentropy": ((np.array([0, 3, 1]), A), {"from_logits": True}),
    "binary_crossentropy": ((HOT, A), {"from_logits": True}),
    "depth_to_space": ((array(1, 2, 2, 8), 2), {}),
    "space_to_depth": ((array(1, 4, 4, 2), 2), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values(case):
    args, options = CASES[case]
    name = case
    while not hasattr(ops, name):
        name = name.rpartition("_")[0]
    there, here = both(lambda k: getattr(k.ops, name)(*args, **options))
    close(there, here, rtol=2e-4, atol=2e-5)
    for a, b in zip(flat(there), flat(here), strict=True):
        if isinstance(a, np.ndarray) and a.dtype.kind == "f":
            assert a.dtype == b.dtype


@pytest.mark.parametrize("mode", ["symmetric", "edge", "reflect", "constant"])
def test_where_keras_fails_with_torch_numpy_is_the_oracle(mode):
    widths = ((2, 1), (3, 2))
    close(np.pad(A, widths, mode), ops.pad(A, widths, mode).numpy(), 0, 0)
    close(np.cross(A[:, :3], B[:, :3]), ops.cross(A[:, :3], B[:, :3]).numpy())
    assert [x.numpy().tolist() for x in ops.unstack(A)] == A.tolist()
    close(np.count_nonzero(INTS, 1), ops.count_nonzero(INTS, 1).numpy())


def flat(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def test_functions_on_tensors_to_come():
    x = ours.Input((4, 3))
    cases = {
        (None, 3): ops.sum(x, axis=1),
        (None, 4, 5): ops.matmul(x, np.ones((3, 5), "float32")),
        (None, 12): ops.reshape(x, (-1, 12)),
        (None, 8, 3): ops.concatenate([x, x], axis=1),
        (None, 3, 4): ops.transpose(x, (0, 2, 1)),
        (4, None, 3): ops.swapaxes(x, 0, 1),
        (None, 2, 3): x[:, 1:3],
        (None, 4): (x * 2 > 1)[:, :, 0],
    }
    for shape, made in cases.items():
        assert made.shape == shape
    assert (x > 0).dtype == "bool" and ops.argmax(x, 1).dtype == "int32"
    with pytest.raises(TypeError, match="symbolic"):
        bool(x)
    with pytest.raises(TypeError, match="symbolic"):
        np.asarray(x)


def test_control_flow():
    assert ops.while_loop(lambda i: i < 5, lambda i: i + 2, 0) == 6
    assert ops.fori_loop(0, 4, lambda i, total: total + i, 0) == 6
    assert ops.cond(True, lambda: 1, lambda: 2) == 1
    carry, steps = ops.scan(lambda c, x: (c + x, c * x), ops.zeros(()), ops.arange(4.0))
    assert float(carry) == 6 and steps.numpy().tolist() == [0, 0, 2, 9]
    doubled = ops.map(lambda x: x * 2, ops.arange(3))
    assert doubled.numpy().tolist() == [0, 2, 4]
    x = ours.Variable(3.0)
    (ops.stop_gradient(x) * x).backward()
    assert float(x.grad) == 3.0


def test_variables():
    for keras_ops in (ours,):
        v = keras_ops.Variable([1.0, 2.0], name="v")
        v.assign_add([1.0, 1.0])
        v.assign_sub(ops.ones(2))
        assert v.numpy().tolist() == [1, 2] and v.name == "v" and v.trainable
        with pytest.raises(ValueError, match="shape"):
            v.assign([1.0, 2.0, 3.0])
        v.trainable = False
        assert not v.requires_grad
    with pytest.raises(ValueError, match="`shape` argument"):
        ours.Variable("zeros")


def test_random_numbers_are_seeded():
    random = ours.random
    for name, args in (
        ("normal", ((3, 2),)), ("uniform", ((3, 2),)), ("randint", ((3,), 0, 9)),
        ("truncated_normal", ((50,),)), ("shuffle", (np.arange(9),)), ("gamma", ((4,), 2.0)),
        ("categorical", (np.zeros((2, 3), "float32"), 5)), ("dropout", (np.ones((4, 4)), 0.5)),
    ):  # fmt: skip
        first, second = (getattr(random, name)(*args, seed=1).numpy() for _ in range(2))
        np.testing.assert_array_equal(first, second)
        source = random.SeedGenerator(1)
        third, fourth = (getattr(random, name)(*args, seed=source).numpy() for _ in range(2))
        assert not np.array_equal(third, fourth)
    assert abs(random.truncated_normal((500,), seed=0).numpy()).max() <= 2

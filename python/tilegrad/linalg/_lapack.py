"""How linear algebra reaches LAPACK: through NumPy, one call for a whole batch of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor, as_array

__all__ = ["LinAlgError", "call", "check_matrix", "check_square", "put_all"]


# Where matrices may be complex.
_TAKE_COMPLEX = {
    *(f"linalg.{name}" for name in ("cholesky", "cond", "det", "eig", "eigh", "eigvals", "inv")),
    *(f"linalg.{name}" for name in ("inv_ex", "lu", "lu_factor", "lu_solve", "matrix_exp")),
    *(f"linalg.{name}" for name in ("matrix_power", "matrix_rank", "pinv", "qr", "slogdet")),
    *(f"linalg.{name}" for name in ("solve", "solve_triangular", "svd")),
}


class LinAlgError(RuntimeError):
    """A matrix without the property that an operation needs: singular, not positive definite."""


def check_matrix(op: str, name: str, x: Any) -> None:
    """``x`` is a batch of matrices of float32 or float64, or complex where an operation takes that.
    Raises RuntimeError, NotImplementedError or TypeError."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: argument '{name}': expected a Tensor, got {type(x).__name__}")
    if x.ndim < 2:
        raise RuntimeError(
            f"{op}: The input tensor {name} must have at least 2 dimensions, got shape "
            f"{list(x.shape)}"
        )
    if x.dtype.is_complex:
        if op in _TAKE_COMPLEX:
            return
        raise NotImplementedError(f"{op}: not implemented for complex numbers")
    if x.dtype not in (_C.float32, _C.float64):
        what = "Low precision dtypes not supported" if x.dtype.is_floating_point else (
            "Expected a floating point or complex tensor as input"
        )  # fmt: skip
        raise RuntimeError(f"{op}: {what}. Got {x.dtype}")


def check_square(op: str, name: str, x: Any) -> None:
    """The same, and the matrices are square."""
    check_matrix(op, name, x)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{op}: {name} must be batches of square matrices, but they are {x.shape[-2]} by "
            f"{x.shape[-1]} matrices"
        )


def call(op: str, function: Callable[..., Any], *tensors: Any, **options: Any) -> Any:
    """A function of NumPy's applied to the values; its arrays come back as tensors."""
    try:
        with np.errstate(all="ignore"):
            result = function(*(as_array(x) for x in tensors), **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(
            f"{op}: The algorithm failed to converge or the input is not invertible: {error}"
        ) from None
    device = tensors[0].device

    def made(x: Any) -> Any:
        return _C.from_numpy(np.ascontiguousarray(np.asarray(x)).reshape(np.shape(x))).to(device)

    return tuple(map(made, result)) if isinstance(result, tuple) else made(result)


def put_all(out: Any, results: tuple) -> tuple:
    """Several results, written to the tensors ``out`` if that is given."""
    from ..ops._register import put_out

    if out is None:
        return results
    return tuple(put_out(to, x) for to, x in zip(out, results, strict=True))

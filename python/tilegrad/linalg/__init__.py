"""``tilegrad.linalg``: linear algebra through LAPACK, with gradients, as in ``torch.linalg``."""

from typing import Any as _Any

from . import norms as _norms
from ._lapack import LinAlgError
from .eigenvalues import eig, eigvals
from .factorizations import (
    cholesky,
    cholesky_ex,
    eigh,
    eigvalsh,
    lu,
    lu_factor,
    lu_factor_ex,
    qr,
    svd,
    svdvals,
)
from .norms import (
    cond,
    cross,
    diagonal,
    householder_product,
    matmul,
    matrix_exp,
    matrix_norm,
    matrix_power,
    matrix_rank,
    multi_dot,
    vander,
    vecdot,
    vector_norm,
)
from .solvers import (
    det,
    inv,
    inv_ex,
    lstsq,
    lu_solve,
    pinv,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)

norm = _norms._norm
norm.__name__ = norm.__qualname__ = "norm"

__all__ = [
    name
    for name, value in globals().items()
    if name[0] != "_" and callable(value) and value is not _Any
]

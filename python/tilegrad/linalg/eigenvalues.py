"""Eigenvalues of matrices that need not be symmetric: eig, eigvals.

Both are complex for real matrices too. Matrices are the last two dimensions, all before them a
batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.conjugation import wirtinger
from ..autograd.graph import needs_grad, record
from ..ops import diag_embed, eye, where
from ..ops._register import put_out
from ._lapack import call, check_square, put_all
from .solvers import solve

__all__ = ["eig", "eigvals"]


class Eig(NamedTuple):
    """What :func:`eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


@full_precision_on("cpu")
def eig(A: Any, *, out: Any = None) -> Eig:
    """(eigenvalues, eigenvectors in columns of length 1): (..., n, n) -> (..., n), (..., n, n).

    Complex, in no particular order. Gradients need distinct eigenvalues, and a result that does not
    depend on the phase of an eigenvector, which is arbitrary. Raises RuntimeError for matrices that
    are not square or not finite.
    """
    check_square("linalg.eig", "A", A)
    if not np.isfinite(A.detach().cpu().numpy()).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    values, vectors = call("linalg.eig", lambda x: tuple(np.linalg.eig(x)), A)
    dtype = _C.promote_types(A.dtype, _C.complex64)
    values, vectors = values.to(dtype), vectors.to(dtype)
    if needs_grad(A):
        record((values, vectors), linalg_eig_backward, (A,), (values, vectors))
    return Eig(*put_all(out, (values, vectors)))


@wirtinger
def linalg_eig_backward(node: Any, grad_values: Any, grad_vectors: Any) -> Any:
    """Boeddeker et al. (2019), "On the computation of complex-valued gradients", section 4.17, for
    eigenvectors of length 1."""
    values, vectors = node.saved
    inner = 0
    if grad_vectors is not None:
        turn = vectors.mH @ grad_vectors
        along = turn.diagonal(0, -2, -1)
        _check_phase(along)
        turn = turn - vectors.mH @ (vectors * along.real.unsqueeze(-2))
        gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
        diagonal = eye(values.shape[-1], dtype=_C.boolean, device=values.device)
        inner = where(diagonal, 0, turn / where(diagonal, 1, gaps.conj()))
    if grad_values is not None:
        inner = inner + diag_embed(grad_values)
    return solve(vectors.mH, inner @ vectors.mH)


def _check_phase(along: Any) -> None:
    """A loss that changes with an eigenvector's phase has no gradient."""
    turned = along.detach().imag.abs()
    limit = 1e-2 * along.detach().abs().clamp(min=1.0)
    if bool((turned > limit).any()):
        raise RuntimeError(
            "linalg_eig_backward: The eigenvectors in the complex case are specified up to "
            "multiplication by e^{i phi}. The specified loss function depends on this quantity, so "
            "it is ill-defined."
        )


@full_precision_on("cpu")
def eigvals(A: Any, *, out: Any = None) -> Any:
    """The eigenvalues of :func:`eig`, with its errors."""
    if needs_grad(A):
        output = eig(A).eigenvalues
    else:
        check_square("linalg.eigvals", "A", A)
        dtype = _C.promote_types(A.dtype, _C.complex64)
        output = call("linalg.eigvals", np.linalg.eigvals, A).to(dtype)
    return output if out is None else put_out(out, output)

"""Decompositions of low rank: they are close, and refuse what would take for ever."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check_error, randn


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (2, 9, 4)])
def test_products_of_few_columns_are_found(shape):
    factors = randn(*shape[:-1], 3), randn(*shape[:-2], 3, shape[-1], seed=1)
    product = tg.from_numpy(factors[0] @ factors[1])
    tg.manual_seed(0)
    for U, S, V in (tg.svd_lowrank(product, 3), tg.pca_lowrank(product, 3, center=False)):
        found = U @ S.diag_embed() @ V.mT
        np.testing.assert_allclose(as_array(found), as_array(product), rtol=1e-9, atol=1e-9)
    U, S, V = tg.pca_lowrank(product, 3)
    centered = product - product.mean(-2, keepdim=True)
    np.testing.assert_allclose(
        as_array(S), np.linalg.svd(as_array(centered))[1][..., :3], rtol=1e-9, atol=1e-9
    )
    del U, V


def test_complaints():
    x = tg.ones(4, 3)
    for kind, pattern, call in [
        (ValueError, "at most 1000, got 4611686018427387904", lambda: tg.svd_lowrank(x, 1, 2**62)),
        (ValueError, "at most 1000", lambda: tg.pca_lowrank(x, 1, niter=2**62)),
        (ValueError, "at most 1000", lambda: tg.svd_lowrank(x, 1, tg.tensor(2**40))),
        (TypeError, "integer", lambda: tg.svd_lowrank(x, 1, 2.5)),
        (ValueError, "not greater than min", lambda: tg.pca_lowrank(x, 4)),
        (ValueError, "non-negative", lambda: tg.pca_lowrank(x, 1, niter=-1)),
    ]:
        check_error(kind, pattern, call)

"""Sorting, selection, distinct values and binary search against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 7, 3)
TIED = np.random.default_rng(0).integers(0, 4, (5, 40))
SPECIAL = np.array([[1.0, np.nan, -np.inf, np.inf, 0.0], [np.nan, 2.0, np.nan, -1.0, 3.0]])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sort(dim, descending):
    check(lambda m, x: tuple(m.sort(x, dim, descending)), X)
    check(lambda m, x: tuple(x.transpose(0, 2).sort(dim=dim, descending=descending)), X)
    check(lambda m, x: m.argsort(x, dim, descending), X)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32"])
def test_sort_is_stable_for_every_dtype(dtype):
    x = (TIED - 1).astype(dtype) if dtype != "uint8" else TIED.astype(dtype)
    for descending in (False, True):
        check(lambda m, x, d=descending: tuple(m.sort(x, stable=True, descending=d)), x, grad=False)


def test_sort_special_values_and_sizes():
    for descending in (False, True):
        check(
            lambda m, x, d=descending: tuple(m.sort(x, stable=True, descending=d)),
            SPECIAL,
            grad=False,
        )
    check(lambda m, x: tuple(m.sort(x)), np.array(2.0))
    check(lambda m, x: tuple(m.sort(x)), np.zeros((3, 0)))
    check(lambda m, x: tuple(m.sort(x, 0)), np.zeros((3, 0)))
    long = np.random.default_rng(1).integers(0, 1000, 20001)
    check(lambda m, x: tuple(m.sort(x, stable=True)), long)


def test_unique():
    for x in (TIED, TIED.astype(np.float32), TIED > 1, np.zeros((0, 2)), np.array(3)):
        check(lambda m, x: m.unique(x), x, grad=False)
        check(lambda m, x: m.unique(x, return_inverse=True, return_counts=True), x, grad=False)
    check(lambda m, x: m.unique(x, return_counts=True), SPECIAL, grad=False)
    rows = np.array([[2, 1], [0, 3], [2, 1]])
    for dim in (0, 1):
        check(lambda m, x, d=dim: m.unique(x, True, True, True, dim=d), rows, grad=False)
    check_error(IndexError, "range", lambda: tg.unique(tg.zeros(2, 2), dim=2))


def test_searchsorted():
    edges = np.array([0.0, 1.0, 1.0, 2.5])
    values = np.array([[-1.0, 0.0, 1.0], [1.5, 2.5, np.nan]])
    for right in (False, True):
        check(lambda m, e, v, r=right: m.searchsorted(e, v, right=r), edges, values, grad=False)
        check(lambda m, v, e, r=right: m.bucketize(v, e, right=r), values, edges, grad=False)
    check(
        lambda m, e, v: m.searchsorted(e, v, side="right", out_int32=True),
        edges,
        values,
        grad=False,
    )
    rows = np.sort(randn(3, 5), axis=1)
    check(lambda m, e, v: m.searchsorted(e, v), rows, randn(3, 2, seed=2), grad=False)
    check(lambda m, e: m.searchsorted(e, 1), edges, grad=False)
    check(lambda m, e, v: m.searchsorted(e, v), edges, np.zeros((0,)), grad=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.sort(x, 3),
        lambda m, x: m.topk(x, 8, 1),
        lambda m, x: m.topk(x, -1),
        lambda m, x: m.kthvalue(x, 0),
        lambda m, x: m.kthvalue(x, 8, 1),
        lambda m, x: m.median(x[:0], 0),
        lambda m, x: m.searchsorted(x, x[0]),
        lambda m, x: m.searchsorted(x[0, 0, 0], x),
        lambda m, x: m.searchsorted(x[0, 0], x, side="up"),
        lambda m, x: m.bucketize(x, x),
    ],
)
def test_complaints_have_pytorch_types(function):
    raised = []
    for m in (tg, torch):
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as caught:
            function(m, m.from_numpy(X.copy()))
        raised.append(caught.type)
    assert raised[0] is raised[1], raised

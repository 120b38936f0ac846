"""Resampling along one dimension, of which interpolation is made."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record

__all__: list[str] = []  # PyTorch has interpolate only


class Table(NamedTuple):
    """A sparse matrix in compressed rows: row j of the output is the sum over k from ``begin[j]``
    to ``begin[j + 1]`` of ``weight[k]`` times row ``index[k]`` of the input."""

    length: int  # of the input
    begin: np.ndarray  # (output size + 1), int64
    index: np.ndarray  # int64
    weight: np.ndarray  # float32 or float64

    def transposed(self) -> Table:
        """The table of the gradient."""
        size = len(self.begin) - 1
        rows = np.repeat(np.arange(size), np.diff(self.begin))
        order = np.argsort(self.index, kind="stable")  # so that sums keep their order
        begin = np.searchsorted(self.index[order], np.arange(self.length + 1))
        return Table(size, begin.astype(np.int64), rows[order], self.weight[order])


class Tables:
    """A table and its transpose, as tensors, on each device where they were needed."""

    def __init__(self, table: Table) -> None:
        self.both = (table, table.transposed())
        self.tensors: dict[Any, tuple] = {}

    def on(self, device: Any) -> tuple:
        """((begin, index, weight), the same of the transpose)."""
        found = self.tensors.get(device)
        if found is None:
            found = tuple(
                tuple(_C.from_numpy(part).to(device) for part in table[1:]) for table in self.both
            )
            self.tensors[device] = found
        return found


def resample(input: Any, dim: int, tables: Tables, transposed: bool = False) -> Any:
    """Rows of ``input`` along ``dim``, weighted and added as ``tables`` say.

    float32 or float64, as the weights are; the memory order is kept. Raises RuntimeError and
    NotImplementedError for other dtypes, IndexError for a table of other sizes.
    """
    output = _C.resample(input, dim, *tables.on(input.device)[transposed])
    if needs_grad(input):
        record(output, resample_backward, (input,), (dim, tables, transposed))
    return output


def resample_backward(node: Any, grad: Any) -> Any:
    dim, tables, transposed = node.saved
    return resample(grad, dim, tables, not transposed)

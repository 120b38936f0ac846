"""The cumulative sum along one dimension."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import composed_in_place, method, put_out

__all__ = ["cumsum"]


@method()
def cumsum(
    input: Any, dim: Any = None, *, dtype: Any = None, out: Any = None, axis: Any = None
) -> Any:
    """``output[i] = input[0] + ... + input[i]`` along ``dim``; the shape stays.

    bool and integers are summed in int64 unless ``dtype`` is given. Raises IndexError for a
    dimension out of range.
    """
    output = _cumsum(input, dim if axis is None else axis, dtype, False)
    return output if out is None else put_out(out, output)


def _cumsum(input: Any, dim: int, dtype: Any, reverse: bool) -> Any:
    output = _C.cumsum(input, dim, dtype, reverse)
    if needs_grad(input):
        record(output, cumsum_backward, (input,), (dim, reverse))
    return output


def cumsum_backward(node: Any, grad: Any) -> Any:
    dim, reverse = node.saved
    return _cumsum(grad, dim, None, not reverse)


composed_in_place(cumsum)

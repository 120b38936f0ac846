"""What the functions of one family have in common, added to the documentation of each of them.

``help(tilegrad.exp)`` so tells shapes, dtypes and errors, without forty copies in the source.
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

__all__ = ["complete"]

_NOT_A_TENSOR = "TypeError for what is not a tensor"
_BROADCAST = (
    "Raises RuntimeError for shapes that do not broadcast and for tensors on different devices, "
    "TypeError for operands that are neither tensor nor number."
)
_RULES = {
    "unary": "Any shape, which is kept. Integers and bool become the default dtype where the "
    f"result is no whole number. Raises {_NOT_A_TENSOR}, and RuntimeError or NotImplementedError "
    "for a dtype for which the function is not defined.",
    "binary": f"Shapes broadcast, dtypes are promoted. {_BROADCAST}",
    "compare": f"Any dtypes; bool where the result is a tensor. Shapes broadcast. {_BROADCAST}",
    "matmul": "One dtype for all. Raises RuntimeError for numbers of dimensions or sizes that do "
    f"not fit and for different dtypes, {_NOT_A_TENSOR}.",
    "reduce": "``dim`` disappears, or stays with size 1 under ``keepdim``. Raises IndexError for a "
    f"dimension out of range, RuntimeError for one listed twice, {_NOT_A_TENSOR}.",
    "view": "Any dtype; a view of the same memory where the strides allow it. Raises IndexError "
    f"for a dimension out of range, RuntimeError for sizes that do not fit, {_NOT_A_TENSOR}.",
    "join": "Any dtype, which is kept. Raises IndexError for a dimension out of range, "
    f"RuntimeError for sizes and counts that do not fit, {_NOT_A_TENSOR}.",
    "sort": "Any shape; values keep their dtype, positions are int64. Raises IndexError for a "
    f"dimension out of range, RuntimeError for counts that do not fit, {_NOT_A_TENSOR}.",
    "topk": "Any shape; values keep their dtype, positions are int64. Raises IndexError for a "
    f"dimension out of range, RuntimeError for counts that do not fit, {_NOT_A_TENSOR}.",
    "index": "Any dtype, which is kept; indices are integers. Raises IndexError or RuntimeError, "
    f"as PyTorch, for an index out of range, {_NOT_A_TENSOR}.",
    "scatter": "The dtype of ``input``; indices are int64. Raises IndexError or RuntimeError, as "
    "PyTorch, for an index out of range, RuntimeError for shapes that do not fit, "
    f"{_NOT_A_TENSOR}.",
    "where": f"The shape of ``input``, broadcast with other tensors. {_BROADCAST}",
    "random": "Shape and dtype are those of ``input``. Raises RuntimeError for values that are no "
    f"probabilities, {_NOT_A_TENSOR}.",
    "arithmetic": f"Shapes broadcast, dtypes are promoted. {_BROADCAST}",
    "arrange": "Any dtype, which is kept. Raises IndexError for a dimension out of range, "
    f"RuntimeError for sizes and counts that do not fit, {_NOT_A_TENSOR}.",
    "diagonals": "Any dtype, which is kept. Raises IndexError for a dimension out of range, "
    f"RuntimeError for sizes that do not fit, {_NOT_A_TENSOR}.",
    "differences": f"Raises IndexError for a dimension out of range, {_NOT_A_TENSOR}.",
    "distance": f"Raises RuntimeError for sizes that do not fit, {_NOT_A_TENSOR}.",
    "einsum": f"Raises RuntimeError for sizes that do not fit, {_NOT_A_TENSOR}.",
    "scatter_reduce": f"Raises RuntimeError for shapes that do not fit, {_NOT_A_TENSOR}.",
    "scan": f"Raises IndexError for a dimension out of range, {_NOT_A_TENSOR}.",
    "special": "Any shape, which is kept; integers become the default dtype. Raises "
    f"{_NOT_A_TENSOR}.",
    "statistics": f"Raises IndexError for a dimension out of range, {_NOT_A_TENSOR}.",
    "copy": f"Any shape and dtype, which are kept. Raises {_NOT_A_TENSOR}.",
}


@functools.cache
def _paragraph(family: str) -> str:
    """The family's rules as they stand in a docstring: wrapped once, not for each function."""
    lines = ["   "]
    for word in _RULES[family].split():
        if len(lines[-1]) + 1 + len(word) > 100:
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def complete(functions: dict[str, Any]) -> None:
    """Adds its family's rules to each function that does not state its errors itself."""
    for function in functions.values():
        if not isinstance(function, FunctionType) or not function.__doc__:
            continue
        family = function.__module__.rpartition(".")[2]
        if family in _RULES and "Error" not in function.__doc__:
            function.__doc__ = f"{function.__doc__.rstrip()}\n\n{_paragraph(family)}\n    "

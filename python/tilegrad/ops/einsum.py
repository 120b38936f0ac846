"""Products of several tensors: einsum, tensordot, kron, cross, vdot, addmv, addr, addbmm, ...

Everything is arranged so that the work is one batched matrix product per pair of operands.
"""

from __future__ import annotations

import functools
import math
import string
from collections.abc import Sequence
from typing import Any

from .._autocast import lowered_on, widest_on
from ..tensor import Tensor
from ._deprecated import factors_first
from ._register import composed_in_place, method, put_out, takes_tensors
from .matmul import addmm, baddbmm, bmm, dot, matmul, mv, outer
from .view import _dim, broadcast_tensors, diagonal, permute, reshape

__all__ = [
    "addbmm",
    "addmv",
    "addr",
    "chain_matmul",
    "cross",
    "einsum",
    "ger",
    "kron",
    "tensordot",
    "vdot",
]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def einsum(equation: Any, *operands: Any) -> Any:
    """Einstein's summation: ``einsum("bij,bjk->bik", x, y)`` is a batched matrix product.

    Each letter names a dimension, a repeated one in an operand its diagonal; letters that the
    output lacks are summed. Without ``->`` the output has the letters that occur once, in
    alphabetical order; ``...`` stands for further dimensions, which broadcast. Operands are
    contracted from left to right. The sublist form ``einsum(x, [0, 1], y, [1, 2], [0, 2])`` works
    too. Raises RuntimeError for equations and sizes that do not fit, ValueError for no operands,
    TypeError for what is not a tensor.
    """
    if not isinstance(equation, str):
        equation, operands = _from_sublists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    for x in operands:
        if not isinstance(x, Tensor):
            raise TypeError(f"einsum: expected tensors, got {type(x).__name__}")
    if not operands:
        raise RuntimeError("einsum(): must provide at least one operand")
    inputs, output = _parse(equation.replace(" ", ""), [x.ndim for x in operands])
    sizes = _label_sizes(operands, inputs)
    terms = [_without_repeats(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    result, labels = terms[0]
    for i, (other, other_labels) in enumerate(terms[1:], 1):
        later = {label for _, rest in terms[i + 1 :] for label in rest}
        keep = later | set(output)
        result, labels = _contract(result, labels, other, other_labels, keep)
    result, labels = _sum_out(result, labels, set(output))
    for label in output:
        if label not in labels:  # of an ellipsis that only broadcasts
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input "
                "operand"
            )
    result = permute(result, [labels.index(label) for label in output])
    shape = [sizes[label] for label in output]
    return result if list(result.shape) == shape else result.expand(shape)


def _from_sublists(arguments: tuple) -> tuple[str, tuple]:
    """The letters of the form with lists of numbers."""

    def letters(numbers: Any) -> str:
        if not isinstance(numbers, (list, tuple)):
            raise ValueError(f"einsum(): expected a list of subscripts, got {numbers!r}")
        made = ""
        for number in numbers:
            if number is not Ellipsis and not (isinstance(number, int) and 0 <= number < 52):
                raise ValueError(f"einsum(): subscripts must be within [0, 52) range, got {number}")
            made += "..." if number is Ellipsis else _LETTERS[number]
        return made

    if len(arguments) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    pairs = len(arguments) // 2
    operands = arguments[: 2 * pairs : 2]
    equation = ",".join(letters(x) for x in arguments[1 : 2 * pairs : 2])
    if len(arguments) % 2:
        equation += "->" + letters(arguments[-1])
    return equation, operands


def _parse(equation: str, ndims: list[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of each input and of the output; dimensions of an ellipsis are ``.0``, ``.1``, ...
    counted from the right."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) < len(ndims):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    if len(terms) > len(ndims):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    inputs, widest = [], 0
    for i, (term, ndim) in enumerate(zip(terms, ndims, strict=True)):
        letters = _letters(term, f"operand {i}")
        extra = ndim - sum(label != "..." for label in letters)
        if extra < 0 or (extra > 0 and "..." not in letters):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(letters)}) does not "
                f"match the number of dimensions ({ndim}) for operand {i}"
            )
        if "..." in letters:
            widest = max(widest, extra)
        inputs.append(_expanded(letters, extra))
    if arrow:
        letters = _letters(right, "the output")
        output = _expanded(letters, widest)
        if len(set(output)) < len(output):
            raise RuntimeError("einsum(): output subscript appears more than once in the output")
        known = {label for labels in inputs for label in labels}
        for label in output:
            if label not in known:
                raise RuntimeError(
                    f"einsum(): output subscript {label} does not appear in the equation for any "
                    "input operand"
                )
        return inputs, output
    counts: dict[str, int] = {}
    for labels in inputs:
        for label in labels:
            counts[label] = counts.get(label, 0) + 1
    free = sorted(label for label, n in counts.items() if n == 1 and label[0] != ".")
    return inputs, [f".{d}" for d in range(widest - 1, -1, -1)] + free


def _letters(term: str, where: str) -> list[str]:
    """One term taken apart: letters and at most one ``...``."""
    found, rest = [], term
    while rest:
        if rest.startswith("..."):
            if "..." in found:
                raise RuntimeError(f"einsum(): found '.' for {where} for which an ellipsis was "
                                   "already found")  # fmt: skip
            found.append("...")
            rest = rest[3:]
        elif rest[0] in _LETTERS:
            found.append(rest[0])
            rest = rest[1:]
        elif rest[0] == ".":
            raise RuntimeError(f"einsum(): found '.' for {where} that is not part of any ellipsis")
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {len(term) - len(rest)} in the "
                "equation string, subscripts must be in [a-zA-Z]"
            )
    return found


def _expanded(letters: list[str], extra: int) -> list[str]:
    """The letters with the ellipsis replaced by that many labels."""
    dots = [f".{d}" for d in range(extra - 1, -1, -1)]
    return [label for x in letters for label in (dots if x == "..." else [x])]


def _label_sizes(operands: Sequence[Any], inputs: list[list[str]]) -> dict[str, int]:
    """The size of each label; a size of 1 broadcasts."""
    sizes: dict[str, int] = {}
    for i, (x, labels) in enumerate(zip(operands, inputs, strict=True)):
        for label, size in zip(labels, x.shape, strict=True):
            known = sizes.get(label, 1)
            if size != known and 1 not in (size, known):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {i} which does not "
                    f"broadcast with previously seen size {known}"
                )
            sizes[label] = size if known == 1 else known
    return sizes


def _without_repeats(x: Any, labels: list[str]) -> tuple[Any, list[str]]:
    """Takes the diagonal of dimensions with the same label."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if x.shape[first] != x.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand but the sizes don't "
                    f"match, {x.shape[second]} != {x.shape[first]}"
                )
            x = diagonal(x, 0, first, second)
            labels = [
                *(name for d, name in enumerate(labels) if d not in (first, second)), label
            ]  # fmt: skip
    return x, labels


def _sum_out(x: Any, labels: list[str], keep: set[str]) -> tuple[Any, list[str]]:
    """Sums the dimensions that nothing needs any more."""
    gone = [d for d, label in enumerate(labels) if label not in keep]
    if gone:
        x = x.sum(gone)
    return x, [label for label in labels if label in keep]


def _contract(
    x: Any, x_labels: list[str], y: Any, y_labels: list[str], keep: set[str]
) -> tuple[Any, list[str]]:
    """One batched product over the labels that both share and nothing keeps."""
    x, x_labels = _sum_out(x, x_labels, keep | set(y_labels))
    y, y_labels = _sum_out(y, y_labels, keep | set(x_labels))

    def size(label: str) -> tuple[int, int]:
        return x.shape[x_labels.index(label)], y.shape[y_labels.index(label)]

    shared = [label for label in x_labels if label in y_labels]
    # A shared label of size 1 in one operand only broadcasts: there it is dropped.
    for label in shared:
        a, b = size(label)
        if a == b:
            continue
        if a == 1:
            x, x_labels = x.squeeze(x_labels.index(label)), [n for n in x_labels if n != label]
            y, y_labels = _sum_out(y, y_labels, keep | set(x_labels))
        else:
            y, y_labels = y.squeeze(y_labels.index(label)), [n for n in y_labels if n != label]
            x, x_labels = _sum_out(x, x_labels, keep | set(y_labels))
    shared = [label for label in x_labels if label in y_labels]
    batch = [label for label in shared if label in keep]
    summed = [label for label in shared if label not in keep]
    own = [label for label in x_labels if label not in y_labels]
    others = [label for label in y_labels if label not in x_labels]

    def arranged(t: Any, labels: list[str], *groups: list[str]) -> Any:
        t = permute(t, [labels.index(label) for group in groups for label in group])
        sizes = iter(t.shape)
        return reshape(t, [math.prod(next(sizes) for _ in group) for group in groups])

    shape = [
        *(x.shape[x_labels.index(label)] for label in batch + own),
        *(y.shape[y_labels.index(label)] for label in others),
    ]
    left = arranged(x, x_labels, batch, own, summed)
    right = arranged(y, y_labels, batch, summed, others)
    if not all(t.dtype.is_floating_point or t.dtype.is_complex for t in (left, right)):
        product = (left.unsqueeze(-1) * right.unsqueeze(1)).sum(2, dtype=left.dtype)
    else:
        product = bmm(left, right) if batch else matmul(left[0], right[0])
    return reshape(product, shape), batch + own + others


@takes_tensors
@widest_on("cuda")
def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Products summed over the last ``dims`` dimensions of ``a`` and the first of ``b``.

    ``dims`` is a number, or two lists of dimensions to pair. Raises RuntimeError for sizes and
    numbers of dimensions that do not fit.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        first, second = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        first, second = ([x] if isinstance(x, int) else list(x) for x in dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    first = [_dim(d, a.ndim, "tensordot") for d in first]
    second = [_dim(d, b.ndim, "tensordot") for d in second]
    for i, j in zip(first, second, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(
                "contracted dimensions need to match, but first has size "
                f"{a.shape[i]} in dim {i} and second has size {b.shape[j]} in dim {j}"
            )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"tensordot: both inputs should have same dtype, got {a.dtype} and {b.dtype}"
        )
    a_labels = [f"a{d}" for d in range(a.ndim)]
    b_labels = [f"b{d}" for d in range(b.ndim)]
    for i, j in zip(first, second, strict=True):
        b_labels[j] = a_labels[i]
    kept = [x for d, x in enumerate(a_labels) if d not in first]
    kept += [x for d, x in enumerate(b_labels) if d not in second]
    output, labels = _contract(a, a_labels, b, b_labels, set(kept))
    output = permute(output, [labels.index(label) for label in kept])
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def kron(input: Any, other: Any, *, out: Any = None) -> Any:
    """Kronecker's product: each element of ``input`` times all of ``other``, as one block.

    Shapes multiply, dtypes are promoted. Raises TypeError for what is not a tensor.
    """
    ndim = max(input.ndim, other.ndim)
    a = [1] * (ndim - input.ndim) + list(input.shape)
    b = [1] * (ndim - other.ndim) + list(other.shape)
    x = reshape(input, [size for n in a for size in (n, 1)])
    y = reshape(other, [size for n in b for size in (1, n)])
    output = reshape(x * y, [n * m for n, m in zip(a, b, strict=True)])
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
@widest_on("cuda")
def vdot(input: Any, other: Any, *, out: Any = None) -> Any:
    """:func:`dot` with the first vector conjugated. Errors are those of ``dot``."""
    return dot(input.conj(), other, out=out)


@takes_tensors
@widest_on("cuda")
def cross(input: Any, other: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """The cross product along ``dim``, of size 3 in both; by default the first such dimension.

    Shapes broadcast. Raises RuntimeError for other sizes and numbers of dimensions.
    """
    if input.ndim != other.ndim:
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions, got "
            f"{input.ndim} and {other.ndim}"
        )
    if dim is None:
        found = [d for d, n in enumerate(input.shape) if n == 3 == other.shape[d]]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    at = _dim(dim, input.ndim, "cross")
    if input.ndim == 0 or input.shape[at] != 3 or other.shape[at] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    input, other = broadcast_tensors(input, other)
    product = input.roll(-1, at) * other.roll(-2, at) - input.roll(-2, at) * other.roll(-1, at)
    return product if out is None else put_out(out, product)


method("cross")(cross)


# --- sums of products -----------------------------------------------------------------------------


def _scaled_sum(input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    """``beta * input + alpha * product``; with ``beta`` 0 the input's NaN do not spread."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


def _expect_dims(op: str, **tensors: tuple[Any, int]) -> None:
    for name, (x, ndim) in tensors.items():
        if x.ndim != ndim:
            raise RuntimeError(
                f"{op}: expected '{name}' with {ndim} dimensions, got shape {list(x.shape)}"
            )


def _check_expands(op: str, input: Any, shape: Any) -> None:
    lead = len(shape) - input.ndim
    if lead < 0 or any(a not in (1, b) for a, b in zip(input.shape, shape[lead:], strict=True)):
        raise RuntimeError(
            f"{op}: The expanded size of the tensor must match the existing size, got "
            f"{list(input.shape)} for {list(shape)}"
        )


@method()
@factors_first("beta", "alpha")
@takes_tensors
@lowered_on("cuda")
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Any:
    """``beta * input + alpha * (mat @ vec)``: (n, m), (m) -> (n). RuntimeError for sizes that do
    not fit."""
    _expect_dims("addmv", mat=(mat, 2), vec=(vec, 1))
    product = mv(mat, vec)
    _check_expands("addmv", input, product.shape)
    output = _scaled_sum(input, product, beta, alpha)
    return output if out is None else put_out(out, output)


@method()
@factors_first("beta", "alpha")
@takes_tensors
@lowered_on("cuda")
def addr(
    input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Any:
    """``beta * input + alpha * outer(vec1, vec2)``. RuntimeError for sizes that do not fit."""
    _expect_dims("addr", vec1=(vec1, 1), vec2=(vec2, 1))
    product = outer(vec1, vec2)
    _check_expands("addr", input, product.shape)
    output = _scaled_sum(input, product, beta, alpha)
    return output if out is None else put_out(out, output)


@method()
@factors_first("beta", "alpha")
@takes_tensors
@lowered_on(None)
def addbmm(
    input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Any:
    """``beta * input`` plus the sum of a batch of products: (b, n, m), (b, m, p) -> (n, p).

    RuntimeError for sizes that do not fit.
    """
    _expect_dims("addbmm", batch1=(batch1, 3), batch2=(batch2, 3))
    product = bmm(batch1, batch2).sum(0)
    _check_expands("addbmm", input, product.shape)
    output = _scaled_sum(input, product, beta, alpha)
    return output if out is None else put_out(out, output)


@takes_tensors
def chain_matmul(*matrices: Any, out: Any = None) -> Any:
    """The product of matrices from left to right. Raises RuntimeError for sizes that do not fit and
    no matrices."""
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    _expect_dims("chain_matmul", **{f"matrix {i}": (x, 2) for i, x in enumerate(matrices)})
    output = functools.reduce(matmul, matrices)
    return output if out is None else put_out(out, output)


ger = outer
Tensor.ger = outer


def _attach() -> None:
    for op in (addmv, addr, addbmm, addmm, baddbmm):
        composed_in_place(op)


_attach()

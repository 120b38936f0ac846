"""Matrix products: matmul, mm, bmm, mv, dot, linear."""

from __future__ import annotations

import math
from typing import Any

from .. import _C, _autocast
from .._autocast import lowered_on, widest_on
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._deprecated import factors_first
from ._register import method, operator, put_out, takes_tensors
from .activation import _relu_grad

__all__ = [
    "addmm",
    "baddbmm",
    "bmm",
    "dot",
    "inner",
    "linear",
    "matmul",
    "mm",
    "mv",
    "outer",
    "spmm",
]


@method()
def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """The matrix product over the last two dimensions; leading ones broadcast.

    Shapes: (..., n, k) @ (..., k, m) -> (..., n, m). A 1-dimensional argument acts as a row on the
    left, as a column on the right, and its dimension is dropped from the result. Both arguments
    have one dtype, not bool. Raises RuntimeError for inner sizes or dtypes that differ.
    """
    if _autocast.enabled and out is None and _autocast.is_on():
        return _autocast.lower(matmul, input, other)
    output = _product(input, other)
    return output if out is None else put_out(out, output)


def _product(input: Any, other: Any) -> Any:
    """The product in the dtypes that were given, in mixed precision too."""
    output = _C.matmul(input, other)
    if needs_grad(input, other):
        record(output, matmul_backward, (input, other), (input, other))
    return output


def matmul_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    row, column = input.ndim == 1, other.ndim == 1
    if row and column:
        return (
            grad * other if node.needs(0) else None,
            grad * input if node.needs(1) else None,
        )
    # Give every operand its matrix shape, then grad_input = grad @ other^T and so on.
    left = input.unsqueeze(0) if row else input
    right = other.unsqueeze(1) if column else other
    if row:
        grad = grad.unsqueeze(-2)
    if column:
        grad = grad.unsqueeze(-1)
    grad_input = grad_other = None
    if node.needs(0):
        grad_input = matmul(grad, right.transpose(-2, -1))
        if row:
            grad_input = grad_input.sum_to_size((1, input.shape[0])).squeeze(0)
    if node.needs(1):
        if right.ndim == 2 and left.ndim > 2:  # one product over all batches instead of a sum
            rows, columns = left.shape[-1], grad.shape[-1]
            count = math.prod(left.shape[:-1])
            flat = left.reshape(count, rows)
            grad_other = matmul(flat.t(), grad.reshape(count, columns))
        else:
            grad_other = matmul(left.transpose(-2, -1), grad)
        if column:
            grad_other = grad_other.sum_to_size((other.shape[0], 1)).squeeze(1)
    return grad_input, grad_other


operator("__matmul__", matmul)
operator("__rmatmul__", matmul, reflected=True)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``input @ weight.T + bias``: input (..., in), weight (out, in), bias (out) -> (..., out).

    All of one floating dtype. Raises RuntimeError for sizes that do not match.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(linear, input, weight, bias)
    output = _C.linear(input, weight, bias)
    if needs_grad(input, weight, bias):
        record(output, linear_backward, (input, weight, bias), (input, weight))
    return output


def linear_backward(node: Any, grad: Any) -> tuple:
    return _linear_gradients(node, grad, *node.saved)


def _linear_gradients(node: Any, grad: Any, input: Any, weight: Any) -> tuple:
    grad_input = grad_weight = grad_bias = None
    shape = input.shape
    if grad.ndim != 2:  # the products see one batch of rows
        grad = grad.reshape(-1, weight.shape[0])
        input = input.reshape(-1, weight.shape[1])
    if node.needs(0):
        grad_input = matmul(grad, weight)
        grad_input = grad_input if len(shape) == 2 else grad_input.reshape(shape)
    both = node.needs(1) and node.needs(2) and not needs_grad(grad, input)
    # bfloat16 sums in a reduction of its own: its products are packed in pairs.
    if both and grad.dtype is not _C.bfloat16 and grad.numel() and input.numel():
        grad_weight, grad_bias = _C.linear_grad_weight(grad, input)
    else:
        if node.needs(1):
            grad_weight = matmul(grad.t(), input)
        if node.needs(2):
            grad_bias = grad.sum(0)
    return grad_input, grad_weight, grad_bias


def linear_relu(input: Any, weight: Any, bias: Any = None) -> Any:
    """``relu(linear(input, weight, bias))`` in one pass over the output.

    Shapes, dtypes and errors are those of :func:`linear`.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(linear_relu, input, weight, bias)
    output = _C.linear(input, weight, bias, "relu")
    if needs_grad(input, weight, bias):
        record(output, linear_relu_backward, (input, weight, bias), (input, weight, output))
    return output


def linear_relu_backward(node: Any, grad: Any) -> tuple:
    input, weight, output = node.saved
    return _linear_gradients(node, _relu_grad(grad, output), input, weight)


def linear_add(input: Any, weight: Any, bias: Any, residual: Any) -> Any:
    """``residual + linear(input, weight, bias)`` in one pass over the output.

    ``residual`` broadcasts to the output's shape; dtypes and errors are those of :func:`linear`.
    """
    output = _C.linear(input, weight, bias, "none", residual)
    if needs_grad(input, weight, bias, residual):
        record(output, linear_add_backward, (input, weight, bias, residual), (input, weight))
    return output


def linear_add_backward(node: Any, grad: Any) -> tuple:
    return *_linear_gradients(node, grad, *node.saved), grad


def linear_gelu(input: Any, weight: Any, bias: Any = None) -> Any:
    """``gelu(linear(input, weight, bias))`` in one pass over the output, without a gradient.

    Shapes, dtypes and errors are those of :func:`linear`.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(linear_gelu, input, weight, bias)
    return _C.linear(input, weight, bias, "gelu")


def _expect_dims(op: str, **tensors: tuple[Any, int]) -> None:
    for name, (tensor, ndim) in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{op}: argument '{name}': expected a Tensor, got {type(tensor).__name__}"
            )
        if tensor.ndim != ndim:
            raise RuntimeError(
                f"{op}: argument '{name}': expected a {ndim}D tensor, "
                f"got shape {tuple(tensor.shape)}"
            )


@method()
def mm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """The product of two matrices, (n, k) @ (k, m)."""
    _expect_dims("mm", input=(input, 2), mat2=(mat2, 2))
    return matmul(input, mat2, out=out)


spmm = mm  # what graph networks call for matrices that they may also have sparse


@method()
def bmm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """Batched products without broadcasting, (b, n, k) @ (b, k, m)."""
    _expect_dims("bmm", input=(input, 3), mat2=(mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(
            f"bmm: expected both batches to have one size, got {input.shape[0]} and {mat2.shape[0]}"
        )
    return matmul(input, mat2, out=out)


@method()
@lowered_on("cuda")
def mv(input: Any, vec: Any, *, out: Any = None) -> Any:
    """A matrix times a vector, (n, m) @ (m)."""
    _expect_dims("mv", input=(input, 2), vec=(vec, 1))
    output = _product(input, vec)
    return output if out is None else put_out(out, output)


@method()
@widest_on("cuda")
def dot(input: Any, tensor: Any, *, out: Any = None) -> Any:
    """The inner product of two vectors of one length."""
    _expect_dims("dot", input=(input, 1), tensor=(tensor, 1))
    output = _product(input, tensor)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def inner(input: Any, other: Any) -> Any:
    """Products summed over the last dimension of both; a scalar scales."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    flat = matmul(input.reshape(-1, input.shape[-1]), other.reshape(-1, other.shape[-1]).t())
    return flat.reshape((*input.shape[:-1], *other.shape[:-1]))


@method("outer", "ger")
def outer(input: Any, vec2: Any) -> Any:
    """All products of two vectors' elements, (n), (m) -> (n, m)."""
    _expect_dims("outer", input=(input, 1), vec2=(vec2, 1))
    return input.unsqueeze(1) * vec2.unsqueeze(0)


def _is_plain_sum(input: Any, left: Any, right: Any, beta: Any, alpha: Any) -> bool:
    """Whether the product's kernel can add ``input`` while a block of it is still in cache."""
    return (
        beta == 1
        and alpha == 1
        and isinstance(input, Tensor)
        and input.ndim <= left.ndim
        and input.dtype is left.dtype is right.dtype
        and input.dtype.is_floating_point
    )


def _add_product(input: Any, left: Any, right: Any) -> Any:
    output = _C.addmm(input, left, right)
    if needs_grad(input, left, right):
        record(output, _add_product_backward, (input, left, right), (left, right))
    return output


def _add_product_backward(node: Any, grad: Any) -> tuple:
    left, right = node.saved
    return (
        grad if node.needs(0) else None,
        matmul(grad, right.transpose(-2, -1)) if node.needs(1) else None,
        matmul(left.transpose(-2, -1), grad) if node.needs(2) else None,
    )


@method()
@factors_first("beta", "alpha")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)``; input broadcasts to (n, m)."""
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(addmm, input, mat1, mat2, beta=beta, alpha=alpha)
    _expect_dims("addmm", mat1=(mat1, 2), mat2=(mat2, 2))
    if _is_plain_sum(input, mat1, mat2, beta, alpha):
        return _add_product(input, mat1, mat2)
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    return product + (input if beta == 1 else input * beta)


@method()
@factors_first("beta", "alpha")
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * (batch1 @ batch2)``; input broadcasts to (b, n, m)."""
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(baddbmm, input, batch1, batch2, beta=beta, alpha=alpha)
    _expect_dims("baddbmm", batch1=(batch1, 3), batch2=(batch2, 3))
    if batch1.shape[0] == batch2.shape[0] and _is_plain_sum(input, batch1, batch2, beta, alpha):
        return _add_product(input, batch1, batch2)
    product = bmm(batch1, batch2)
    product = product if alpha == 1 else product * alpha
    return product + (input if beta == 1 else input * beta)

"""Activation functions: relu, sigmoid, tanh, gelu, silu, softplus, elu and relatives.

Every function follows the one of the same name in ``torch`` or ``torch.nn.functional``, works
element by element and keeps shape and dtype. ``sigmoid``, ``tanh``, ``relu`` and ``hardtanh``
accept integers, the others raise NotImplementedError for dtypes that are not floating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ..autograd.views import in_place
from ._register import in_place_method, method, put_out, takes_tensors
from .unary import exp

__all__ = [
    "celu",
    "celu_",
    "relu",
    "relu_",
    "selu",
    "selu_",
    "sigmoid",
    "sigmoid_",
    "tanh",
    "tanh_",
]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _backward_op(kernel: Callable[..., Any], second: Callable[..., Any] | None) -> Any:
    """``backward(grad, value, *parameters)``: grad times the derivative, itself differentiable.

    ``value`` is whatever the kernel reads, the activation's input or output; ``second`` gives the
    derivative of the derivative with respect to it, None if that is zero.
    """

    def activation_backward(grad: Any, value: Any, *parameters: Any) -> Any:
        output = kernel(grad, value, *parameters)
        if needs_grad(grad, value):
            saved = (grad, value, *parameters)
            record(output, activation_double_backward, (grad, value), saved)
        return output

    def activation_double_backward(node: Any, grad_grad: Any) -> tuple:
        grad, value, *parameters = node.saved
        grad_value = None
        if second is not None and node.needs(1):
            grad_value = grad_grad * grad * second(value, *parameters)
        return activation_backward(grad_grad, value, *parameters), grad_value

    return activation_backward


def _apply(kernel: Any, backward: Any, input: Any, saves_output: bool, *parameters: Any) -> Any:
    output = kernel(input, *parameters)
    if needs_grad(input):
        record(output, backward, (input,), (output if saves_output else input, *parameters))
    return output


def _silu_second(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _gelu_second(x: Any) -> Any:
    return exp(x * x * -0.5) * (2 - x * x) * 0.3989422804014327


def _gelu_tanh_second(x: Any) -> Any:
    k, cubic = 0.7978845608028654, 0.044715
    gate, slope = tanh(k * (x + cubic * x * x * x)), k * (1 + 3 * cubic * x * x)
    return (1 - gate * gate) * (slope + 3 * k * cubic * x * x - x * gate * slope * slope)


def _softplus_second(x: Any, beta: float, threshold: float) -> Any:
    s = sigmoid(x * beta)
    return beta * s * (1 - s) * (x * beta <= threshold)


def _elu_second(x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    return (alpha * scale * input_scale * input_scale) * exp(x * input_scale) * (x <= 0)


def _log_sigmoid_second(x: Any) -> Any:
    s = sigmoid(x)
    return s * (s - 1)


def _hardswish_second(x: Any) -> Any:
    return ((x > -3) & (x < 3)).to(x.dtype) / 3


_relu_grad = _backward_op(_C.relu_backward, None)
_sigmoid_grad = _backward_op(_C.sigmoid_backward, lambda y: 1 - 2 * y)
_tanh_grad = _backward_op(_C.tanh_backward, lambda y: -2 * y)
_gelu_grad = _backward_op(_C.gelu_backward, _gelu_second)
_gelu_tanh_grad = _backward_op(_C.gelu_tanh_backward, _gelu_tanh_second)
_silu_grad = _backward_op(_C.silu_backward, _silu_second)
_leaky_relu_grad = _backward_op(_C.leaky_relu_backward, None)
_elu_grad = _backward_op(_C.elu_backward, _elu_second)
_softplus_grad = _backward_op(_C.softplus_backward, _softplus_second)
_log_sigmoid_grad = _backward_op(_C.log_sigmoid_backward, _log_sigmoid_second)
_hardtanh_grad = _backward_op(_C.hardtanh_backward, None)
_hardsigmoid_grad = _backward_op(_C.hardsigmoid_backward, None)
_hardswish_grad = _backward_op(_C.hardswish_backward, _hardswish_second)


@method()
def relu(input: Any, inplace: bool = False) -> Any:
    """``max(input, 0)``; NaN stays. Raises RuntimeError for bool.

    Any shape; the dtype is kept.
    """
    if not isinstance(input, _C.TensorBase):
        raise TypeError(f"relu: expected a Tensor, got {type(input).__name__}")
    if inplace:
        return input.relu_()
    if not input.dtype.is_floating_point:
        if input.dtype is _C.boolean:
            raise RuntimeError("relu: Boolean inputs not supported for relu")
        return _C.maximum(input, 0)
    output = _C.relu(input)
    if needs_grad(input):
        record(output, relu_backward, (input,), (output,))
    return output


def relu_backward(node: Any, grad: Any) -> Any:
    return _relu_grad(grad, *node.saved)


@method()
def sigmoid(input: Any, *, out: Any = None) -> Any:
    """``1 / (1 + exp(-input))``.

    Any shape and dtype; integers and bool give the default dtype. Raises TypeError for what is not
    a tensor.
    """
    output = _apply(_C.sigmoid, sigmoid_backward, input, True)
    return output if out is None else put_out(out, output)


def sigmoid_backward(node: Any, grad: Any) -> Any:
    return _sigmoid_grad(grad, *node.saved)


@method()
def tanh(input: Any, *, out: Any = None) -> Any:
    """The hyperbolic tangent.

    Any shape and dtype; integers and bool give the default dtype. Raises TypeError for what is not
    a tensor.
    """
    output = _apply(_C.tanh, tanh_backward, input, True)
    return output if out is None else put_out(out, output)


def tanh_backward(node: Any, grad: Any) -> Any:
    return _tanh_grad(grad, *node.saved)


def gelu(input: Any, approximate: str = "none") -> Any:
    """``input`` times the normal distribution function, or its ``tanh`` approximation.

    Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016). Raises RuntimeError for another
    ``approximate``.

    Any shape; floating dtypes, which are kept; NotImplementedError for others.
    """
    if approximate == "none":
        return _apply(_C.gelu, gelu_backward, input, False)
    if approximate == "tanh":
        return _apply(_C.gelu_tanh, gelu_tanh_backward, input, False)
    raise RuntimeError(
        f"gelu: approximate argument must be either none or tanh, got {approximate!r}."
    )


def gelu_backward(node: Any, grad: Any) -> Any:
    return _gelu_grad(grad, *node.saved)


def gelu_tanh_backward(node: Any, grad: Any) -> Any:
    return _gelu_tanh_grad(grad, *node.saved)


def silu(input: Any, inplace: bool = False) -> Any:
    """``input * sigmoid(input)``, also known as swish.

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    if inplace:
        return _in_place(input, silu, _C.silu_)
    return _apply(_C.silu, silu_backward, input, False)


def silu_backward(node: Any, grad: Any) -> Any:
    return _silu_grad(grad, *node.saved)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``input`` where positive, else ``negative_slope * input``.

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    if inplace:
        return _in_place(
            input,
            lambda x: leaky_relu(x, negative_slope),
            lambda x: _C.leaky_relu_(x, negative_slope),
        )
    return _apply(_C.leaky_relu, leaky_relu_backward, input, False, negative_slope)


def leaky_relu_backward(node: Any, grad: Any) -> Any:
    return _leaky_relu_grad(grad, *node.saved)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``input`` where positive, else ``alpha * (exp(input) - 1)``.

    Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units" (2016).

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    return _elu(input, inplace, alpha, 1.0, 1.0)


def _elu(input: Any, inplace: bool, *parameters: float) -> Any:
    if inplace:
        return _in_place(
            input, lambda x: _elu(x, False, *parameters), lambda x: _C.elu_(x, *parameters)
        )
    return _apply(_C.elu, elu_backward, input, False, *parameters)


def elu_backward(node: Any, grad: Any) -> Any:
    return _elu_grad(grad, *node.saved)


@takes_tensors
def selu(input: Any, inplace: bool = False) -> Any:
    """A scaled :func:`elu` that keeps activations at mean 0 and variance 1.

    Klambauer et al., "Self-Normalizing Neural Networks" (2017).

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    _expect_floating("selu", input)
    return _elu(input, inplace, _SELU_ALPHA, _SELU_SCALE, 1.0)


@takes_tensors
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``max(0, input) + min(0, alpha * (exp(input / alpha) - 1))``.

    Barron, "Continuously Differentiable Exponential Linear Units" (2017). Raises RuntimeError for
    an ``alpha`` of 0.

    Any shape; floating dtypes, which are kept; NotImplementedError for others.
    """
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    _expect_floating("celu", input)
    return _elu(input, inplace, alpha, 1.0, 1.0 / alpha)


def softplus(input: Any, beta: float = 1, threshold: float = 20) -> Any:
    """``log(1 + exp(beta * input)) / beta``; the input where ``beta * input > threshold``.

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    return _apply(_C.softplus, softplus_backward, input, False, float(beta), float(threshold))


def softplus_backward(node: Any, grad: Any) -> Any:
    return _softplus_grad(grad, *node.saved)


def logsigmoid(input: Any) -> Any:
    """``log(sigmoid(input))``, accurate for large negative inputs.

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    return _apply(_C.log_sigmoid, log_sigmoid_backward, input, False)


def log_sigmoid_backward(node: Any, grad: Any) -> Any:
    return _log_sigmoid_grad(grad, *node.saved)


@takes_tensors
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """``input`` limited to the range from ``min_val`` to ``max_val``.

    Raises ValueError if ``min_val`` is greater than ``max_val``, RuntimeError for bool.

    Any shape; the dtype is kept.
    """
    if min_val > max_val:
        raise ValueError(
            f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}"
        )
    if input.dtype is _C.boolean:
        raise RuntimeError("hardtanh: Bool inputs not supported for hardtanh")
    if not input.dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
    if inplace:
        return _in_place(
            input, lambda x: hardtanh(x, min_val, max_val), lambda x: _clamp_(x, min_val, max_val)
        )
    if input.dtype.is_floating_point:
        return _apply(_C.hardtanh, hardtanh_backward, input, False, min_val, max_val)
    return _C.minimum(_C.maximum(input, min_val), max_val)


def hardtanh_backward(node: Any, grad: Any) -> Any:
    return _hardtanh_grad(grad, *node.saved)


def _clamp_(tensor: Any, low: Any, high: Any) -> None:
    _C.maximum_(tensor, low)
    _C.minimum_(tensor, high)


@takes_tensors
def relu6(input: Any, inplace: bool = False) -> Any:
    """``input`` limited to the range from 0 to 6.

    Any shape; every dtype but bool, kept. Raises RuntimeError for bool, TypeError for what is not a
    tensor.
    """
    return hardtanh(input, 0.0, 6.0, inplace)


@takes_tensors
def mish(input: Any, inplace: bool = False) -> Any:
    """``input * tanh(softplus(input))``. Misra, "Mish" (2019).

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    _expect_floating("mish", input)
    if inplace:
        return _in_place(input, mish, lambda x: _C.copy_(x, mish(x)))
    return input * tanh(softplus(input))


@takes_tensors
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """``relu6(input + 3) / 6``.

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    _expect_floating("hardsigmoid", input)
    if inplace:
        return _in_place(input, hardsigmoid, _C.hardsigmoid_)
    return _apply(_C.hardsigmoid, hardsigmoid_backward, input, False)


def hardsigmoid_backward(node: Any, grad: Any) -> Any:
    return _hardsigmoid_grad(grad, *node.saved)


@takes_tensors
def hardswish(input: Any, inplace: bool = False) -> Any:
    """``input * relu6(input + 3) / 6``. Howard et al., "Searching for MobileNetV3" (2019).

    Any shape; floating dtypes, which are kept. Raises NotImplementedError for other dtypes,
    TypeError for what is not a tensor.
    """
    _expect_floating("hardswish", input)
    if inplace:
        return _in_place(input, hardswish, _C.hardswish_)
    return _apply(_C.hardswish, hardswish_backward, input, False)


def hardswish_backward(node: Any, grad: Any) -> Any:
    return _hardswish_grad(grad, *node.saved)


def _expect_floating(op: str, input: Any) -> None:
    if not input.dtype.is_floating_point:
        raise NotImplementedError(
            f"{op}: not implemented for dtype {input.dtype}; expected a floating dtype"
        )


def _in_place(input: Any, op: Any, raw: Any) -> Any:
    """The in-place form of an activation: recorded where a gradient is wanted, else written raw."""
    if needs_grad(input):  # on a copy: an op of several steps may save its input in any of them
        return in_place(op.__name__, lambda x: op(x.clone()), input)
    raw(input)
    return input


def _relu_raw(tensor: Any) -> None:
    if tensor.dtype.is_floating_point:
        _C.relu_(tensor)
    else:
        _C.copy_(tensor, relu(tensor))


in_place_method("relu_", relu, _relu_raw)
in_place_method("sigmoid_", sigmoid, _C.sigmoid_)
in_place_method("tanh_", tanh, _C.tanh_)


@takes_tensors
def relu_(input: Any) -> Any:
    """In-place form of :func:`relu`; returns ``input``.

    Errors are those of :func:`relu`, and RuntimeError for a leaf that requires grad.
    """
    return input.relu_()


@takes_tensors
def sigmoid_(input: Any) -> Any:
    """In-place form of :func:`sigmoid`; returns ``input``.

    Errors are those of :func:`sigmoid`, and RuntimeError for a leaf that requires grad and for a
    dtype that is not floating.
    """
    return input.sigmoid_()


@takes_tensors
def tanh_(input: Any) -> Any:
    """In-place form of :func:`tanh`; returns ``input``.

    Errors are those of :func:`tanh`, and RuntimeError for a leaf that requires grad and for a dtype
    that is not floating.
    """
    return input.tanh_()


def selu_(input: Any) -> Any:
    """In-place form of :func:`selu`; returns ``input``.

    Errors are those of :func:`selu`, and RuntimeError for a leaf that requires grad.
    """
    return selu(input, inplace=True)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """In-place form of :func:`celu`; returns ``input``.

    Errors are those of :func:`celu`, and RuntimeError for a leaf that requires grad.
    """
    return celu(input, alpha, inplace=True)

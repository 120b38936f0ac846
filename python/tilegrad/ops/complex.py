"""Complex numbers: their parts, conjugates, angles and signs.

A complex tensor holds pairs of real numbers, so :func:`view_as_real`, and with it ``real`` and
``imag``, share its memory. Conjugates are computed at once, not put off: ``is_conj`` is always
False, and ``resolve_conj`` has nothing to do. Errors: RuntimeError for dtypes that do not fit,
TypeError for what is not a tensor.
"""

from __future__ import annotations

import math
from typing import Any

from .. import _C
from .._autocast import full_precision_on
from ..autograd.conjugation import wirtinger
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import composed_in_place, method, put_out, takes_tensors
from .binary import atan2, zero_backward

__all__ = [
    "angle",
    "complex",
    "conj",
    "conj_physical",
    "imag",
    "isreal",
    "polar",
    "real",
    "resolve_conj",
    "resolve_neg",
    "sgn",
    "view_as_complex",
    "view_as_real",
]


def _tensor(op: str, x: Any) -> Any:
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}(): argument must be Tensor, not {type(x).__name__}")
    return x


def is_complex(x: Any) -> bool:
    """Whether it is a complex tensor, or a complex number of Python's."""
    if isinstance(x, Tensor):
        return x.dtype.is_complex
    return isinstance(x, _COMPLEX)


_COMPLEX = complex


# --- views of the parts ---------------------------------------------------------------------------


def view_as_real(input: Any) -> Any:
    """A complex tensor (...) as real numbers (..., 2), the real parts first; a view.

    complex64 gives float32, complex128 float64. Raises RuntimeError for a tensor that is not
    complex, TypeError for what is not a tensor.
    """
    output = _C.view_as_real(_tensor("view_as_real", input))
    if needs_grad(input):
        record(output, view_as_real_backward, (input,))
    return output


def view_as_real_backward(node: Any, grad: Any) -> Any:
    return view_as_complex(grad.contiguous())


@full_precision_on("cpu")
def view_as_complex(input: Any) -> Any:
    """Pairs of real numbers (..., 2) as complex ones (...); a view.

    float32 gives complex64, float64 complex128. Raises RuntimeError for other dtypes, a last size
    other than 2, and strides that do not keep the pairs together; TypeError for what is not a
    tensor.
    """
    output = _C.view_as_complex(_tensor("view_as_complex", input))
    if needs_grad(input):
        record(output, view_as_complex_backward, (input,))
    return output


@wirtinger
def view_as_complex_backward(node: Any, grad: Any) -> Any:
    return view_as_real(grad)


@method("_real_part")
def real(input: Any) -> Any:
    """The real parts, a view; of a real tensor the tensor itself. Raises TypeError for what is not
    one."""
    if not _tensor("real", input).dtype.is_complex:
        return input
    return view_as_real(input).select(-1, 0)


def imag(input: Any) -> Any:
    """The imaginary parts, a view. Raises RuntimeError for a tensor that is not complex, TypeError
    for what is not a tensor."""
    if not _tensor("imag", input).dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return view_as_real(input).select(-1, 1)


def _set_real(tensor: Any, value: Any) -> None:
    real(tensor)[...] = value


def _set_imag(tensor: Any, value: Any) -> None:
    imag(tensor)[...] = value


Tensor.real = property(real, _set_real, doc="The real parts, a view; assignment writes to them.")
Tensor.imag = property(
    imag,
    _set_imag,
    doc="The imaginary parts, a view; assignment writes to them. RuntimeError for real tensors.",
)


# --- made from parts ------------------------------------------------------------------------------


def _check_parts(op: str, first: Any, second: Any) -> None:
    dtype = _tensor(op, first).dtype
    if dtype not in (_C.float32, _C.float64) or _tensor(op, second).dtype not in (
        _C.float32,
        _C.float64,
    ):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {dtype} and "
            f"{second.dtype}"
        )
    if dtype is not second.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {dtype} but got scalar type {second.dtype} for second "
            "argument"
        )


def _written(op: str, output: Any, out: Any) -> Any:
    if out is not None and _tensor(op, out).dtype is not output.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {output.dtype} but got scalar type {out.dtype} for "
            "argument 'out'"
        )
    return output if out is None else put_out(out, output)


@takes_tensors
def complex(real: Any, imag: Any, *, out: Any = None) -> Any:
    """``real + 1j * imag`` of two tensors of one dtype, float32 or float64; shapes broadcast.

    Raises RuntimeError for other dtypes and for shapes that do not fit, TypeError for what is not a
    tensor.
    """
    from .join import stack
    from .view import broadcast_tensors

    _check_parts("complex", real, imag)
    return _written("complex", view_as_complex(stack(broadcast_tensors(real, imag), -1)), out)


@takes_tensors
@full_precision_on("cpu")
def polar(abs: Any, angle: Any, *, out: Any = None) -> Any:
    """``abs * exp(1j * angle)``, with the angle in radians. Dtypes and errors are those of
    :func:`complex`."""
    _check_parts("polar", abs, angle)
    return _written("polar", complex(abs * angle.cos(), abs * angle.sin()), out)


# --- conjugates -----------------------------------------------------------------------------------


@method()
def conj(input: Any) -> Any:
    """The complex conjugate; of a real tensor the tensor itself. Raises TypeError for what is not
    one."""
    if not _tensor("conj", input).dtype.is_complex:
        return input
    output = _C.conj(input)
    if needs_grad(input):
        record(output, conj_backward, (input,))
    return output


@wirtinger
def conj_backward(node: Any, grad: Any) -> Any:
    return conj(grad)


@method()
def conj_physical(input: Any, *, out: Any = None) -> Any:
    """:func:`conj`, which is computed at once here."""
    output = conj(_tensor("conj_physical", input))
    return output if out is None else put_out(out, output)


@method()
def resolve_conj(input: Any) -> Any:
    """The tensor itself: nothing is left to conjugate. Raises TypeError for what is not one."""
    return _tensor("resolve_conj", input)


@method()
def resolve_neg(input: Any) -> Any:
    """The tensor itself: nothing is left to negate. Raises TypeError for what is not one."""
    return _tensor("resolve_neg", input)


def _conj_transposed(tensor: Any) -> Any:
    if tensor.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {tensor.ndim}-D tensor."
        )
    return conj(tensor.t())


Tensor.H = property(_conj_transposed, doc="A matrix transposed and conjugated.")
Tensor.mH = property(lambda self: conj(self.mT), doc="Each matrix transposed and conjugated.")


# --- angles and signs -----------------------------------------------------------------------------


@method()
@takes_tensors
def angle(input: Any, *, out: Any = None) -> Any:
    """The angle in radians, from -pi to pi, of complex numbers; of real ones 0, for negative ones
    pi, for NaN NaN, with a gradient of 0. Raises TypeError for what is not a tensor."""
    if input.dtype.is_complex:
        output = atan2(imag(input), real(input))
        return output if out is None else put_out(out, output)
    x = input if input.dtype.is_floating_point else input.to(_C.get_default_dtype())
    output = _C.mul(_C.to_dtype(_C.lt(x, 0), x.dtype), math.pi)
    output = _C.where(_C.ne(x, x), x, output)
    if needs_grad(input):
        record(output, zero_backward, (input,))
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def sgn(input: Any, *, out: Any = None) -> Any:
    """Complex numbers divided by their absolute values, 0 staying 0; real ones as :func:`sign`."""
    output = _direction(input) if input.dtype.is_complex else input.sign()
    return output if out is None else put_out(out, output)


def _direction(input: Any) -> Any:
    size = _C.complex_abs(input)
    output = _C.where(_C.eq(size, 0), 0, _C.div(input, size))
    if needs_grad(input):
        record(output, sgn_backward, (input,), (input,))
    return output


@wirtinger
def sgn_backward(node: Any, grad: Any) -> Any:
    """Only what is at right angles to the direction turns it."""
    from .where import where

    (input,) = node.saved
    size = input.abs()
    direction = sgn(input)
    along = real(grad * conj(direction))
    return where(size == 0, 0, (grad - along * direction) / size)


@method()
@takes_tensors
def isreal(input: Any) -> Any:
    """Whether the imaginary part is 0: everywhere for real tensors. Raises TypeError for what is
    not a tensor."""
    if input.dtype.is_complex:
        return _C.eq(imag(input.detach()), 0)
    return _C.full(input.shape, True, _C.boolean, input.device)


composed_in_place(sgn)
composed_in_place(conj_physical)

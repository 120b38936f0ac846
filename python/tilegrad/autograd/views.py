"""In-place writes that gradients follow, on plain tensors and through views.

An in-place op is computed out of place, recorded, and written back: whatever its formula saved is
either the new value or protected by a copy, so no op needs a formula of its own for this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _C
from .conjugation import wirtinger
from .graph import needs_grad, record
from .hooks import move_retained

__all__ = ["check_writable", "in_place", "layout", "regenerate", "same_memory_order", "write_back"]


def check_writable(tensor: Any) -> None:
    """Refuses what would lose history: writing to a leaf that requires grad, or a view of one."""
    if not _C.is_grad_enabled():
        return
    if tensor._get_requires_grad and tensor.is_leaf:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    base = tensor._base
    if base is not None:
        _refuse_custom(tensor)
    if base is not None and base._get_requires_grad and base.is_leaf:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation."
        )


def _refuse_custom(view: Any) -> None:
    """A view that a custom Function returned must keep the Function's own backward."""
    node = view.grad_fn
    if node is not None and getattr(node.backward, "is_custom", False):
        raise RuntimeError(
            f"Output {view.output_nr} of {node.name()} is a view and it or its base is being "
            "modified inplace. This view was created inside a custom Function (or because an input "
            "was returned as-is) and the autograd logic to handle view+inplace would override the "
            "custom backward. You can fix this by cloning the output of the custom Function."
        )


def in_place(name: str, op: Callable[..., Any], tensor: Any, *args: Any, **kwargs: Any) -> Any:
    """``tensor.<name>(*args)`` for an op whose gradient is recorded; returns ``tensor``."""
    check_writable(tensor)
    result = op(tensor, *args, **kwargs)
    if result.shape != tensor.shape:
        raise RuntimeError(
            f"{name}: output with shape {list(tensor.shape)} doesn't match "
            f"the broadcast shape {list(result.shape)}"
        )
    return write_back(tensor, result)


def write_back(tensor: Any, result: Any) -> Any:
    """Makes ``tensor`` hold ``result``, its values and its history."""
    if result.dtype is not tensor.dtype:
        if not _C.can_cast(result.dtype, tensor.dtype):
            raise RuntimeError(
                f"result type {result.dtype} can't be cast to "
                f"the desired output type {tensor.dtype}"
            )
        result = result.to(tensor.dtype)
    if result.grad_fn is not None:
        result.grad_fn.replace_saved(tensor, _clone_with_history)
    base = tensor._base
    if base is None:
        _C.copy_(tensor, result)
        move_retained(tensor, result)
        _C.adopt_history(tensor, result)
        return tensor
    _C.copy_(tensor, result)
    if needs_grad(base, result):
        same = base.dtype is tensor.dtype
        backward = copy_slices_backward if same else copy_slices_of_parts_backward
        record(base, backward, (base, result), _layouts(base, tensor))
    return tensor


def _clone_with_history(tensor: Any) -> Any:
    """What an op saved of a tensor that is about to be overwritten."""
    copy = _C.clone(tensor)
    _C.adopt_history(copy, tensor)
    return copy


def layout(tensor: Any) -> tuple:
    """Where the elements lie in the storage: (sizes, strides, offset)."""
    return tensor.shape, _C.stride(tensor), _C.storage_offset(tensor)


def _layouts(base: Any, view: Any) -> tuple:
    """The layouts of both; in real numbers where one is complex and the other is not."""
    if base.dtype is view.dtype:
        return layout(base), layout(view)
    return _real_layout(base), _real_layout(view)


def _real_layout(tensor: Any) -> tuple:
    shape, strides, offset = layout(tensor)
    if not tensor.dtype.is_complex:
        return shape, strides, offset
    return (*shape, 2), (*(2 * stride for stride in strides), 1), 2 * offset


def _as_real(grad: Any) -> Any:
    from ..ops.complex import view_as_real

    return view_as_real(grad) if grad.dtype.is_complex else grad


def _as_complex(grad: Any) -> Any:
    from ..ops.complex import view_as_complex

    return None if grad is None else view_as_complex(grad.contiguous())


def same_memory_order(tensor: Any, base_layout: tuple) -> tuple[Any, int]:
    """A one-dimensional buffer that holds ``tensor`` in the strides of ``base_layout``, and the
    storage offset to which its first element corresponds. Differentiable."""
    shape, strides, offset = base_layout
    tensor = tensor.contiguous()
    if 0 in shape:
        return tensor.reshape(-1), offset
    if strides == _C.stride(tensor):
        return tensor.view(-1), offset
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    buffer = tensor.new_zeros(extent)
    buffer.as_strided(shape, strides, 0).copy_(tensor)
    return buffer, offset


def copy_slices_backward(node: Any, grad: Any) -> tuple:
    """The base was overwritten in the region of a view: its old value has no effect there, and the
    written value no effect elsewhere."""
    return _split(node, grad)


@wirtinger
def copy_slices_of_parts_backward(node: Any, grad: Any) -> tuple:
    """The same where the base holds complex numbers and the view their parts, or vice versa."""
    grad_base, grad_written = _split(node, _as_real(grad))
    if grad.dtype.is_complex:
        return _as_complex(grad_base), grad_written
    return grad_base, _as_complex(grad_written)


def _split(node: Any, grad: Any) -> tuple:
    base_layout, (shape, strides, offset) = node.saved
    buffer, origin = same_memory_order(grad, base_layout)
    buffer = buffer.clone()
    region = buffer.as_strided(shape, strides, offset - origin)
    grad_written = region.clone() if node.needs(1) else None
    if not node.needs(0):
        return None, grad_written
    region.zero_()
    base_shape, base_strides, _ = base_layout
    return buffer.as_strided(base_shape, base_strides, 0), grad_written


def regenerate(view: Any) -> None:
    """Gives a view whose base was written to a history that starts at the base as it is now."""
    from ..ops.view import as_strided_backward

    _refuse_custom(view)
    base = view._base
    if base.dtype is view.dtype:
        record(view, as_strided_backward, (base,), (layout(base), layout(view)))
    else:
        record(view, as_strided_of_parts_backward, (base,), _layouts(base, view))


@wirtinger
def as_strided_of_parts_backward(node: Any, grad: Any) -> Any:
    """For a view of the parts of complex numbers, or the complex numbers in pairs of real ones."""
    from ..ops.view import as_strided_backward

    grad_base = as_strided_backward(node, _as_real(grad))
    return grad_base if grad.dtype.is_complex else _as_complex(grad_base)

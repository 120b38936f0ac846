"""Tensor hooks: functions that see, and may replace, a gradient on its way.

Hooks of a result live with its node, in ``node.context[output_nr]``; those of a leaf, which has no
node, live in ``tensor._grad_hooks``. The engine calls both (``run_hooks``).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import _C

if TYPE_CHECKING:
    from ..utils.hooks import RemovableHandle

__all__ = [
    "LeafHooks",
    "move_retained",
    "register_post_accumulate_grad_hook",
    "register_tensor_hook",
    "retain_grad",
    "run_hooks",
]

_RETAIN = "retain_grad"  # the key of the hook that keeps a gradient; always the last to run


class LeafHooks:
    """The hooks of one leaf: on its gradient, and after it was added to ``.grad``."""

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: OrderedDict = OrderedDict()
        self.after: OrderedDict = OrderedDict()


def register_tensor_hook(tensor: Any, hook: Callable[[Any], Any]) -> RemovableHandle:
    """Calls ``hook(grad)`` whenever the gradient of ``tensor`` is known; a result replaces it.

    Returns a handle with ``remove()``. Raises RuntimeError for a tensor without gradient, TypeError
    for a hook that cannot be called. Hooks run in the order of registration.
    """
    _expect_callable("register_hook", hook)
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    hooks = _leaf_hooks(tensor).before if tensor.is_leaf else _output_hooks(tensor)
    handle = _add_hook(hooks, hook)
    if _RETAIN in hooks:
        hooks.move_to_end(_RETAIN)
    return handle


def register_post_accumulate_grad_hook(tensor: Any, hook: Callable[[Any], None]) -> RemovableHandle:
    """Calls ``hook(tensor)`` after a backward pass has added to the ``.grad`` of this leaf.

    Raises RuntimeError for a tensor that is not a leaf or requires no gradient.
    """
    _expect_callable("register_post_accumulate_grad_hook", hook)
    if not tensor.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if not tensor.is_leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return _add_hook(_leaf_hooks(tensor).after, hook)


def retain_grad(tensor: Any) -> None:
    """Keeps the gradient of a result in its ``.grad``, as leaves do. Nothing happens for a leaf."""
    if not tensor.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if tensor.is_leaf or tensor.retains_grad:
        return
    reference = weakref.ref(tensor)  # the node that holds this hook must not keep the tensor alive

    def keep(grad: Any) -> None:
        owner = reference()
        if owner is not None:
            owner._grad = grad.clone() if owner._grad is None else owner._grad + grad

    _output_hooks(tensor)[_RETAIN] = keep
    tensor._retains_grad = True


def move_retained(tensor: Any, result: Any) -> None:
    """An in-place op gives ``tensor`` the place of ``result`` in the graph: ``.grad`` follows."""
    if tensor.retains_grad:
        keep = _output_hooks(tensor).pop(_RETAIN)
        _output_hooks(result)[_RETAIN] = keep


def run_hooks(hooks: OrderedDict, grad: Any) -> Any:
    """Calls each hook with the gradient; a result other than None replaces it.

    Raises TypeError or RuntimeError if the result is no tensor of the same shape and dtype.
    """
    for hook in list(hooks.values()):
        result = hook(grad)
        if result is None:
            continue
        name = getattr(hook, "__name__", type(hook).__name__)
        if not isinstance(result, _C.TensorBase):
            raise TypeError(
                f"hook '{name}': expected a Tensor or None as result, got {type(result).__name__}"
            )
        for what in ("shape", "dtype", "device"):
            expected, actual = getattr(grad, what), getattr(result, what)
            if actual != expected:
                raise RuntimeError(
                    f"hook '{name}' has changed the {what} of the gradient from {expected} "
                    f"to {actual}"
                )
        grad = result
    return grad


def _add_hook(hooks: OrderedDict, hook: Any) -> RemovableHandle:
    from ..utils.hooks import add_hook  # late: tilegrad.utils stands above autograd

    return add_hook(hooks, hook)


def _expect_callable(op: str, hook: Any) -> None:
    if not callable(hook):
        raise TypeError(f"{op}: argument 'hook': expected a callable, got {type(hook).__name__}")


def _leaf_hooks(tensor: Any) -> LeafHooks:
    if tensor._grad_hooks is None:
        tensor._grad_hooks = LeafHooks()
    return tensor._grad_hooks


def _output_hooks(tensor: Any) -> OrderedDict:
    node = tensor.grad_fn
    if node.context is None:
        node.context = {}
    return node.context.setdefault(tensor.output_nr, OrderedDict())

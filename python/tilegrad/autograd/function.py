"""Custom differentiable functions: ``autograd.Function``, as in PyTorch.

A custom function is recorded like any op (see graph.py). What is special here is the context that
``forward`` and ``backward`` use to talk to each other, and the rules for outputs that are inputs.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

from .. import _C
from .graph import needs_grad, record
from .mode import no_grad
from .views import check_writable, copy_slices_backward, layout

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """The ``ctx`` of a custom function: what ``forward`` leaves for ``backward``.

    Plain attributes may be set freely; tensors belong in :meth:`save_for_backward`.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _node: Any = None  # a weak reference once recorded: the node owns the context
    _to_save: tuple = ()
    _dirty: tuple = ()
    _non_differentiable: tuple = ()
    _materialize_grads = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None) for ``backward``, which then notices if they were modified.

        Raises TypeError for anything else.
        """
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, _C.TensorBase):
                raise TypeError(
                    f"save_for_backward can only save tensors, but argument {i} is of type "
                    f"{type(tensor).__name__}"
                )
        self._to_save = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple:
        """What ``save_for_backward`` kept.

        Raises RuntimeError if one was modified in place since, or the graph was released.
        """
        if self._node is None:
            return self._to_save
        return self._node().saved

    saved_variables = saved_tensors  # its name before PyTorch 0.4

    def mark_dirty(self, *tensors: Any) -> None:
        """Names the inputs that ``forward`` modified in place; all must be returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Names the outputs without gradient; ``backward`` still receives zeros for them."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` receives zeros (the default) or None for an absent gradient."""
        self._materialize_grads = bool(value)


class Function:
    """Base of custom differentiable functions; call them with ``apply``::

        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, grad):
                (y,) = ctx.saved_tensors
                return grad * y

        y = Exp.apply(x)

    ``forward`` runs without recording. It returns a tensor, or a tuple of tensors and other values.
    ``backward`` receives one gradient per output (None for what is no tensor) and returns one per
    argument of ``forward``, None where there is none. It is recorded under ``create_graph``, so it
    is differentiable again if it uses differentiable operations.

    Alternatively ``forward(*args)`` takes no context and ``setup_context(ctx, inputs, output)``
    fills it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are "
            f"all static, so call {type(self).__name__}.apply(...) instead."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """``forward(ctx, *args)``, or ``forward(*args)`` beside ``setup_context``."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Fills ``ctx`` from what ``forward`` received and returned. Optional."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, from those of the outputs."""
        raise NotImplementedError(
            "You must implement the backward function for custom autograd.Function."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs ``forward`` on the arguments and records it if one of them requires grad."""
        ctx = FunctionCtx()
        separate = cls.setup_context is not Function.setup_context
        if separate:
            args = _positional(cls.forward, args, kwargs)
            kwargs = {}
        recorded = needs_grad(*args)
        ctx.needs_input_grad = tuple(
            isinstance(arg, _C.TensorBase) and arg.requires_grad for arg in args
        )
        with no_grad():
            output = cls.forward(*args) if separate else cls.forward(ctx, *args, **kwargs)
            if separate:
                cls.setup_context(ctx, args, output)
        outputs = output if isinstance(output, tuple) else (output,)
        _check_dirty(ctx, args, outputs)
        outputs = tuple(_own_output(ctx, args, y, recorded) for y in outputs)
        if recorded:
            outputs = _record(cls, ctx, args, outputs)
        return outputs if isinstance(output, tuple) else outputs[0]


def _positional(forward: Callable[..., Any], args: tuple, kwargs: dict) -> tuple:
    """The arguments as ``setup_context`` sees them: by position, with defaults filled in."""
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def _contains(tensors: tuple, tensor: Any) -> bool:
    return any(tensor is other for other in tensors)


def _check_dirty(ctx: FunctionCtx, inputs: tuple, outputs: tuple) -> None:
    for tensor in ctx._dirty:
        if not _contains(outputs, tensor):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the Function."
            )
        if not _contains(inputs, tensor):
            raise RuntimeError("mark_dirty: expected inputs of the Function, got another tensor")
        check_writable(tensor)


def _own_output(ctx: FunctionCtx, inputs: tuple, output: Any, recorded: bool) -> Any:
    """An input returned as it is becomes a view of itself, so that it can have its own history."""
    if (
        not isinstance(output, _C.TensorBase)
        or not output.requires_grad
        or not _contains(inputs, output)
        or _contains(ctx._dirty, output)
    ):
        return output
    if not recorded or _contains(ctx._non_differentiable, output):
        return output.detach()
    return _C.view(output, output.shape)


def _record(cls: type[Function], ctx: FunctionCtx, inputs: tuple, outputs: tuple) -> tuple:
    """Adds the node, and gives every differentiable output its place in the graph."""
    passive = [
        not isinstance(y, _C.TensorBase)
        or not (y.dtype.is_floating_point or y.dtype.is_complex)
        or _contains(ctx._non_differentiable, y)
        for y in outputs
    ]
    # A dirty view is recorded through an alias; its base then receives the write.
    views = [y for y in outputs if _contains(ctx._dirty, y) and y._base is not None]
    if views and len(outputs) > 1:
        raise RuntimeError(
            "If your Function modifies inplace an input that is a view of another Tensor, "
            "your Function cannot return more than one Tensor."
        )
    backward = _Backward(cls, ctx, inputs, outputs)
    targets = tuple(
        None if skip else y.detach() if views else y
        for y, skip in zip(outputs, passive, strict=True)
    )
    node = record(targets, backward, inputs, ctx._to_save)
    ctx._node = weakref.ref(node)
    ctx._to_save = ()
    for view, written in zip(views, targets, strict=False):
        base = view._base
        record(base, copy_slices_backward, (base, written), (layout(base), layout(view)))
    return outputs


class _Backward:
    """The backward function of a custom function's node: the context and ``cls.backward``."""

    is_custom = True

    def __init__(
        self, cls: type[Function], ctx: FunctionCtx, inputs: tuple, outputs: tuple
    ) -> None:
        self.cls, self.ctx = cls, ctx
        self.takes_tensor = [isinstance(x, _C.TensorBase) for x in inputs]
        self.node_name = self.__name__ = f"{cls.__name__}Backward"
        self.like = [
            (y.shape, y.dtype, y.device) if isinstance(y, _C.TensorBase) else None for y in outputs
        ]

    def __call__(self, node: Any, *grads: Any) -> tuple:
        if self.ctx._materialize_grads:
            grads = tuple(
                _C.full(like[0], 0, like[1], like[2]) if grad is None and like else grad
                for grad, like in zip(grads, self.like, strict=True)
            )
        results = self.cls.backward(self.ctx, *grads)
        if not isinstance(results, tuple):
            results = (results,)
        return self._checked(results)

    def _checked(self, results: tuple) -> tuple:
        expected = len(self.takes_tensor)
        if len(results) > expected and all(grad is None for grad in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.node_name} returned an incorrect number of gradients "
                f"(expected {expected}, got {len(results)})"
            )
        for i, grad in enumerate(results):
            if grad is not None and not isinstance(grad, _C.TensorBase):
                raise TypeError(
                    f"function {self.node_name} returned a {type(grad).__name__} at position "
                    f"{i + 1}, expected a Tensor or None"
                )
            if grad is not None and not self.takes_tensor[i]:
                raise RuntimeError(
                    f"function {self.node_name} returned a gradient different than None at "
                    f"position {i + 1}, but the corresponding forward input was not a Variable"
                )
        return results


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a ``backward`` that is not itself differentiable.

    Its results are right, but differentiating them again raises RuntimeError.
    """

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            results = function(ctx, *grads)
        if not needs_grad(*grads):  # nothing could differentiate the results again
            return results
        guarded = tuple(
            y.detach() if isinstance(y, _C.TensorBase) else y
            for y in (results if isinstance(results, tuple) else (results,))
        )
        record(guarded, _differentiated_twice, grads)
        return guarded

    return wrapped


def _differentiated_twice(node: Any, *grads: Any) -> Any:
    raise RuntimeError(
        "trying to differentiate twice a function that was marked with @once_differentiable"
    )

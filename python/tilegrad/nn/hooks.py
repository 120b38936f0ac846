"""Hooks of a module: functions called before and after ``forward`` and ``backward``.

A module without hooks has ``_hooks = None`` and calls ``forward`` directly; the first registered
hook gives it a :class:`ModuleHooks`, and its calls go through :func:`call_with_hooks`.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ..utils.hooks import RemovableHandle, add_hook

__all__ = ["ForwardHook", "ModuleHooks", "call_with_hooks"]


class ForwardHook(NamedTuple):
    """A hook around ``forward`` and the options it was registered with."""

    call: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class ModuleHooks:
    """The hooks of one module, by the moment at which they run."""

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, ForwardHook] = OrderedDict()
        self.forward: OrderedDict[int, ForwardHook] = OrderedDict()
        self.backward_pre: OrderedDict[int, Callable] = OrderedDict()
        self.backward: OrderedDict[int, Callable] = OrderedDict()
        self.is_full = True  # whether ``backward`` was registered by register_full_backward_hook

    def add_backward(self, hook: Callable, is_full: bool, prepend: bool = False) -> RemovableHandle:
        """Registers a hook of either kind. Raises RuntimeError if there are some of the other."""
        if self.backward and self.is_full != is_full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self.is_full = is_full
        return add_hook(self.backward, hook, prepend)


def call_with_hooks(module: Any, args: tuple, kwargs: dict) -> Any:
    """``module.forward`` between the module's hooks."""
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.run_remaining_hooks()
        raise


class _Call:
    """One call of a module with hooks, and how far it got."""

    def __init__(self, module: Any, args: tuple, kwargs: dict) -> None:
        self.module, self.args, self.kwargs = module, args, kwargs
        self.hooks: ModuleHooks = module._hooks
        self.result: Any = None
        self.called: set[int] = set()

    def run(self) -> Any:
        for hook in list(self.hooks.forward_pre.values()):
            self._run_pre_hook(hook)
        watch = None
        if self.hooks.backward or self.hooks.backward_pre:
            watch = BackwardWatch(self.module, self.hooks)
            self.args = watch.wrap_inputs(self.args)
        self.result = self.module.forward(*self.args, **self.kwargs)
        for key, hook in list(self.hooks.forward.items()):
            self.called.add(key)
            self._run_forward_hook(hook)
        if watch is not None:
            self.result = watch.wrap_outputs(self.result)
        return self.result

    def _run_pre_hook(self, hook: ForwardHook) -> None:
        if hook.with_kwargs:
            replaced = hook.call(self.module, self.args, self.kwargs)
            if replaced is None:
                return
            if not isinstance(replaced, tuple) or len(replaced) != 2:
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                    f"but got {replaced}."
                )
            self.args, self.kwargs = replaced
            return
        replaced = hook.call(self.module, self.args)
        if replaced is not None:
            self.args = replaced if isinstance(replaced, tuple) else (replaced,)

    def _run_forward_hook(self, hook: ForwardHook) -> None:
        if hook.with_kwargs:
            replaced = hook.call(self.module, self.args, self.kwargs, self.result)
        else:
            replaced = hook.call(self.module, self.args, self.result)
        if replaced is not None:
            self.result = replaced

    def run_remaining_hooks(self) -> None:
        """After an exception, the forward hooks registered with ``always_call`` still run."""
        for key, hook in list(self.hooks.forward.items()):
            if not hook.always_call or key in self.called:
                continue
            try:
                self._run_forward_hook(hook)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error}",
                    stacklevel=2,
                )


class BackwardWatch:
    """Sees the gradients pass a module: an identity node on its inputs, another on its outputs."""

    def __init__(self, module: Any, hooks: ModuleHooks) -> None:
        self.module = module
        self.hooks = list(hooks.backward.values())
        self.pre_hooks = list(hooks.backward_pre.values())
        self.is_full = hooks.is_full
        self.grad_output: tuple | None = None
        self.input_count = 0
        self.watches_inputs = False

    def wrap_inputs(self, args: tuple) -> tuple:
        self.input_count = len(args)
        wrapped = _watched(args, self._on_inputs, zeros=True) if self.hooks else None
        self.watches_inputs = wrapped is not None
        return args if wrapped is None else wrapped

    def wrap_outputs(self, result: Any) -> Any:
        is_tuple = isinstance(result, tuple)
        wrapped = _watched(result if is_tuple else (result,), self._on_outputs)
        if wrapped is None:
            return result
        return _like_tuple(result, wrapped) if is_tuple else wrapped[0]

    def _on_outputs(self, grads: tuple) -> tuple:
        for hook in self.pre_hooks:
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = _checked(replaced, len(grads), "Backward pre hook")
        self.grad_output = grads
        if self.hooks and not self.watches_inputs:
            if self.is_full:
                warnings.warn(
                    "Full backward hook is firing when gradients are computed with respect to "
                    "module outputs since no inputs require gradients.",
                    stacklevel=2,
                )
            for hook in self.hooks:
                returned = hook(self.module, (None,) * self.input_count, grads)
                if returned is not None and any(grad is not None for grad in returned):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
        return grads

    def _on_inputs(self, grads: tuple) -> tuple:
        if self.grad_output is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. "
                "Make sure that the output of the module depends on its input and that the loss "
                "depends on its output."
            )
        for hook in self.hooks:
            replaced = hook(self.module, grads, self.grad_output)
            if replaced is not None:
                grads = _checked(replaced, len(grads), "Backward hook")
        self.grad_output = None
        return grads


def _like_tuple(original: tuple, values: Sequence) -> tuple:
    """``values`` as a tuple of the original's own type (a named tuple stays one)."""
    if type(original) is tuple:
        return tuple(values)
    return type(original)(*values)


def _checked(replaced: Any, count: int, what: str) -> tuple:
    if not isinstance(replaced, tuple):
        replaced = (replaced,)
    if len(replaced) != count:
        raise RuntimeError(
            f"{what} returned an invalid number of grad_input, got {len(replaced)}, "
            f"but expected {count}"
        )
    return replaced


def _watched(
    values: tuple, on_gradients: Callable[[tuple], tuple], zeros: bool = False
) -> tuple | None:
    """``values`` with each tensor replaced by an alias, all made by one identity node.

    Its backward hands ``on_gradients`` a tuple with an entry per value; for a tensor that gets no
    gradient that is None, or with ``zeros`` a tensor of zeros. None if no gradient flows at all.
    """
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not needs_grad(*(values[i] for i in places)):
        return None

    count = len(values)  # the closure must not keep the values themselves
    layouts = [(values[i].shape, values[i].dtype, values[i].device) for i in places]

    def identity_backward(node: Any, *grads: Any) -> tuple:
        spread: list[Any] = [None] * count
        for place, grad, (shape, dtype, device) in zip(places, grads, layouts, strict=True):
            if grad is None and zeros and (dtype.is_floating_point or dtype.is_complex):
                grad = _C.full(shape, 0, dtype, device)
            spread[place] = grad
        replaced = on_gradients(tuple(spread))
        return tuple(replaced[place] for place in places)

    identity_backward.__name__ = "backward_hook_function_backward"
    aliases = tuple(_C.detach(values[place]) for place in places)
    record(aliases, identity_backward, tuple(values[place] for place in places))
    wrapped = list(values)
    for place, alias in zip(places, aliases, strict=True):
        # An input that needs no gradient would only learn to ask for one.
        wrapped[place] = alias if values[place].requires_grad else values[place]
    return tuple(wrapped)

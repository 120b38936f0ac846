"""Memory for time: a part of a network forgets its intermediate results and computes them again.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from .. import _autocast
from ..autograd import Function, backward, is_grad_enabled
from ..autograd.mode import enable_grad
from ..ops.random import get_rng_state, set_rng_state
from ..random import fork_rng
from ..tensor import Tensor
from ._pytree import tree_leaves

__all__ = ["checkpoint", "checkpoint_sequential", "get_device_states", "set_device_states"]


class _Generators:
    """Where the generators stood that a function may draw from: the CPU's, and those of the cards
    on which its arguments lie."""

    def __init__(self, args: Any) -> None:
        self.host = get_rng_state()
        self.devices, self.states = get_device_states(args)

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """A block that draws the same numbers again; the generators then go on as without it."""
        with fork_rng(self.devices):
            set_rng_state(self.host)
            set_device_states(self.devices, self.states)
            yield


class _Checkpoint(Function):
    """Runs a function without recording it, and again, recorded, when gradients are asked for."""

    @staticmethod
    def forward(ctx: Any, anchor: Any, run: Any, generators: Any, *args: Any) -> Any:
        ctx.run, ctx.args, ctx.generators = run, args, generators
        ctx.precision = {kind: _autocast.current(kind) for kind in ("cpu", "cuda")}
        ctx.save_for_backward(*(x for x in args if isinstance(x, Tensor)))
        return run(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved = iter(ctx.saved_tensors)
        inputs = []
        for x in ctx.args:
            if isinstance(x, Tensor):
                copy = next(saved).detach()
                x = copy.requires_grad_() if x.requires_grad else copy
            inputs.append(x)
        same = contextlib.nullcontext() if ctx.generators is None else ctx.generators.again()
        with same, enable_grad(), _autocast.switched(ctx.precision):
            outputs = ctx.run(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (y, grad)
            for y, grad in zip(outputs, grads, strict=True)
            if isinstance(y, Tensor) and y.requires_grad and grad is not None
        ]
        if pairs:
            backward([y for y, _ in pairs], [grad for _, grad in pairs])
        found = (x.grad if isinstance(x, Tensor) else None for x in inputs)
        return None, None, None, *found


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """The cards on which the tensors in ``args`` lie, in lists and dictionaries among them too, and
    the state of each one's generator."""
    from .. import cuda

    leaves = tree_leaves(args)
    devices = sorted({x.get_device() for x in leaves if isinstance(x, Tensor) and x.is_cuda})
    return devices, [cuda.get_rng_state(device) for device in devices]


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Gives the generators of these cards their states back. Raises RuntimeError for a card that is
    not there."""
    from .. import cuda

    for device, state in zip(devices, states, strict=False):
        cuda.set_rng_state(state, device)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate results are computed again in backward.

    With ``preserve_rng_state`` the second run draws the random numbers of the first, from the
    generators of the CPU and of the cards on which arguments lie. It runs in the mixed precision of
    the first, wherever ``backward`` is called. Gradients of parameters are accumulated as usual;
    double backward is not possible through it. Raises TypeError for a function that cannot be
    called, and what the function raises.
    """
    if not callable(function):
        raise TypeError(f"checkpoint: expected a function, got {type(function).__name__}")
    forward, recompute = (
        (contextlib.nullcontext(), contextlib.nullcontext()) if context_fn is None else context_fn()
    )
    if not is_grad_enabled():
        with forward:
            return function(*args, **kwargs)
    first = [True]

    def run(*inputs: Any) -> Any:
        with forward if first.pop() else recompute:
            first.append(False)
            return function(*inputs, **kwargs)

    # The anchor requires a gradient, so that parameters get theirs if no argument does.
    anchor = Tensor([0.0]).requires_grad_()
    generators = _Generators((args, kwargs)) if preserve_rng_state else None
    return _Checkpoint.apply(anchor, run, generators, *args)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """Runs modules one after the other, each of ``segments`` parts but the last checkpointed.

    Raises ValueError unless 1 <= ``segments`` <= the number of modules.
    """
    modules = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(modules):
        raise ValueError(
            f"checkpoint_sequential: expected 1 to {len(modules)} segments, got {segments}"
        )

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for module in modules[start:end]:
                x = module(x)
            return x

        return run

    size = len(modules) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(part(start, start + size), input, preserve_rng_state=preserve_rng_state)
    return part(size * (segments - 1), len(modules))(input)

"""Padding: a tensor within a frame of a constant, or of its own elements.

Every mode is linear, so the gradient is the transposed map: it adds the frame to the elements that
it repeats. Its derivative is the padding again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad, record
from ..autograd.mode import no_grad
from ._register import takes_tensors

__all__: list[str] = []  # PyTorch offers it in nn.functional only

_MODES = ("constant", "reflect", "replicate", "circular")


@takes_tensors
def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """``input`` with ``pad[0]`` elements before and ``pad[1]`` behind each row of the last
    dimension, ``pad[2]`` and ``pad[3]`` rows before and behind those, and so on.

    ``mode``: 'constant' (``value``, by default 0), 'reflect' (mirrored at the first and last
    element, which are not repeated), 'replicate' (the edge repeated) or 'circular' (continued from
    the other end). Negative sizes cut elements off.

    Any shape and dtype for 'constant'. The other modes pad the last dimension of (N, C, L) or
    (C, L), the last two of (N, C, H, W) or (C, H, W), the last three of (N, C, D, H, W) or
    (C, D, H, W). Raises NotImplementedError for other shapes and modes, RuntimeError for a number
    of sizes that does not fit, a frame that 'reflect' or 'circular' cannot fill, a negative result
    and a ``value`` without 'constant'; TypeError for sizes that are no integers.
    """
    if mode not in _MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    pads = tuple(pad)
    if mode != "constant":
        if value is not None and value != 0:
            raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
        _C.check_pad(input, pads, mode)
    if _autocast.enabled and mode in ("reflect", "replicate") and _autocast.applies("cpu", input):
        return _autocast.raised(_pad, input, pads, mode)
    return _pad(input, pads, mode, 0 if value is None else value)


def _pad(input: Any, pads: tuple, mode: str, value: Any = 0) -> Any:
    if mode == "constant":
        output = _C.pad(input, pads, value)
    else:
        with no_grad():
            output = _repeat(input.detach(), pads, mode)
    if needs_grad(input):
        record(output, constant_pad_nd_backward, (input,), (pads, mode))
    return output


def constant_pad_nd_backward(node: Any, grad: Any) -> Any:
    pads, mode = node.saved
    return _transposed(grad, pads, mode)


def _transposed(grad: Any, pads: tuple, mode: str) -> Any:
    if mode == "constant":
        output = _C.pad(grad, tuple(-size for size in pads), 0)
    else:
        with no_grad():
            output = _collect(grad.detach(), pads, mode)
    if needs_grad(grad):
        record(output, pad_transposed_backward, (grad,), (pads, mode))
    return output


def pad_transposed_backward(node: Any, grad: Any) -> Any:
    pads, mode = node.saved
    return _pad(grad, pads, mode)


def _frame(pads: tuple) -> tuple[tuple, tuple]:
    """What ``pads`` adds, and what it cuts off, as pads of their own."""
    return tuple(max(size, 0) for size in pads), tuple(min(size, 0) for size in pads)


def _edges(pads: tuple, sizes: tuple, mode: str) -> Iterator[tuple[int, int, int, int]]:
    """(dimension, position of a piece of the frame, position of what it repeats, length)."""
    for i in range(0, len(pads), 2):
        dim, before, after = -1 - i // 2, pads[i], pads[i + 1]
        size = sizes[dim] - before - after
        end = before + size
        if mode == "circular":
            if before:
                yield dim, 0, size, before
            if after:
                yield dim, end, before, after
        for k in range(before if mode != "circular" else 0):
            yield dim, before - 1 - k, before + 1 + k if mode == "reflect" else before, 1
        for k in range(after if mode != "circular" else 0):
            yield dim, end + k, end - 2 - k if mode == "reflect" else end - 1, 1


def _repeat(input: Any, pads: tuple, mode: str) -> Any:
    added, cut = _frame(pads)
    if mode == "circular":  # continues what is left, as in PyTorch; the others repeat, then cut
        input, cut = _C.pad(input, cut, 0), ()
    output = _C.pad(input, added, 0)
    for dim, to, start, length in _edges(added, output.shape, mode):
        output.narrow(dim, to, length).copy_(output.narrow(dim, start, length))
    return _C.pad(output, cut, 0) if any(cut) else output


def _collect(grad: Any, pads: tuple, mode: str) -> Any:
    added, cut = _frame(pads)
    uncut = () if mode == "circular" else tuple(-size for size in cut)
    total = _C.pad(grad, uncut, 0)  # a copy in any case
    for dim, start, to, length in reversed(list(_edges(added, total.shape, mode))):
        total.narrow(dim, to, length).add_(total.narrow(dim, start, length))
    left = pads if mode == "circular" else added
    return _C.pad(total, tuple(-size for size in left), 0)

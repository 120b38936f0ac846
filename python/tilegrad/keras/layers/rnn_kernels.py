"""Recurrent layers by tilegrad's kernels, which walk all steps in one call.

Steps that a mask hides leave the states as they are: the layer sees the sequence without them. So
the steps that are left are moved together, and the kernel walks sequences of different lengths.
"""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...ops.recurrent import run_layers

__all__ = ["run_kernel"]


def run_kernel(
    cell: str, sequences: Any, states: list[Any], weights: tuple, mask: Any
) -> tuple[Any, Any, list[Any]] | None:
    """(outputs of all steps, the last output, the last states); None if a mask hides a whole
    sequence.

    ``weights`` are weight_ih (gates * units, in), weight_hh (gates * units, units) and two biases
    or Nones, in PyTorch's order of gates. Shapes: sequences (N, steps, in), states (N, units).
    """
    batch, steps, size = sequences.shape
    given = [w for w in weights if w is not None]
    biased = len(given) > 2
    params = list(weights) if biased else given
    if mask is None:
        rows = sequences.transpose(0, 1).reshape(steps * batch, size)
        first = [s.unsqueeze(0) for s in states]
        y, *last = run_layers(cell, rows, None, first, params, biased, 1, 0.0, False, False)
        outputs = y.reshape(steps, batch, -1).transpose(0, 1)
        states = [s.squeeze(0) for s in last[: len(states)]]
        return outputs, states[0], states
    mask = mask.to(tg.bool)
    lengths = mask.sum(1)
    if steps == 0 or int(lengths.min()) == 0:
        return None
    order = tg.argsort(lengths, descending=True, stable=True)
    back = tg.argsort(order)
    longest = int(lengths.max())
    # The places of the steps that are seen, in front; each time step then holds the sequences that
    # have one more.
    places = tg.argsort(mask.logical_not().to(tg.int64), dim=1, stable=True)[order][:, :longest]
    alive = tg.arange(longest).unsqueeze(0) < lengths[order].unsqueeze(1)
    batch_sizes = alive.sum(0)
    flat = (order.unsqueeze(1) * steps + places).t()[alive.t()]
    rows = sequences.reshape(batch * steps, size)[flat]
    first = [s[order].unsqueeze(0) for s in states]
    y, *last = run_layers(cell, rows, batch_sizes, first, params, biased, 1, 0.0, False, False)
    states = [s.squeeze(0)[back] for s in last[: len(states)]]
    # Each step shows the output of the last one that was seen.
    starts = tg.cumsum(batch_sizes, 0) - batch_sizes
    seen = tg.cumsum(mask.to(tg.int64), 1) - 1
    index = starts[seen.clamp(min=0)] + back.unsqueeze(1)
    outputs = y[index.reshape(-1)].reshape(batch, steps, -1)
    outputs = tg.where((seen >= 0).unsqueeze(-1), outputs, tg.zeros_like(outputs))
    return outputs, states[0], states

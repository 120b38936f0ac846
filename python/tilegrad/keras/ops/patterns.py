"""``rearrange``, sliding blocks of images, correlation, and the decoding of CTC outputs."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

import tilegrad as tg

from ...nn import functional as F
from ..dtypes import convert_to_numpy, convert_to_tensor
from ..op import op, promoted, to_float

__all__ = ["column_stack", "correlate", "ctc_decode", "fold", "rearrange", "unfold"]


def _axes(side: str) -> list[list[str]]:
    """The names of a side of a pattern; those in brackets form one axis."""
    return [part.strip("()").split() for part in re.findall(r"\([^)]*\)|[^\s()]+", side)]


@op
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """Axes split, moved and merged by a pattern such as ``"b (h p) c -> b h (p c)"``.

    Lengths that do not follow from the shape are keyword arguments. Raises ValueError for a pattern
    that does not fit.
    """
    x = convert_to_tensor(tensor)
    before, arrow, after = pattern.partition("->")
    given, wanted = _axes(before), _axes(after)
    names, target = [n for part in given for n in part], [n for part in wanted for n in part]
    if not arrow or len(given) != x.ndim or sorted(names) != sorted(target):
        raise ValueError(
            f"rearrange: the pattern {pattern!r} does not fit a tensor of shape {tuple(x.shape)}"
        )
    sizes = {name: int(n) for name, n in axes_lengths.items()}
    for part, size in zip(given, x.shape, strict=True):
        unknown = [name for name in part if name not in sizes]
        known = math.prod(sizes[name] for name in part if name in sizes)
        if len(unknown) > 1 or (size % known if unknown else size != known):
            raise ValueError(
                f"rearrange: an axis of size {size} cannot be split into {part} with {axes_lengths}"
            )
        if unknown:
            sizes[unknown[0]] = size // known
    split = x.reshape([sizes[name] for name in names])
    moved = split.permute([names.index(name) for name in target])
    return moved.reshape([math.prod(sizes[name] for name in part) for part in wanted])


@op
def column_stack(xs: Any) -> Any:
    """Vectors as the columns of a matrix; matrices side by side."""
    return tg.column_stack(promoted(xs))


@op
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """The products of one vector with the shifted other. ``mode``: ``"valid"``, ``"same"`` or
    ``"full"``. Raises ValueError for another mode."""
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"correlate: expected mode 'valid', 'same' or 'full', got {mode!r}")
    x1, x2 = promoted([to_float(x1), to_float(x2)])
    first, second = x1.shape[0], x2.shape[0]
    full = tg.conv1d(x1.reshape(1, 1, -1), x2.reshape(1, 1, -1), None, 1, second - 1).reshape(-1)
    length = {"full": first + second - 1, "same": first}.get(mode, abs(first - second) + 1)
    start = (full.shape[0] - length) // 2
    return full[start : start + length]


@op
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of images (N, C, H, W) as columns (N, C * kernel, windows). Raises ValueError for
    another rank."""
    x = to_float(x)
    if x.ndim != 4:
        raise ValueError(f"Input must be a 4D tensor. Received: input.shape={tuple(x.shape)}")
    return F.unfold(x, kernel_size, dilation, padding, stride)


@op
def fold(
    x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The columns of :func:`unfold` as images, summed where windows overlap. Raises ValueError for
    another rank."""
    x = to_float(x)
    if x.ndim != 3:
        raise ValueError(f"Input must be a 3D tensor. Received: input.shape={tuple(x.shape)}")
    return F.fold(x, output_size, kernel_size, dilation, padding, stride)


@op
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[Any, Any]:
    """The labels of outputs (N, steps, classes) of a CTC model, -1 behind their ends.

    ``"greedy"`` takes the best class of each step: (1, N, steps) and minus the sum of the best
    outputs, (N, 1). ``"beam_search"`` follows the ``beam_width`` best beginnings: (top_paths, N,
    steps) and the logarithms of their probabilities, (N, top_paths). Raises ValueError for another
    strategy.
    """
    outputs = convert_to_numpy(to_float(inputs))
    lengths = convert_to_numpy(sequence_lengths).reshape(-1)
    blank = outputs.shape[-1] - 1 if mask_index is None else mask_index
    if strategy == "greedy":
        return _greedy(outputs, lengths, merge_repeated, blank)
    if strategy != "beam_search":
        raise ValueError(
            f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'."
        )
    count, steps, _ = outputs.shape
    paths = np.full((top_paths, count, steps), -1, "int32")
    scores = np.full((count, top_paths), -np.inf, outputs.dtype)
    logs = convert_to_numpy(F.log_softmax(tg.from_numpy(outputs), -1)).astype("float64")
    for n in range(count):
        best = _beam(logs[n, : int(lengths[n])], beam_width, blank)[:top_paths]
        for place, (path, score) in enumerate(best):
            paths[place, n, : len(path)] = path
            scores[n, place] = score
    return tg.from_numpy(paths), tg.from_numpy(scores)


def _greedy(outputs: Any, lengths: Any, merge_repeated: bool, blank: int) -> tuple[Any, Any]:
    count, steps, _ = outputs.shape
    inside = np.arange(steps) < lengths[:, None]
    chosen = np.where(inside, outputs.argmax(-1), blank)
    kept = chosen != blank
    if merge_repeated:
        kept[:, 1:] &= chosen[:, 1:] != chosen[:, :-1]
    made = np.full((1, count, steps), -1, "int32")
    for n in range(count):
        labels = chosen[n][kept[n]]
        made[0, n, : len(labels)] = labels
    scores = -np.where(inside, outputs.max(-1), 0).sum(1, keepdims=True)
    return tg.from_numpy(made), tg.from_numpy(scores.astype(outputs.dtype))


def _beam(logs: Any, width: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """The most likely label sequences with the logarithms of their probabilities, best first.

    For each beginning two numbers are kept: its probability with a blank at the end, and with a
    label, since only the former may repeat that label (Graves and Jaitly, 2014).
    """
    empty = (-math.inf, -math.inf)
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for step in logs:
        grown: dict[tuple[int, ...], list[float]] = {}
        for path, (of_blank, of_label) in beams.items():
            both = float(np.logaddexp(of_blank, of_label))
            here = grown.setdefault(path, list(empty))
            here[0] = float(np.logaddexp(here[0], both + step[blank]))
            if path:
                here[1] = float(np.logaddexp(here[1], of_label + step[path[-1]]))
            for label in range(len(step)):
                if label != blank:
                    start = of_blank if path and label == path[-1] else both
                    there = grown.setdefault((*path, label), list(empty))
                    there[1] = float(np.logaddexp(there[1], start + step[label]))
        ordered = sorted(grown.items(), key=lambda item: -np.logaddexp(*item[1]))
        beams = {path: (s[0], s[1]) for path, s in ordered[:width]}
    return [(path, float(np.logaddexp(*s))) for path, s in beams.items()]

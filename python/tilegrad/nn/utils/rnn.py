"""Batches of sequences of different lengths: padded to one length, or packed without padding.

A packed batch lists the rows of the first steps of all sequences, then those of the second steps of
all sequences that have one, and so on, the longest sequence first. Recurrent layers so spend no
time on padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ... import _C, ops
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(_Fields):
    """A packed batch: ``data`` (rows, *), and ``batch_sizes`` (steps), the rows of each step.

    ``sorted_indices`` and ``unsorted_indices`` lead from the order of the original batch to the
    packed one and back; None if they are the same. Made by :func:`pack_padded_sequence` and
    :func:`pack_sequence`. Raises ValueError for ``batch_sizes`` that are not on the CPU.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Any = None,
        sorted_indices: Any = None,
        unsorted_indices: Any = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if batch_sizes.device.type != "cpu":
            raise ValueError("PackedSequence: batch_sizes must be on the CPU")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """``data`` with another dtype or on another device; the indices follow to the device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (x if x is None else x.to(data.device) for x in self[2:])
        return PackedSequence(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu")

    def cuda(self) -> PackedSequence:
        """The same on the current GPU; ``batch_sizes`` stay on the CPU."""
        return self.to("cuda")

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(_C.float32)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(_C.float64)

    @property
    def is_cuda(self) -> bool:
        """Whether ``data`` is on a GPU."""
        return self.data.device.type == "cuda"


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes this one, int64; None for None."""
    if permutation is None:
        return None
    inverse = np.empty(permutation.numel(), np.int64)
    inverse[permutation.cpu().numpy()] = np.arange(permutation.numel())
    return ops.from_numpy(inverse).to(permutation.device)


def _checked_lengths(lengths: Any) -> np.ndarray:
    if not isinstance(lengths, Tensor):
        return np.asarray(lengths, np.int64).reshape(-1)
    if lengths.ndim != 1 or lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.ndim}D on {lengths.device}"
        )
    return lengths.numpy().astype(np.int64)


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs a padded batch, (steps, batch, *) or (batch, steps, *) with ``batch_first``.

    ``lengths``: a list, or an int64 tensor on the CPU, with the length of each sequence. They must
    decrease unless ``enforce_sorted`` is False; the sequences are then sorted. Raises RuntimeError
    for lengths that are unsorted, not positive, too large or not one for each sequence.
    """
    sizes = _checked_lengths(lengths)
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    order = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    if len(sizes) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={batch})"
        )
    if sizes.min() <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True; "
            "pass enforce_sorted=False to have the sequences sorted"
        )
    if sizes[0] > steps:
        raise RuntimeError(
            f"pack_padded_sequence: argument 'lengths': {sizes[0]} is longer than the {steps} "
            "steps of the input"
        )
    step, place = _rows(sizes)
    rows = ops.from_numpy(step * batch + (place if order is None else order[place]))
    flat = input.reshape(steps * batch, *input.shape[2:])
    data = flat.index_select(0, rows.to(input.device))
    batch_sizes = ops.from_numpy(np.bincount(step))
    indices = None if order is None else ops.from_numpy(order).to(input.device)
    return PackedSequence(data, batch_sizes, indices)


def _rows(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each packed row, the step and the sequence; lengths decrease."""
    step, place = np.nonzero(np.arange(lengths[0])[:, None] < lengths)
    return step, place


def _lengths(batch_sizes: Any) -> np.ndarray:
    """The length of each sequence: the number of steps that it takes part in."""
    sizes = batch_sizes.numpy()
    return (np.arange(sizes[0])[:, None] < sizes).sum(1)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Any]:
    """The inverse of :func:`pack_padded_sequence`: (padded batch, lengths), in the original order.

    The result has as many steps as the longest sequence, or ``total_length``. Raises ValueError if
    that is too few.
    """
    steps = sequence.batch_sizes.shape[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in "
                f"input, but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data, lengths = sequence.data, _lengths(sequence.batch_sizes)
    step, place = _rows(lengths)
    batch, tail = len(lengths), data.shape[1:]
    if sequence.sorted_indices is not None:  # back to the original order
        order = sequence.sorted_indices.cpu().numpy()
        place, lengths = order[place], lengths[np.argsort(order)]
    rows = place * steps + step if batch_first else step * batch + place
    shape = (batch, steps) if batch_first else (steps, batch)
    padded = ops.full((batch * steps, *tail), padding_value, dtype=data.dtype, device=data.device)
    padded = padded.index_copy(0, ops.from_numpy(rows).to(data.device), data)
    return padded.reshape(*shape, *tail), ops.from_numpy(lengths)


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Stacks sequences (length, *) to (longest, batch, *), or (batch, longest, *).

    Raises RuntimeError for no sequences, other shapes behind the first dimension, or a
    ``padding_side`` that is neither "left" nor "right".
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    longest = max(x.shape[0] for x in sequences)
    padded = []
    for x in sequences:
        missing = longest - x.shape[0]
        if missing:
            padding = x.new_full((missing, *x.shape[1:]), padding_value)
            x = ops.cat((x, padding) if padding_side == "right" else (padding, x))
        padded.append(x)
    return ops.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The inverse of :func:`pad_sequence`: a list of sequences.

    Raises ValueError unless there is a length for each sequence.
    """
    batch_dim = 0 if batch_first else 1
    sequences = padded_sequences.unbind(batch_dim)
    return [x[: int(n)] for x, n in zip(sequences, lengths, strict=True)]


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Packs a list of sequences (length, *); the longest comes first unless ``enforce_sorted`` is
    False. Raises RuntimeError as :func:`pack_padded_sequence` does."""
    lengths = [x.shape[0] for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The inverse of :func:`pack_sequence`: a list of sequences in the original order."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)

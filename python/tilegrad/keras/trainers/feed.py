"""How many batches an epoch gets, and what ``fit`` does with arguments and numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import tilegrad as tg

from .. import tree
from ..config import settings
from ..dtypes import convert_to_numpy
from .data import Source, Stream, source_of, unpack

__all__ = ["Feed"]


class Feed:
    """The batches of epochs: those of the source, or ``steps`` of them, going on where the epoch
    before stopped if the source cannot start over."""

    def __init__(self, source: Source, steps: int | None) -> None:
        self.source, self.steps = source, steps
        self.exhausted = False
        self._iterator: Iterator[tuple] | None = None
        self._given = 0

    def epoch(self) -> Iterator[tuple]:
        source = self.source
        if source.again and (self.steps is None or self.steps == source.steps):
            yield from source.epoch()
            return
        count = 0
        while self.steps is None or count < self.steps:
            if self._iterator is None:
                self._iterator = source.epoch()
                self._given = 0
            batch = next(self._iterator, None)
            if batch is not None:
                count += 1
                self._given += 1
                yield batch
                continue
            if source.again and self._given:
                self._iterator = None
                if self.steps is None:
                    return
                continue
            if not self._given:
                raise ValueError(
                    "The generator must yield at least one batch, but gave none. One that was used "
                    "up by an earlier call cannot start over: make a new one."
                )
            if self.steps is not None:
                self.exhausted = True
                warn_of_end(count, self.steps)
            elif not source.again and count == 0:
                self.exhausted = True
                warnings.warn(
                    "Your generator is used up after one epoch; interrupting training. Pass "
                    "steps_per_epoch and let it go on forever, or use a keras.utils.PyDataset.",
                    stacklevel=4,
                )
            return


def warn_of_end(count: int, steps: int) -> None:
    warnings.warn(
        f"Your input ran out of data after {count} of {steps} batches of this epoch; interrupting "
        "training. Make sure that your dataset or generator can generate at least "
        "`steps_per_epoch * "
        "epochs` batches.",
        stacklevel=5,
    )


def warn_of_nan(epoch: int) -> None:
    warnings.warn(
        f"the loss is NaN in epoch {epoch + 1}: use a smaller learning rate or clipnorm, look for "
        "NaN "
        "or infinity in the data, and stop early next time with keras.callbacks.TerminateOnNaN()",
        stacklevel=3,
    )


def steps_of(source: Source, given: int | None, name: str) -> int | None:
    """How many batches an epoch has. Raises ValueError for a number that is not positive."""
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
            raise ValueError(f"argument '{name}': expected a positive integer, got {given!r}")
        given = int(given)
    steps, most = given or source.steps, settings.max_steps_per_epoch
    return steps if most is None else most if steps is None else min(steps, most)


def validation_source(data: Any, batch_size: int | None, steps: int | None) -> Source:
    if isinstance(data, (tuple, list)) and not isinstance(data, tg.Tensor):
        x, y, weight = unpack(tuple(data))
        return source_of(x, y, weight, batch_size, False)
    source = source_of(data, batch_size=batch_size)
    if isinstance(source, Stream) and not source.again and steps is None:
        raise ValueError(
            "validation_data: a generator is used up after one epoch; pass validation_steps and "
            "let it go on forever, or pass arrays, a PyDataset or what else can be read again"
        )
    return source


def validates(epoch: int, often: Any) -> bool:
    if isinstance(often, int):
        return (epoch + 1) % often == 0
    return epoch + 1 in often


def verbosity(verbose: Any) -> int:
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2, True, False):
        raise ValueError(f"argument 'verbose': expected 'auto', 0, 1 or 2, got {verbose!r}")
    return int(verbose)


def batch_size_of(x: Any) -> int:
    if type(x) is tg.Tensor and x.ndim:
        return len(x)
    leaf = tree.flatten(x)[0]
    return len(leaf) if getattr(leaf, "ndim", 1) else 1


def numbers(logs: Any) -> dict[str, float]:
    """Logs as plain numbers."""
    if logs is None:
        return {}
    if not isinstance(logs, dict):
        logs = {"loss": logs}
    made = {}
    for name, value in sorted(logs.items()):
        if isinstance(value, dict):  # a metric of several numbers
            made.update(numbers(value))
            continue
        if isinstance(value, tg.Tensor):
            value = value.item() if value.numel() == 1 else convert_to_numpy(value)
        made[name] = value
    return made


def one_batch(x: Any, y: Any = None, weight: Any = None, class_weight: Any = None) -> tuple:
    source = source_of(x, y, weight, 2**62, False, class_weight)
    return next(source.epoch())


def returned(logs: dict[str, float], as_dict: bool) -> Any:
    if as_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values

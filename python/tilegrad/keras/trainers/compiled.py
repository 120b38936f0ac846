"""What ``compile`` was given: losses and metrics, one or one for each output."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ... import _C
from .. import losses as losses_module
from .. import metrics as metrics_module
from .. import tree
from ..symbolic import context

__all__ = ["CompiledLoss", "CompiledMetrics", "LossMean"]

# So many batches are counted together, and only if each has at most so many numbers.
_MOST_PENDING, _SMALL_BATCH = 32, 1 << 13


class LossMean(metrics_module.Mean):
    """The mean loss. In training losses wait and are added up together as plain numbers, which
    costs a step the least; whoever looks finds the variables up to date."""

    def __init__(self, name: str) -> None:
        self._waiting: list[tuple[Any, int]] = []
        self._sum, self._weight = 0.0, 0
        super().__init__(name)

    def add(self, loss: Any, count: int) -> None:
        """Takes in the mean loss of ``count`` samples."""
        # To read a number on a card would make the host wait; a model's own loss may be no tensor.
        if type(loss) is not tg.Tensor or loss.is_cuda or loss.ndim:
            self.update_state(loss, count)
            return
        self._waiting.append((_C.clone(loss), count))  # without its graph
        if len(self._waiting) == _MOST_PENDING:
            self._add_up()

    def _add_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for loss, count in waiting:
            self._sum += loss.item() * count
            self._weight += count

    def _settle(self) -> None:
        self._add_up()
        if self._weight:
            with tg.no_grad():
                self.total.add_(self._sum)
                self.count.add_(self._weight)
            self._sum, self._weight = 0.0, 0

    @property
    def variables(self) -> list[Any]:
        self._settle()
        return super().variables

    def result(self) -> Any:
        self._settle()
        return super().result()

    def is_used(self) -> bool:
        """Whether it has taken in anything since it was reset."""
        self._settle()
        return float(self.count) > 0


class _Pending:
    """Batches that metrics have not counted yet: one call for many costs hardly more than for one.

    They are copies, since a generator, or a model, may give the same memory again.
    """

    def __init__(self) -> None:
        self.targets: list[Any] = []
        self.outputs: list[Any] = []
        self._kind: tuple | None = None

    def add(self, y_true: Any, y_pred: Any) -> bool:
        """Keeps a batch of small tensors like those before, if there is room; says whether."""
        if not (type(y_true) is type(y_pred) is tg.Tensor):
            return False
        kind = (y_true.shape, y_pred.shape, y_true.dtype, y_pred.dtype)
        if kind != self._kind:
            if self.targets or not _is_small(y_true, y_pred):
                return False
            self._kind = kind
        if len(self.targets) == _MOST_PENDING:
            return False
        self.targets.append(_C.clone(y_true))
        self.outputs.append(_C.clone(y_pred))
        return True

    def taken(self) -> tuple[Any, Any]:
        """All of them, joined; afterwards there are none."""
        joined = tg.cat(self.targets), tg.cat(self.outputs)
        self.targets, self.outputs, self._kind = [], [], None
        return joined


def _is_small(y_true: Any, y_pred: Any) -> bool:
    if y_true.is_cuda or y_pred.is_cuda or not y_true.ndim or not y_pred.ndim:
        return False
    return y_true.numel() + y_pred.numel() <= _SMALL_BATCH


def _by_output(given: Any, names: list[str], what: str) -> list[Any]:
    """What was given, as one entry per output. Raises ValueError for other names or numbers."""
    if isinstance(given, dict):
        unknown = [key for key in given if key not in names]
        if unknown:
            raise ValueError(
                f"In the dict argument `{what}`, key '{unknown[0]}' does not correspond to any "
                "model "
                f"output. Received: {what}={given}; the outputs are {names}"
            )
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)) and not (what == "metrics" and len(names) == 1):
        if len(given) != len(names):
            raise ValueError(
                f"For a model with {len(names)} outputs, when providing the `{what}` argument as a "
                f"list, it should have as many entries as the model has outputs. Received:\n"
                f"{what}={given}\nof length {len(given)} whereas the model has {len(names)} "
                "outputs "
                f"named {names}."
            )
        return list(given)
    return [given] * len(names)


def _outputs(y: Any, like: Any, names: list[str]) -> list[Any]:
    """Targets or weights in the order of the outputs."""
    if isinstance(y, dict):
        if isinstance(like, dict):
            return [y.get(key) for key in like]
        return [y.get(name) for name in names]
    if isinstance(like, dict) and isinstance(y, (list, tuple)):
        return list(y)
    if isinstance(y, (list, tuple)) and not isinstance(y, tg.Tensor):
        return list(y)
    return [y]


class CompiledLoss:
    """The loss of a model: of its output, or weighted and summed over its outputs."""

    def __init__(self, loss: Any, loss_weights: Any = None) -> None:
        self.given, self.weights_given = loss, loss_weights
        self.single: Any = None
        if not isinstance(loss, (dict, list, tuple)):
            self.single = losses_module.as_loss(loss)
            if isinstance(loss_weights, (list, tuple)) and len(loss_weights) == 1:
                loss_weights = loss_weights[0]
            self.weight = loss_weights if isinstance(loss_weights, (int, float)) else None
        else:
            for item in tree.flatten(loss):
                losses_module.as_loss(item)  # complain at once about what is no loss
        self.parts: list[tuple[str, Any, float]] | None = None
        self.trackers: list[Any] = []

    def _prepare(self, y_pred: Any, names: list[str]) -> None:
        entries = _by_output(self.given, names, "loss")
        made = [losses_module.as_loss(entry) for entry in entries]
        weights: list[Any] = [None] * len(names)
        if self.weights_given is not None:
            weights = _by_output(self.weights_given, names, "loss_weights")
        if all(entry is None for entry in made):
            raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`.")
        self.parts = [
            (name, loss, 1.0 if weight is None else float(weight))
            for name, loss, weight in zip(names, made, weights, strict=True)
        ]
        if len(names) > 1:
            self.trackers = [
                metrics_module.Mean(name=f"{name}_loss")
                for name, loss, _ in self.parts
                if loss is not None
            ]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any, names: list[str]) -> Any:
        if isinstance(y_pred, tg.Tensor) and self.single is not None:
            if isinstance(y_true, (list, tuple)) and len(y_true) == 1:
                y_true = y_true[0]
            value = self.single(y_true, y_pred, sample_weight)
            return value if self.weight is None else value * self.weight
        if self.parts is None:
            self._prepare(y_pred, names)
        outputs = tree.flatten(y_pred) if not isinstance(y_pred, dict) else list(y_pred.values())
        targets = _outputs(y_true, y_pred, names)
        weights = _outputs(sample_weight, y_pred, names)
        if len(weights) == 1:
            weights = weights * len(outputs)
        if len(targets) != len(outputs):
            raise ValueError(
                f"the model has {len(outputs)} outputs, {names}, but y has {len(targets)} parts"
            )
        total: Any = None
        trackers = iter(self.trackers)
        for (_, loss, factor), target, output, weight in zip(
            self.parts or [], targets, outputs, weights, strict=True
        ):
            if loss is None or target is None:
                if loss is not None:
                    next(trackers, None)
                continue
            value = loss(target, output, weight)
            tracker = next(trackers, None)
            if tracker is not None:
                tracker.update_state(value.detach(), output.shape[0])
            if factor != 1.0:
                value = value * factor
            total = value if total is None else total + value
        return total


class CompiledMetrics:
    """The metrics of a model, made once the shapes of targets and outputs are known."""

    name = "compile_metrics"

    def __init__(self, metrics: Any, weighted: Any, names_of: Any) -> None:
        self.given, self.weighted_given = metrics, weighted
        self.names_of = names_of  # the names of the outputs, given these
        for item in [*tree.flatten(metrics or []), *tree.flatten(weighted or [])]:
            if item not in ("accuracy", "acc", "crossentropy", "ce"):
                metrics_module.as_metric(item)  # complain at once about what is no metric
        self.entries: list[tuple[int, str, Any, bool]] | None = None
        self._pending = _Pending()
        # Only we hold metrics that were named, and only the means of samples can be counted
        # together.
        self._can_wait = weighted is None and all(
            isinstance(item, str) for item in tree.flatten(metrics or [])
        )

    @property
    def metrics(self) -> list[Any]:
        """The metrics, once they are made."""
        self._settle()
        return [metric for _, _, metric, _ in self.entries or []]

    def parts(self) -> list[Any]:
        """The metrics, each to be updated with targets and outputs; all in one where they are not
        made yet or belong to different outputs."""
        if self.given is None and self.weighted_given is None:
            return []
        several = self.entries is None or any(index for index, _, _, _ in self.entries)
        return [self] if several else self.metrics

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes in a batch, as a metric does."""
        self.update(y_true, y_pred, sample_weight, self.names_of(y_pred))

    def result(self) -> dict[str, Any]:
        """The numbers so far, as a metric of several gives them."""
        return self.results()

    def reset_state(self) -> None:
        """Forgets all batches."""
        for metric in self.metrics:
            metric.reset_state()

    def _prepare(self, targets: list[Any], outputs: list[Any], names: list[str]) -> None:
        self.entries = []
        for given, weighted in ((self.given, False), (self.weighted_given, True)):
            if given is None:
                continue
            for index, entry in enumerate(self._per_output(given, names)):
                for item in entry if isinstance(entry, (list, tuple)) else [entry]:
                    if item is None:
                        continue
                    metric = _resolved(item, targets[index], outputs[index])
                    if isinstance(item, str):
                        metric.name = item
                    label = metric.name
                    name = f"{names[index]}_{label}" if len(names) > 1 else label
                    self.entries.append((index, name, metric, weighted))
        self._can_wait &= len(names) == 1 and all(
            isinstance(metric, metrics_module.MeanMetricWrapper) for _, _, metric, _ in self.entries
        )

    @staticmethod
    def _per_output(given: Any, names: list[str]) -> list[Any]:
        if isinstance(given, dict):
            return _by_output(given, names, "metrics")
        if len(names) == 1:
            flat = list(given) if isinstance(given, (list, tuple)) else [given]
            if len(flat) == 1 and isinstance(flat[0], (list, tuple)):
                flat = list(flat[0])
            return [flat]
        return _by_output(given, names, "metrics")

    def keep(self, y_true: Any, y_pred: Any) -> bool:
        """Whether the batch waits, to be counted with others; else :meth:`update` counts it."""
        if self.entries is None or not self._can_wait or context.masks:
            return False
        return self._pending.add(y_true, y_pred)

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any, names: list[str]) -> None:
        """Takes in a batch."""
        self._settle()
        self._count(y_true, y_pred, sample_weight, names)

    def _settle(self) -> None:
        """Counts the batches that wait."""
        if self._pending.targets:
            y_true, y_pred = self._pending.taken()
            with tg.no_grad():
                self._count(y_true, y_pred, None, ["output"])

    def _count(self, y_true: Any, y_pred: Any, sample_weight: Any, names: list[str]) -> None:
        outputs = [y_pred]
        if not isinstance(y_pred, tg.Tensor):
            outputs = list(y_pred.values()) if isinstance(y_pred, dict) else tree.flatten(y_pred)
        targets = _outputs(y_true, y_pred, names)
        if self.entries is None:
            self._prepare(targets, outputs, names)
        weights = _outputs(sample_weight, y_pred, names)
        for index, _, metric, weighted in self.entries or []:
            if targets[index] is None:
                continue
            weight = None
            if weighted:
                weight = weights[index] if len(weights) > 1 else weights[0]
            metric.update_state(targets[index], outputs[index], weight)

    def results(self) -> dict[str, Any]:
        """The numbers so far, by their names in logs."""
        self._settle()
        made: dict[str, Any] = {}
        for _, name, metric, _ in self.entries or []:
            result = metric.result()
            if isinstance(result, dict):
                made.update(result)
            else:
                made[_free(name, made)] = result
        return made


def _free(name: str, taken: dict[str, Any]) -> str:
    count, made = 0, name
    while made in taken:
        count += 1
        made = f"{name}_{count}"
    return made


_ACCURACIES = ("accuracy", "acc")
_ENTROPIES = ("crossentropy", "ce")


def _resolved(item: Any, target: Any, output: Any) -> Any:
    """A metric; ``"accuracy"`` and ``"crossentropy"`` become the variant that fits the shapes."""
    if not isinstance(item, str) or item not in _ACCURACIES + _ENTROPIES:
        return metrics_module.as_metric(item)
    binary = output.shape[-1] == 1 if output.ndim > 1 else True
    sparse = target.ndim < output.ndim or (target.shape[-1] == 1 and output.shape[-1] > 1)
    accuracy = item in _ACCURACIES
    cls: Any
    if binary:
        cls = metrics_module.BinaryAccuracy if accuracy else metrics_module.BinaryCrossentropy
    elif sparse:
        cls = (
            metrics_module.SparseCategoricalAccuracy
            if accuracy
            else metrics_module.SparseCategoricalCrossentropy
        )
    else:
        cls = (
            metrics_module.CategoricalAccuracy
            if accuracy
            else metrics_module.CategoricalCrossentropy
        )
    return cls(name=item)

"""``evaluate``, ``predict`` and single batches: the other half of what every model can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import tilegrad as tg

from .. import tree
from ..callbacks.base import CallbackList
from ..dtypes import convert_to_numpy
from .data import Source, source_of
from .feed import Feed, numbers, one_batch, steps_of
from .feed import returned as as_returned
from .feed import verbosity as verbosity_of

__all__ = ["Evaluator"]


class Evaluator:
    """The part of a model that evaluates and predicts."""

    if TYPE_CHECKING:  # attributes of the model that this is a part of

        def __getattr__(self, name: str) -> Any: ...

    # --- evaluate and predict -----------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and the metrics on data: a number, a list, or with ``return_dict`` a dictionary.

        Raises ValueError before ``compile``.
        """
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        self._require_compiled("evaluate")
        source = source_of(x, y, sample_weight, batch_size, False)
        verbosity = verbosity_of(verbose)
        listed = CallbackList(
            callbacks, add_progbar=verbosity != 0, model=self, verbose=verbosity, epochs=1,
            steps=steps_of(source, steps, "steps"),
        )  # fmt: skip
        logs = self._evaluate(source, steps, listed, verbosity)
        if return_dict:
            return logs
        return as_returned(self._in_order(logs), False)

    def _in_order(self, logs: dict[str, float]) -> dict[str, float]:
        """The loss first, then metrics of one's own, those of ``compile``, the losses of several
        outputs, and the metrics of several outputs, which have other names in logs, sorted."""
        found = self.metrics  # the trackers of losses are the last of them
        order = [metric.name for metric in found] + sorted(logs)
        return {name: logs[name] for name in dict.fromkeys(order) if name in logs}

    def _evaluate(
        self, source: Source, steps: int | None, listed: CallbackList, verbosity: int
    ) -> dict[str, float]:
        custom = self._has_own("test_step")
        self.reset_metrics()
        listed.on_test_begin()
        count, returned = 0, None
        logs: dict[str, float] = {}
        with tg.no_grad():
            for batch in Feed(source, steps_of(source, steps, "steps")).epoch():
                if listed.watches_test_batches:
                    listed.on_test_batch_begin(count)
                if custom:
                    returned = self.test_step(batch)
                else:
                    self._assess(batch)
                count += 1
                if listed.watches_test_batches or (verbosity and listed.bar_is_due()):
                    logs = numbers(returned) if custom else self._results()
                    listed.on_test_batch_end(count - 1, logs)
            if count == 0:
                raise ValueError("evaluate: the data gave no batches")
            logs = dict(numbers(returned) if custom else self._results())
            if verbosity:
                listed.seen(count)
        listed.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for data, batch by batch, as arrays. Raises ValueError without data."""
        source = source_of(x, None, None, batch_size, False)
        verbosity = verbosity_of(verbose)
        count_of_steps = steps_of(source, steps, "steps")
        listed = CallbackList(
            callbacks, add_progbar=verbosity != 0, model=self, verbose=verbosity, epochs=1,
            steps=count_of_steps,
        )  # fmt: skip
        listed.on_predict_begin()
        parts: list[Any] = []
        with tg.no_grad():
            for count, batch in enumerate(Feed(source, count_of_steps).epoch()):
                listed.on_predict_batch_begin(count)
                made = self.predict_step(batch)
                parts.append(made)
                listed.on_predict_batch_end(count, {"outputs": made})
        if not parts:
            raise ValueError("predict: the data gave no batches")
        listed.seen(len(parts))
        listed.on_predict_end()
        return tree.map_structure(
            lambda *pieces: np.concatenate([convert_to_numpy(p) for p in pieces]), *parts
        )

    # --- single batches -----------------------------------------------------------------------

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step of training on one batch: the loss and the metrics. Raises ValueError before
        ``compile``."""
        self._require_compiled("train_on_batch")
        batch = one_batch(x, y, sample_weight, class_weight)
        self.reset_metrics()
        self.__dict__["_trained"] = self.__dict__["_penalized"] = None
        return as_returned(self._in_order(numbers(self.train_step(batch))), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics on one batch. Raises ValueError before ``compile``."""
        self._require_compiled("test_on_batch")
        self.reset_metrics()
        with tg.no_grad():
            logs = numbers(self.test_step(one_batch(x, y, sample_weight)))
        return as_returned(self._in_order(logs), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as arrays."""
        with tg.no_grad():
            made = self.predict_step(one_batch(x))
        return tree.map_structure(convert_to_numpy, made)

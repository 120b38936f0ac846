"""``compile``, ``fit``, ``evaluate``, ``predict``: the training that every model has."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from typing import Any

import numpy as np

import tilegrad as tg

from .. import metrics as metrics_module
from .. import optimizers, tree
from ..callbacks.base import CallbackList
from ..config import settings
from ..layers.layer import Layer
from ..registry import deserialize_keras_object, serialize_keras_object
from .compiled import CompiledLoss, CompiledMetrics, LossMean
from .data import source_of, split_off, unpack
from .evaluation import Evaluator
from .feed import (
    Feed,
    batch_size_of,
    numbers,
    steps_of,
    validates,
    validation_source,
    warn_of_nan,
)
from .feed import (
    verbosity as verbosity_of,
)

__all__ = ["Trainer"]


class Trainer(Evaluator):
    """The part of a model that trains it."""

    # Provided by the model.
    name: str
    optimizer: Any
    stop_training: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute_loss" in cls.__dict__:
            cls.compute_loss = _told_of_training(cls.__dict__["compute_loss"])  # type: ignore

    def _init_training(self) -> None:
        state = self.__dict__
        state["_compile_loss"] = None
        state["_compile_metrics"] = None
        state["_compile_arguments"] = None
        state["_loss_tracker"] = None
        state["compiled"] = False
        state["stop_training"] = False
        state["optimizer"] = None
        state["history"] = None
        state["_trained"] = None

    # --- compile ------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Chooses optimizer, loss and metrics, by name or as objects; for several outputs, lists or
        dictionaries of them.

        ``run_eagerly``, ``steps_per_execution`` and ``jit_compile`` change nothing: nothing is
        compiled here. ``auto_scale_loss`` puts a ``LossScaleOptimizer`` around the optimizer of a
        model in mixed float16. Raises ValueError for unknown names.
        """
        state = self.__dict__
        state["optimizer"] = made = optimizers.get(optimizer)
        if (
            auto_scale_loss
            and state["_policy"].name == "mixed_float16"
            and not isinstance(made, optimizers.LossScaleOptimizer)
        ):  # small gradients are zero in float16
            state["optimizer"] = optimizers.LossScaleOptimizer(made, name="loss_scale_optimizer")
        state["_compile_loss"] = None if loss is None else CompiledLoss(loss, loss_weights)
        state["_compile_metrics"] = CompiledMetrics(metrics, weighted_metrics, self._output_names)
        state["_loss_tracker"] = LossMean("loss")
        state["_compile_arguments"] = {
            "optimizer": state["optimizer"],
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        if loss is not None or "loss" not in state:  # a loss that the class set itself stays
            state["loss"] = loss
        state["compiled"] = True
        state["stop_training"] = False
        state["run_eagerly"] = run_eagerly
        state["_trained"] = None

    def get_compile_config(self) -> dict[str, Any] | None:
        """What :meth:`compile_from_config` needs; None if it cannot be written down."""
        if not self.__dict__.get("compiled") or type(self).compile is not Trainer.compile:
            return None
        try:
            return serialize_keras_object(self._compile_arguments)
        except ValueError as error:
            warnings.warn(f"the arguments of compile() are not saved: {error}", stacklevel=2)
            return None

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as :meth:`get_compile_config` says."""
        made = deserialize_keras_object(config)
        self.compile(**made)
        if getattr(self, "built", False) and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[Any]:
        """The loss, the metrics of ``compile`` and those among the attributes, of layers too.

        Those of ``compile`` are one object, ``compile_metrics``, until targets and outputs were
        seen, and for several outputs; its ``update_state`` and ``result`` serve all of them.
        """
        state = self.__dict__
        found = [state["_loss_tracker"]] if state.get("_loss_tracker") is not None else []
        for layer in self._flatten_layers():
            found += layer._held(metrics_module.Metric)
        if state.get("_compile_metrics") is not None:
            found += state["_compile_metrics"].parts()
        if state.get("_compile_loss") is not None:
            found += state["_compile_loss"].trackers
        return found

    @property
    def metrics_names(self) -> list[str]:
        """The names of the metrics."""
        return [metric.name for metric in self.metrics]

    def reset_metrics(self) -> None:
        """Forgets all batches."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The numbers so far, by their names in logs."""
        state = self.__dict__
        made: dict[str, Any] = {}
        tracker = state.get("_loss_tracker")
        if tracker is not None and self._uses_loss_tracker():
            made["loss"] = tracker.result()
        loss = state.get("_compile_loss")
        if loss is not None:
            for part in loss.trackers:
                made[part.name] = part.result()
        if state.get("_compile_metrics") is not None:
            made.update(state["_compile_metrics"].results())
        for layer in self._flatten_layers():
            for metric in layer._held(metrics_module.Metric):
                result = metric.result()
                made.update(result if isinstance(result, dict) else {metric.name: result})
        return made

    def _uses_loss_tracker(self) -> bool:
        return self.__dict__.get("_compile_loss") is not None or self._loss_tracker.is_used()

    def _has_own(self, method: str) -> bool:
        """Whether a subclass overrides a method of the trainer."""
        return getattr(type(self), method) is not getattr(Trainer, method)

    def _require_compiled(self, method: str) -> None:
        if not self.__dict__.get("compiled"):
            raise ValueError(
                f"You must call `compile()` before calling `{method}()`: say which optimizer and "
                "loss to use, for example model.compile(optimizer='adam', loss='mse')."
            )

    # --- one step -----------------------------------------------------------------------------

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss to minimize: that of ``compile`` plus what layers added. Subclasses may override
        it. Raises ValueError if there is neither."""
        compiled = self.__dict__["_compile_loss"]
        total: Any = None
        if compiled is not None and y is not None:
            total = compiled(y, y_pred, sample_weight, self._output_names(y_pred))
        if self._has_penalties():
            for loss in self.losses:
                loss = loss.sum() if isinstance(loss, tg.Tensor) and loss.ndim else loss
                total = loss if total is None else total + loss
        if total is None:
            if compiled is not None and y is None:
                raise ValueError(
                    "the model was compiled with a loss, but the data has no targets y"
                )
            if training:
                raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`.")
            return tg.zeros(())
        return total

    def _has_penalties(self) -> bool:
        penalized = self.__dict__.get("_penalized")
        if penalized is None:
            penalized = any(weight.regularizer is not None for weight in self.trainable_weights)
            self.__dict__["_penalized"] = penalized
        return penalized or Layer._losses_used

    def _output_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, dict):
            return list(y_pred)
        names = getattr(self, "output_names", None)
        if isinstance(y_pred, tg.Tensor):
            return names if names is not None and len(names) == 1 else ["output"]
        if names is None:
            names = [f"output_{i}" for i in range(len(tree.flatten(y_pred)))]
        return names

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Updates the metrics of ``compile`` and returns all numbers so far."""
        self._update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def _update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        compiled = self.__dict__["_compile_metrics"]
        if (
            compiled is not None
            and y is not None
            and (compiled.given is not None or compiled.weighted_given is not None)
            and not compiled.keep(y, y_pred)
        ):
            compiled.update(y, y_pred, sample_weight, self._output_names(y_pred))

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training on a batch; returns numbers by their names. Subclasses may override
        it."""
        self._learn(data)
        return self.get_metrics_result()

    def _learn(self, data: Any) -> None:
        x, y, weight = unpack(data)
        info = self._call_info
        call: Any = self
        y_pred = call(x, training=True) if info.takes_training else call(x)
        loss = self.compute_loss(x, y, y_pred, weight, training=True)
        batch = batch_size_of(x)
        self._loss_tracker.add(loss, batch)
        trained = self.__dict__["_trained"]
        if trained is None:
            trained = tuple(self.trainable_weights)
            self.__dict__["_trained"] = trained
        for weight_ in trained:
            weight_._grad = None
        if trained:
            optimizer = self.optimizer
            if optimizer.scales_loss:
                loss = optimizer.scale_loss(loss)
            loss.backward()
            optimizer.apply([v._grad for v in trained], trained)
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=3)
        self.compute_metrics_or_update(x, y, y_pred, weight)

    def compute_metrics_or_update(self, x: Any, y: Any, y_pred: Any, weight: Any) -> None:
        """Updates the metrics, by ``compute_metrics`` where a subclass overrides it."""
        state = self.__dict__
        own = type(self).compute_metrics is not Trainer.compute_metrics
        compiled = state["_compile_metrics"]
        if not own and compiled is not None and compiled.keep(y, y_pred):
            return
        with tg.no_grad():
            if own:
                state["_computed"] = self.compute_metrics(x, y, y_pred, sample_weight=weight)
            else:
                self._update_metrics(y, y_pred, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation on a batch; returns numbers by their names."""
        x, y, weight = unpack(data)
        y_pred = self._forward(x)
        loss = self.compute_loss(x, y, y_pred, weight, training=False)
        self._loss_tracker.add(loss, batch_size_of(x))
        return self.compute_metrics(x, y, y_pred, sample_weight=weight)

    def _assess(self, data: Any) -> None:
        x, y, weight = unpack(data)
        y_pred = self._forward(x)
        loss = self.compute_loss(x, y, y_pred, weight, training=False)
        self._loss_tracker.add(loss, batch_size_of(x))
        self.compute_metrics_or_update(x, y, y_pred, weight)

    def predict_step(self, data: Any) -> Any:
        """The outputs for a batch."""
        x, _, _ = unpack(data)
        return self._forward(x)

    def _forward(self, x: Any) -> Any:
        info = self._call_info
        call: Any = self
        return call(x, training=False) if info.takes_training else call(x)

    def _logs(self) -> dict[str, float]:
        return numbers(self.get_metrics_result())

    # --- fit ----------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: dict | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> Any:
        """Trains for epochs ``initial_epoch`` to ``epochs``. Returns the ``History``.

        ``x`` is an array, a list or dictionary of arrays, tensors, or something that gives batches:
        a generator, a ``PyDataset``, a ``DataLoader``. ``verbose``: 0 nothing, 1 a progress bar, 2
        one line per epoch. Interrupted by the keyboard, it leaves the model as it is then, and the
        epochs so far in ``model.history``.

        Raises ValueError before ``compile``, for data that does not fit together and for a
        ``validation_split`` outside [0, 1).
        """
        self._require_compiled("fit")
        for name, value in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise ValueError(f"fit: argument '{name}': expected an integer, got {value!r}")
        if validation_split and validation_data is None:
            (x, y, sample_weight), held = split_off((x, y, sample_weight), validation_split)
            validation_data = held
        elif validation_split and not 0 <= validation_split < 1:
            raise ValueError(
                f"`validation_split` must be between 0 and 1, got {validation_split!r}"
            )
        source = source_of(x, y, sample_weight, batch_size, shuffle, class_weight)
        steps = steps_of(source, steps_per_epoch, "steps_per_epoch")
        assessed = None
        if validation_data is not None:
            assessed = validation_source(
                validation_data,
                validation_batch_size or source.batch_size or batch_size,
                validation_steps,
            )
        epochs = epochs if settings.max_epochs is None else min(epochs, settings.max_epochs)
        listed = CallbackList(
            callbacks, add_history=True, add_progbar=verbosity_of(verbose) != 0, model=self,
            verbose=verbosity_of(verbose), epochs=epochs, steps=steps,
        )  # fmt: skip
        self.stop_training = False
        self.__dict__["_trained"] = self.__dict__["_penalized"] = None
        self.__dict__["_callbacks"] = listed
        listed.on_train_begin()
        initial_epoch = max(initial_epoch, self.__dict__.pop("_initial_epoch", 0))
        logs: dict[str, float] = {}
        try:
            feed = Feed(source, steps)
            for epoch in range(int(initial_epoch), int(epochs)):
                self.reset_metrics()
                listed.on_epoch_begin(epoch)
                logs, count = self._epoch(feed, listed)
                if count == 0:
                    break
                if math.isnan(logs.get("loss", 0.0)):
                    warn_of_nan(epoch)
                if assessed is not None and validates(epoch, validation_freq):
                    found = self._evaluate(assessed, validation_steps, listed, 0)
                    logs.update({f"val_{name}": value for name, value in found.items()})
                listed.on_epoch_end(epoch, logs)
                source.on_epoch_end()
                if self.stop_training or feed.exhausted:
                    break
            self.optimizer.finalize_variable_values(self.trainable_weights)
        finally:
            listed.on_train_end(logs)
            self.__dict__["_callbacks"] = None
        return self.history

    def _epoch(self, feed: Feed, listed: CallbackList) -> tuple[dict[str, float], int]:
        """One epoch of training: the numbers, and how many batches there were."""
        custom = self._has_own("train_step")
        count = 0
        returned: Any = None
        logs: dict[str, float] = {}
        for batch in feed.epoch():
            if listed.watches_train_batches:
                listed.on_train_batch_begin(count)
            if custom:
                returned = self.train_step(batch)
            else:
                self._learn(batch)
            count += 1
            if listed.watches_train_batches or listed.bar_is_due():
                logs = numbers(returned) if custom else self._results()
                listed.on_train_batch_end(count - 1, logs)
            if self.stop_training:
                break
        if count:
            logs = numbers(returned) if custom else self._results()
            listed.seen(count)
        return dict(logs), count

    def _results(self) -> dict[str, float]:
        if self._has_own("compute_metrics"):
            return numbers(self.__dict__["_computed"])
        return self._logs()


def _told_of_training(compute_loss: Any) -> Any:
    """``compute_loss`` as older programs define it, without ``training``, as it is called now."""
    parameters = inspect.signature(compute_loss).parameters.values()
    if any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters):
        return compute_loss

    @functools.wraps(compute_loss)
    def told(*args: Any, training: bool = True, **kwargs: Any) -> Any:
        return compute_loss(*args, **kwargs)

    return told

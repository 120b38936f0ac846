"""``Callback``, ``CallbackList``, ``History``, ``ProgbarLogger`` and ``LambdaCallback``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..utils.messages import tell
from ..utils.progress import Progbar

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback", "ProgbarLogger"]


class Callback:
    """The base class: its methods are called while a model is trained, tested or used.

    ``self.model`` is the model and ``self.params`` a dictionary with ``verbose``, ``epochs`` and
    ``steps``. ``logs`` are dictionaries from names to numbers.
    """

    def __init__(self) -> None:
        self.params: Any = None
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model that is trained."""
        return self._model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receives ``params``."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Receives the model."""
        self._model = model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before each epoch of training."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Behind each epoch, validation included."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Another name of :meth:`on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Another name of :meth:`on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before each step of training."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Behind each step of training."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before each batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Behind each batch of an evaluation."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before each batch of predictions."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Behind each batch of predictions."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Before training."""

    def on_train_end(self, logs: Any = None) -> None:
        """Behind training, also when it was interrupted."""

    def on_test_begin(self, logs: Any = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Any = None) -> None:
        """Behind an evaluation."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before predictions."""

    def on_predict_end(self, logs: Any = None) -> None:
        """Behind predictions."""


class History(Callback):
    """Keeps the numbers of all epochs: ``history["loss"]`` is a list. ``fit`` returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        # How many epochs and numbers there were, while an epoch is added to them.
        self._lengths: tuple[int, dict[str, int]] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        lengths = {name: len(values) for name, values in self.history.items()}
        self._lengths = len(self.epoch), lengths
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.__dict__["history"] = self
        self._lengths = None

    def on_train_end(self, logs: Any = None) -> None:
        """Takes back an epoch that the keyboard interrupted in the middle of its numbers."""
        if self._lengths is None:
            return
        epochs, lengths = self._lengths
        del self.epoch[epochs:]
        for name, values in self.history.items():
            del values[lengths.get(name, 0) :]
        self._lengths = None

    def _repr_png_(self) -> bytes | None:
        """The curves as a picture, which a notebook shows; None without matplotlib."""
        from ..utils.history_plot import history_png

        return history_png(self.history, self.epoch)


class ProgbarLogger(Callback):
    """Shows progress on the standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None
        self._verbose, self._epochs = 1, 1
        self._steps: int | None = None
        self._began = False

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._verbose = params["verbose"]
        self._epochs, self._steps = params["epochs"], params["steps"]
        if self._verbose == "auto":
            self._verbose = 1

    def start(self) -> None:
        """A fresh bar."""
        self.bar = Progbar(self._steps, verbose=self._verbose, stateful_metrics=_All())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start()
        if self._verbose and self._epochs > 1:
            tell(f"Epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update(batch + 1, (logs or {}).items(), finalize=False)

    on_test_batch_end = on_train_batch_end

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update(batch + 1, finalize=False)

    def on_test_begin(self, logs: Any = None) -> None:
        if self.bar is None:
            self.start()

    on_predict_begin = on_test_begin

    def finish(self, count: int, logs: Any) -> None:
        """The last line of an epoch."""
        if self.bar is not None:
            if self.bar.target is None:
                self.bar.target = self._steps = count
            self.bar.update(self.bar.target, (logs or {}).items(), finalize=True)
            self.bar = None


class _All:
    """A set that holds every name: all numbers are shown as they are."""

    def __iter__(self) -> Any:
        return iter(())

    def __contains__(self, name: Any) -> bool:
        return True


class LambdaCallback(Callback):
    """A callback made of functions, given as keywords with the names of the methods."""

    def __init__(
        self,
        on_epoch_begin: Any = None,
        on_epoch_end: Any = None,
        on_train_begin: Any = None,
        on_train_end: Any = None,
        on_train_batch_begin: Any = None,
        on_train_batch_end: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)


_TRAIN = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
_TEST = ("on_test_batch_begin", "on_test_batch_end")
_PREDICT = ("on_predict_batch_begin", "on_predict_batch_end")


def _overrides(callback: Any, names: tuple[str, ...]) -> bool:
    return any(
        name in vars(callback) or getattr(type(callback), name, None) is not getattr(Callback, name)
        for name in names
    )


class CallbackList:
    """Calls several callbacks one after another; numbers are only fetched for those who look."""

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        if isinstance(callbacks, CallbackList):
            callbacks = callbacks.callbacks
        if callbacks is not None and not isinstance(callbacks, (list, tuple)):
            callbacks = [callbacks]
        self.callbacks: list[Any] = list(callbacks or [])
        for callback in self.callbacks:
            if isinstance(callback, type) or not hasattr(callback, "set_model"):
                raise TypeError(
                    "callbacks: expected instances of keras.callbacks.Callback, got "
                    f"{callback!r}" + (" (a class: call it)" if isinstance(callback, type) else "")
                )
        self.progress = next((c for c in self.callbacks if isinstance(c, ProgbarLogger)), None)
        if self.progress is None and add_progbar:
            self.progress = ProgbarLogger()
            self.callbacks.append(self.progress)
        self.history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if self.history is None and add_history:
            self.history = History()
            self.callbacks.append(self.history)
        others = [c for c in self.callbacks if c is not self.progress and c is not self.history]
        self.watches_train_batches = any(_overrides(c, _TRAIN) for c in others)
        self.watches_test_batches = any(_overrides(c, _TEST) for c in others)
        self.watches_predict_batches = any(_overrides(c, _PREDICT) for c in others)
        self._model: Any = None
        self._count = 0
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Any) -> None:
        """Adds one."""
        self.callbacks.append(callback)
        self.watches_train_batches = self.watches_train_batches or _overrides(callback, _TRAIN)

    def set_model(self, model: Any) -> None:
        """Hands the model on."""
        self._model = model
        if self.history is not None:
            model.__dict__["history"] = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands ``params`` on."""
        for callback in self.callbacks:
            callback.set_params(params)

    def bar_is_due(self) -> bool:
        """Whether the progress bar would be drawn now."""
        progress = self.progress
        return progress is not None and progress.bar is not None and progress.bar.due()

    def seen(self, count: int) -> None:
        """Notes how many steps the epoch had."""
        self._count = count

    # --- the hooks ----------------------------------------------------------------------------

    if TYPE_CHECKING:  # those that only hand on are made below

        def __getattr__(self, name: str) -> Any: ...

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before each epoch."""
        logs = logs or {}
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Behind each epoch."""
        logs = logs or {}
        if self.progress is not None:
            self.progress.finish(self._count, logs)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Behind training."""
        logs = logs or {}
        for callback in self.callbacks:
            callback.on_train_end(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Behind an evaluation."""
        logs = logs or {}
        if self.progress is not None and self.progress.params["verbose"] and not self._in_fit():
            self.progress.finish(self._count, logs)
        for callback in self.callbacks:
            callback.on_test_end(logs)

    def on_predict_end(self, logs: Any = None) -> None:
        """Behind predictions."""
        logs = logs or {}
        if self.progress is not None:
            self.progress.finish(self._count, logs)
        for callback in self.callbacks:
            callback.on_predict_end(logs)

    def _in_fit(self) -> bool:
        return self.history is not None


def _passing(name: str, indexed: bool) -> Any:
    def with_index(self: Any, index: int, logs: Any = None) -> None:
        logs = logs or {}  # as Keras hands them on: never None
        for callback in self.callbacks:
            getattr(callback, name)(index, logs)

    def without(self: Any, logs: Any = None) -> None:
        logs = logs or {}
        for callback in self.callbacks:
            getattr(callback, name)(logs)

    passed: Any = with_index if indexed else without
    passed.__name__ = name
    passed.__doc__ = getattr(Callback, name).__doc__
    return passed


for _name in (*_TRAIN, *_TEST, *_PREDICT):
    setattr(CallbackList, _name, _passing(_name, True))
for _name in ("on_train_begin", "on_test_begin", "on_predict_begin"):
    setattr(CallbackList, _name, _passing(_name, False))

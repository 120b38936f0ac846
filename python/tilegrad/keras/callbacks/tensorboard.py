"""``TensorBoard`` and ``SwapEMAWeights``."""

from __future__ import annotations

import os
import time
from typing import Any

from .base import Callback

__all__ = ["SwapEMAWeights", "TensorBoard"]


class TensorBoard(Callback):
    """Writes the numbers of each epoch, or of every ``update_freq``-th batch, for TensorBoard, into
    ``train`` and ``validation`` below ``log_dir``; with ``histogram_freq`` also the weights.

    Needs the package tensorboardX; raises ImportError without it.
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq, self.update_freq = histogram_freq, update_freq
        self.write_steps_per_second = write_steps_per_second
        self._writers: dict[str, Any] = {}
        self._batches = 0
        if update_freq != "epoch":
            self.on_train_batch_end = self._write_batch  # type: ignore[method-assign]

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            from ...utils.tensorboard import SummaryWriter

            self._writers[part] = SummaryWriter(os.path.join(self.log_dir, part))
        return self._writers[part]

    def on_train_begin(self, logs: Any = None) -> None:
        self._writer("train")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started, self._before = time.time(), self._batches

    def _write_batch(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        often = 1 if self.update_freq == "batch" else int(self.update_freq)
        if self._batches % often == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar(f"batch_{name}", value, self._batches)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in (logs or {}).items():
            held = name.startswith("val_")
            part = "validation" if held else "train"
            self._writer(part).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        rate = float(self.model.optimizer.learning_rate)
        self._writer("train").add_scalar("epoch_learning_rate", rate, epoch)
        if self.write_steps_per_second and self.params["steps"]:
            pace = self.params["steps"] / max(time.time() - self._started, 1e-9)
            self._writer("train").add_scalar("epoch_steps_per_second", pace, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for weight in self.model.weights:
                self._writer("train").add_histogram(weight.path, weight.numpy(), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


class SwapEMAWeights(Callback):
    """Evaluates with the averages of the weights that an optimizer with ``use_ema`` keeps; with
    ``swap_on_epoch`` they also stand in the model between epochs, where checkpoints are written.

    Training goes on with the weights themselves. Raises ValueError for an optimizer that keeps no
    averages.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _pairs(self) -> list[tuple[Any, Any]]:
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if not getattr(optimizer, "use_ema", False):
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer."
            )
        averages = optimizer._averages or ()
        return list(zip(optimizer._trainable_variables, averages, strict=bool(averages)))

    def _swap(self) -> None:
        for weight, average in self._pairs():
            value = weight.numpy()
            weight.assign(average)
            average.assign(value)
        self._swapped = not self._swapped

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.swap_on_epoch and self._swapped:
            self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.swap_on_epoch and not self._swapped:
            self._swap()
            if epoch == self.params["epochs"] - 1:  # what is left in the end
                for weight, average in self._pairs():
                    average.assign(weight)

    def on_test_begin(self, logs: Any = None) -> None:
        if not self._swapped:
            self._swap()

    def on_test_end(self, logs: Any = None) -> None:
        if self._swapped:
            self._swap()

"""Worker processes of a DataLoader, and the iterator that gives them work and keeps the order.

Each worker has a queue of tasks and all share a queue of results. Task ``i`` goes to a worker in
turn; a result that arrives early waits in a dict until the tasks before it have been delivered.
"""

from __future__ import annotations

import multiprocessing
import queue
import random
import signal
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _C
from .dataloader import EndOfStream, make_fetch
from .pinning import pin_memory

__all__ = ["WorkerInfo", "WorkerIterator", "get_worker_info"]

_POLL_SECONDS = 2.0  # how often each side looks whether the other is alive


@dataclass(frozen=True)
class WorkerInfo:
    """What a dataset may ask, inside a worker, about that worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process its ``id``, ``num_workers``, ``seed`` and ``dataset``; else None."""
    return _worker_info


class _Failure:
    """An exception on its way from a worker, as the text of its traceback and its type."""

    def __init__(self, error: BaseException, worker: int) -> None:
        self.kind = type(error)
        self.message = (
            f"Caught {self.kind.__name__} in DataLoader worker process {worker}.\n"
            f"Original {traceback.format_exc()}"
        )

    def reraise(self) -> None:
        if self.kind is KeyError:  # its text would be printed with escaped line ends
            raise KeyError(_Verbatim(self.message))
        try:
            error = self.kind(self.message)
        except Exception:  # its constructor wants other arguments
            raise RuntimeError(self.message) from None
        raise error


class _Verbatim(str):
    """A string that ``repr`` shows as it is."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class _Epoch:
    """The first task of an epoch: seeds the worker and starts its stream."""

    number: int
    seed: int


_END = "end of stream"  # result of a worker whose stream is exhausted


def _work(
    worker: int,
    num_workers: int,
    dataset: Any,
    batched: bool,
    collate_fn: Any,
    drop_last: bool,
    init_fn: Any,
    tasks: Any,
    results: Any,
) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _C.set_num_threads(1)
    parent = multiprocessing.parent_process()
    fetch: Any = None
    failure: _Failure | None = None
    initialized = False
    while True:
        try:
            task = tasks.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if parent is not None and not parent.is_alive():
                results.cancel_join_thread()
                return
            continue
        if task is None:
            results.cancel_join_thread()  # nobody reads what is left
            return
        if isinstance(task, _Epoch):
            epoch = task.number
            try:
                if not initialized:
                    _seed(task.seed, worker, num_workers, dataset)
                    if init_fn is not None:
                        init_fn(worker)
                    initialized = True
                fetch = make_fetch(dataset, batched, collate_fn, drop_last)
                failure = None
            except Exception as error:
                failure = _Failure(error, worker)
            continue
        number, indices = task
        result: Any = failure
        if failure is None:
            try:
                result = fetch(indices)
            except EndOfStream:
                result = _END
            except Exception as error:
                result = _Failure(error, worker)
        results.put((epoch, number, worker, result))


def _seed(seed: int, worker: int, num_workers: int, dataset: Any) -> None:
    from ...ops.random import manual_seed

    global _worker_info
    _worker_info = WorkerInfo(worker, num_workers, seed + worker, dataset)
    manual_seed(seed + worker)
    random.seed(seed + worker)
    np.random.seed((seed + worker) % 2**32)


class _Workers:
    """The processes and their queues."""

    def __init__(self, loader: Any, seed: int) -> None:
        self.seed = seed
        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.results = context.Queue()
        self.tasks = [context.Queue() for _ in range(loader.num_workers)]
        self.processes = []
        self.epoch = 0
        try:
            for worker, tasks in enumerate(self.tasks):
                process = context.Process(
                    target=_work,
                    args=(
                        worker,
                        loader.num_workers,
                        loader.dataset,
                        loader.batch_sampler is not None,
                        loader.collate_fn,
                        loader.drop_last,
                        loader.worker_init_fn,
                        tasks,
                        self.results,
                    ),
                    daemon=True,
                )
                process.start()
                self.processes.append(process)
        finally:
            self.stop = weakref.finalize(self, _stop, self.processes, self.tasks, self.results)

    def start_epoch(self) -> None:
        self.epoch += 1
        for tasks in self.tasks:
            tasks.put(_Epoch(self.epoch, self.seed))

    def receive(self, timeout: float) -> tuple[int, int, Any]:
        """The next result of this epoch: (task, worker, result)."""
        waited = 0.0
        while True:
            step = min(_POLL_SECONDS, timeout - waited) if timeout > 0 else _POLL_SECONDS
            try:
                epoch, number, worker, result = self.results.get(timeout=step)
            except queue.Empty:
                waited += step
                dead = [p.pid for p in self.processes if not p.is_alive()]
                if dead:
                    listed = ", ".join(map(str, dead))
                    raise RuntimeError(
                        f"DataLoader worker (pid(s) {listed}) exited unexpectedly"
                    ) from None
                if timeout > 0 and waited >= timeout:
                    raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None
                continue
            if epoch == self.epoch:  # else left over from an epoch that was not read to its end
                return number, worker, result


def _stop(processes: list[Any], tasks: list[Any], results: Any) -> None:
    """Asks the workers to end, and ends those that do not."""
    for each in tasks:
        each.put(None)
    for process in processes:
        process.join(timeout=_POLL_SECONDS)
        if process.is_alive():
            process.terminate()
            process.join()
    for each in [*tasks, results]:
        each.cancel_join_thread()
        each.close()


class WorkerIterator:
    """One epoch read by workers; ``pins``: batches are pinned here, when they are asked for."""

    def __init__(self, loader: Any, order: Iterator[Any], seed: int, pins: bool = False) -> None:
        self._pins = pins
        self._order = order
        self._timeout = loader.timeout
        self._persistent = loader.persistent_workers
        if loader._workers is None:
            self._workers = _Workers(loader, seed)
            if self._persistent:
                loader._workers = self._workers
        else:
            self._workers = loader._workers
        self._workers.start_epoch()
        self._epoch = self._workers.epoch
        self._length = None if loader._is_stream else len(loader)
        self._active = [True] * loader.num_workers  # whose stream has not ended
        self._next_worker = 0
        self._sent = self._delivered = 0
        self._assigned: dict[int, int] = {}  # task -> worker, while under way
        self._arrived: dict[int, Any] = {}
        for _ in range(max(1, loader.prefetch_factor) * loader.num_workers):
            self._send()

    def __iter__(self) -> WorkerIterator:
        return self

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("the number of batches of a stream is not known")
        return self._length

    def _send(self) -> None:
        """Gives the next task to the next worker, if there is any of each."""
        if not any(self._active):
            return
        try:
            indices = next(self._order)
        except StopIteration:
            return
        while not self._active[self._next_worker]:
            self._next_worker = (self._next_worker + 1) % len(self._active)
        worker = self._next_worker
        self._next_worker = (worker + 1) % len(self._active)
        self._assigned[self._sent] = worker
        self._workers.tasks[worker].put((self._sent, indices))
        self._sent += 1

    def __next__(self) -> Any:
        if self._workers.epoch != self._epoch:
            raise RuntimeError(
                "DataLoader: the persistent workers have started another epoch; this iterator is "
                "no longer valid"
            )
        try:
            batch = self._next()
            return pin_memory(batch) if self._pins else batch
        except StopIteration:
            self._finish()
            raise
        except BaseException:  # Ctrl-C too: leave no process behind
            self._finish()
            raise

    def _next(self) -> Any:
        while self._delivered < self._sent:
            if self._delivered not in self._arrived:
                number, worker, result = self._workers.receive(self._timeout)
                if isinstance(result, str) and result == _END:
                    self._active[worker] = False
                self._arrived[number] = result
                continue
            result = self._arrived.pop(self._delivered)
            del self._assigned[self._delivered]
            self._delivered += 1
            self._send()
            if isinstance(result, str) and result == _END:
                continue
            if isinstance(result, _Failure):
                result.reraise()
            return result
        raise StopIteration

    def _finish(self) -> None:
        if not self._persistent:
            self._workers.stop()

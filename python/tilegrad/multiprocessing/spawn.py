"""Several processes that run one function, and whose exceptions reach their parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

__all__ = [
    "ProcessContext",
    "ProcessExitedException",
    "ProcessRaisedException",
    "spawn",
    "start_processes",
]


class ProcessException(Exception):
    """A process of :func:`spawn` failed: its number, ``error_index``, and its ``error_pid``."""

    def __init__(self, msg: str, error_index: int, pid: int) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid = msg, error_index, pid


class ProcessRaisedException(ProcessException):
    """A process raised; the message has its traceback."""


class ProcessExitedException(ProcessException):
    """A process ended by a signal or with an exit code other than 0."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name


def _run(function: Callable[..., Any], rank: int, args: tuple, report: str) -> None:
    try:
        function(rank, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well
    except Exception:
        with open(report, "wb") as file:
            pickle.dump(traceback.format_exc(), file)
        sys.exit(1)


class ProcessContext:
    """The processes that :func:`start_processes` started."""

    def __init__(self, processes: list[Any], reports: list[str]) -> None:
        self.processes, self._reports = processes, reports
        self._waiting = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The numbers of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Waits until a process ends; True once all have ended well.

        When one fails, the others are ended and ProcessRaisedException or ProcessExitedException
        is raised here.
        """
        if not self._waiting:
            return True
        failed = None
        for sentinel in multiprocessing.connection.wait(list(self._waiting), timeout):
            index = self._waiting.pop(sentinel)
            self.processes[index].join()
            if self.processes[index].exitcode != 0:
                failed = index
                break
        if failed is None:
            if not self._waiting:
                self._forget_reports()
            return not self._waiting
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join(grace_period)
        error = self._error(failed)
        self._forget_reports()
        raise error

    def _error(self, index: int) -> ProcessException:
        process, code = self.processes[index], self.processes[index].exitcode
        if os.path.getsize(self._reports[index]):
            with open(self._reports[index], "rb") as file:
                original = pickle.load(file)
            message = f"\n\n-- Process {index} terminated with the following error:\n{original}"
            return ProcessRaisedException(message, index, process.pid)
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"<Unknown signal {-code}>"
            message = f"process {index} terminated with signal {name}"
            return ProcessExitedException(message, index, process.pid, code, name)
        message = f"process {index} terminated with exit code {code}"
        return ProcessExitedException(message, index, process.pid, code, None)

    def _forget_reports(self) -> None:
        for report in self._reports:
            if os.path.exists(report):
                os.unlink(report)


def start_processes(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Runs ``fn(i, *args)`` in ``nprocs`` processes, i = 0, 1, ...

    With ``join`` it waits for all and returns None; else it returns their
    :class:`ProcessContext`. Raises ValueError for an unknown ``start_method``, and as
    :meth:`ProcessContext.join` does.
    """
    context: Any = multiprocessing.get_context(start_method)
    processes, reports = [], []
    for rank in range(nprocs):
        handle, report = tempfile.mkstemp(prefix="tilegrad-spawn-")
        os.close(handle)
        process = context.Process(target=_run, args=(fn, rank, args, report), daemon=daemon)
        process.start()
        processes.append(process)
        reports.append(report)
    started = ProcessContext(processes, reports)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """:func:`start_processes` with fresh interpreters; its errors are those of that function."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)

"""``Progbar``: how far an epoch is, on one line of a terminal, or in plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from ..config import settings
from .messages import tell

__all__ = ["Progbar"]


class Progbar:
    """A bar of ``width`` cells for ``target`` steps (None: unknown).

    On a terminal and in a notebook it redraws its line at most every ``interval`` seconds;
    elsewhere it writes one line when it is finished. ``verbose=2`` is one line in any case, 0 none.
    After ``keras.config.disable_interactive_logging()`` lines go to the log, as ``INFO``.
    Values named in ``stateful_metrics`` are shown as they are, others as means over the steps.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Any = None,
        stateless_metrics: Any = None,
        unit_name: str = "step",
    ) -> None:
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name = interval, unit_name
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Progbar: give either stateful_metrics or stateless_metrics, not both")
        self.stateful = None if stateful_metrics is None else set(stateful_metrics)
        self.stateless = None if stateless_metrics is None else set(stateless_metrics)
        if self.stateful is None and self.stateless is None:
            self.stateful = set()
        self._moves = settings.interactive_logging and _on_a_terminal()
        self._values: dict[str, list[float]] = {}
        self._seen = 0
        self._start = time.time()
        self._first: float | None = None
        self._last = 0.0
        self._shown = 0

    def due(self) -> bool:
        """Whether an update now would be drawn."""
        return self.verbose == 1 and self._moves and time.time() - self._last >= self.interval

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """Says that ``current`` steps are done; ``values`` are pairs of a name and a number."""
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._take(name, float(value), current, finalize)
        self._seen = current
        now = time.time()
        if self._first is None and current:
            self._first = now
        if self.verbose == 1:
            if self._moves:
                if finalize or now - self._last >= self.interval:
                    self._draw(current, now, finalize)
                    self._last = now
            elif finalize:
                tell(self._line(current, now, True, plain=True))
        elif self.verbose == 2 and finalize:
            count = _count(current, self.target)
            tell(f"{count} - {now - self._start:.0f}s -{self._pace(current, now)}{self._numbers()}")

    def add(self, n: int, values: Any = None) -> None:
        """Says that ``n`` more steps are done."""
        self.update(self._seen + n, values)

    def _take(self, name: str, value: float, current: int, finalize: bool) -> None:
        averaged = name not in self.stateful if self.stateful is not None else (
            name in (self.stateless or ())
        )  # fmt: skip
        if not averaged or (finalize and self.stateless is not None):
            self._values[name] = [value, 1]
            return
        steps = max(current - self._seen, 1)
        total = self._values.setdefault(name, [0.0, 0])
        total[0] += value * steps
        total[1] += steps

    def _draw(self, current: int, now: float, finalize: bool) -> None:
        line = self._line(current, now, finalize, plain=False)
        length = len(self._line(current, now, finalize, plain=True))
        blank = " " * max(self._shown - length, 0)
        sys.stdout.write("\r" + line + blank + ("\n" if finalize else ""))
        sys.stdout.flush()
        self._shown = length

    def _line(self, current: int, now: float, finalize: bool, plain: bool) -> str:
        def styled(text: str, code: str) -> str:
            return text if plain or not text else f"\x1b[{code}m{text}\x1b[0m"

        if self.target:
            full = int(self.width * current / self.target)
            bar = styled("━" * full, "32") + styled("━" * (self.width - full), "37")
            bar = f"{styled(_count(current, self.target), '1')} {bar}"
        else:
            bar = f"{current:7d}/Unknown"
        if self.target and not finalize:
            clock = _clock(self._duration(current, now) * (self.target - current))
        else:
            clock = f"{now - self._start:.0f}s"
        return f"{bar} {styled(clock, '1')}{self._pace(current, now)}{self._numbers()}"

    def _duration(self, current: int, now: float) -> float:
        """Seconds per step; the first one, which prepares things, does not count if it can be
        helped."""
        if not current:
            return 0.0
        if self._first is not None and self._first < now and current > 1:
            return (now - self._first) / (current - 1)
        return (now - self._start) / current

    def _pace(self, current: int, now: float) -> str:
        seconds = self._duration(current, now)
        if seconds >= 1 or seconds == 0:
            return f" {seconds:.0f}s/{self.unit_name}"
        if seconds >= 1e-3:
            return f" {seconds * 1e3:.0f}ms/{self.unit_name}"
        return f" {seconds * 1e6:.0f}us/{self.unit_name}"

    def _numbers(self) -> str:
        shown = ""
        for name, (total, count) in self._values.items():
            mean = total / max(count, 1)
            shown += f" - {name}: {mean:.4f}" if abs(mean) > 1e-3 else f" - {name}: {mean:.4e}"
        return shown


def _count(current: int, target: int | None) -> str:
    return f"{current:{len(str(target))}d}/{target}" if target else str(current)


def _clock(seconds: float) -> str:
    if seconds > 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f}:{seconds % 60:02.0f}"
    if seconds > 60:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    return f"{int(seconds)}s"


def _on_a_terminal() -> bool:
    return (
        (hasattr(sys.stdout, "isatty") and sys.stdout.isatty())
        or "ipykernel" in sys.modules
        or "PYCHARM_HOSTED" in os.environ
    )

"""A line search for the strong Wolfe conditions (Nocedal and Wright, "Numerical Optimization")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["number", "strong_wolfe"]

# A step must gain this share of what the slope promises, and leave at most this share of the slope.
GAIN, LEFT = 1e-4, 0.9
SMALLEST_CHANGE = 1e-9


def number(x: Any) -> Any:
    """The element of a tensor as a NumPy scalar, so that sums with it are rounded to its dtype."""
    return np.float64(x.item()) if x.element_size() == 8 else np.float32(x.item())


class Point(NamedTuple):
    """A place on the line: how far along, the loss and its gradient there, the slope."""

    t: float
    loss: float
    grad: Any
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Any]],
    t: float,
    direction: Any,
    loss: float,
    grad: Any,
    slope: float,
    evaluations: int,
) -> tuple[float, Any, float, int]:
    """Looks along ``direction`` for a step that meets the conditions.

    ``evaluate(t)`` gives loss and gradient at a distance; ``evaluations`` limits its calls after
    the first. Returns loss, gradient, distance and the number of calls. Raises what ``evaluate``
    raises.
    """
    search = _Search(evaluate, direction, Point(0.0, loss, grad.clone(), slope), evaluations)
    bracket, done = search.bracket(t)
    best = search.narrow(bracket, done)
    return best.loss, best.grad, best.t, search.calls


class _Search:
    def __init__(self, evaluate: Callable, direction: Any, start: Point, evaluations: int) -> None:
        self.evaluate = evaluate
        self.direction = direction
        self.start = start
        self.limit = evaluations
        self.calls = 0

    @property
    def tries(self) -> int:
        return self.calls - 1  # the first call is free

    def at(self, t: float) -> Point:
        """The point at a distance; one evaluation."""
        self.calls += 1
        loss, grad = self.evaluate(float(t))
        return Point(t, loss, grad, number(grad.dot(self.direction)))

    def gains_too_little(self, point: Point) -> bool:
        """Whether the loss has not fallen as the slope at the start promises (Armijo)."""
        return point.loss > self.start.loss + GAIN * point.t * self.start.slope

    def is_flat(self, point: Point) -> bool:
        """Whether most of the slope is gone."""
        return abs(point.slope) <= -LEFT * self.start.slope

    def bracket(self, t: float) -> tuple[list[Point], bool]:
        """Two points with a minimum between them, or one that is already good."""
        before, point = self.start, self.at(t)
        while self.tries < self.limit:
            rises = self.tries > 1 and point.loss >= before.loss
            if self.gains_too_little(point) or rises:
                return [before, point], False
            if self.is_flat(point):
                return [point], True
            if point.slope >= 0:
                return [before, point], False
            near, far = point.t + 0.01 * (point.t - before.t), point.t * 10
            before, point = point, self.at(_lowest_of_cubic(before, point, near, far))
        return [self.start, point], False

    def narrow(self, ends: list[Point], done: bool) -> Point:
        """Shrinks the bracket until its better end meets the conditions."""
        low, high = _order(ends)
        longest = self.direction.abs().max().item()
        slow = False
        while not done and self.tries < self.limit:
            left, right = sorted(point.t for point in ends)
            if (right - left) * longest < SMALLEST_CHANGE:
                break
            t, slow = self._next(ends, left, right, slow)
            point = self.at(t)
            if self.gains_too_little(point) or point.loss >= ends[low].loss:
                ends[high] = point
                low, high = _order(ends)
                continue
            if self.is_flat(point):
                done = True
            elif point.slope * (ends[high].t - ends[low].t) >= 0:
                ends[high] = ends[low]
            ends[low] = point
        return ends[low]

    @staticmethod
    def _next(ends: list[Point], left: float, right: float, slow: bool) -> tuple[float, bool]:
        """Where to try next; twice in a row near an end is moved a tenth of the way inwards."""
        t = _lowest_of_cubic(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            return t, False
        if not slow and left < t < right:
            return t, True
        return (right - margin if abs(t - right) < abs(t - left) else left + margin), False


def _order(ends: list[Point]) -> tuple[int, int]:
    return (0, 1) if len(ends) == 1 or ends[0].loss <= ends[1].loss else (1, 0)


def _lowest_of_cubic(a: Point, b: Point, smallest: float, largest: float) -> float:
    """The minimum, within bounds, of the cubic through two points with their slopes."""
    if a.t > b.t:
        a, b = b, a
    middle = (smallest + largest) / 2
    if a.t == b.t:
        return middle
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return middle
    root = np.sqrt(square)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return middle
    found = b.t - (b.t - a.t) * ((b.slope + root - d1) / below)
    return min(max(found, smallest), largest)

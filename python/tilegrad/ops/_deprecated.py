"""Orders of arguments from before PyTorch 1.5, which programs of that time still use: a factor is a
number before the tensors that it multiplies, as in ``x.add_(-lr, grad)``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["factor_first", "factors_first"]

Function = TypeVar("Function", bound=Callable[..., Any])

_NUMBERS = (bool, int, float, complex)


def factor_first(op: str, factor: Any, tensors: tuple, alpha: Any) -> tuple[Any, Any]:
    """The operand and ``alpha`` of ``op(input, factor, operand)``; TypeError for anything else."""
    if len(tensors) != 1 or alpha != 1 or not isinstance(factor, _NUMBERS):
        raise TypeError(
            f"{op}(): expected a tensor and an operand, got {len(tensors) + 2} arguments"
        )
    _warn(op, "alpha")
    return tensors[0], factor


def factors_first(*names: str) -> Callable[[Function], Function]:
    """Lets a function of three tensors take numbers between them, as ``names`` in that order."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= 3:
                return function(*args, **kwargs)
            numbers = [x for x in args if isinstance(x, _NUMBERS)]
            tensors = [x for x in args if not isinstance(x, _NUMBERS)]
            if len(tensors) != 3 or not 0 < len(numbers) <= len(names):
                return function(*args, **kwargs)  # which complains
            _warn(function.__name__, *names[: len(numbers)])
            return function(*tensors, **dict(zip(names, numbers, strict=False)), **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def _warn(op: str, *names: str) -> None:
    keywords = ", ".join(f"{name}=..." for name in names)
    warnings.warn(
        f"This overload of {op} is deprecated; pass the numbers by name, as {op}(..., {keywords})",
        UserWarning,
        stacklevel=4,
    )

"""A transform from real numbers to each constraint: that of ``biject_to`` has an inverse.

Gradient descent on unconstrained numbers then stays within a constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Factories of transforms, by the class of the constraint."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], Any]] = {}

    def register(self, constraint: Any, factory: Callable[[Any], Any] | None = None) -> Any:
        """Sets the factory for a constraint's class; without one, decorates it. Raises TypeError
        for what is no constraint."""
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        kind = constraint if isinstance(constraint, type) else type(constraint)
        if not issubclass(kind, constraints.Constraint):
            raise TypeError(
                "Expected constraint to be either a Constraint subclass or instance, but got "
                f"{constraint}"
            )
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        """The transform to a constraint. Raises NotImplementedError where there is none."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()
_AFTER_EXP = transforms.ExpTransform


def _above(constraint: Any) -> Any:
    if constraint.lower_bound == 0:
        return _AFTER_EXP()
    shift = transforms.AffineTransform(constraint.lower_bound, 1)
    return transforms.ComposeTransform([_AFTER_EXP(), shift])


def _below(constraint: Any) -> Any:
    mirror = transforms.AffineTransform(constraint.upper_bound, -1)
    return transforms.ComposeTransform([_AFTER_EXP(), mirror])


def _between(constraint: Any) -> Any:
    low, width = constraint.lower_bound, constraint.upper_bound - constraint.lower_bound
    sigmoid = transforms.SigmoidTransform()
    if isinstance(low, float) and low == 0 and width == 1:
        return sigmoid
    return transforms.ComposeTransform([sigmoid, transforms.AffineTransform(low, width)])


def _register(registry: ConstraintRegistry) -> None:
    """What both have in common."""
    c, t = constraints, transforms
    registry.register(c.real, lambda constraint: t.identity_transform)
    for kind in (c.greater_than, c.greater_than_eq):
        registry.register(kind, _above)
    registry.register(c.less_than, _below)
    for bounded in (c.interval, c.half_open_interval):
        registry.register(bounded, _between)
    registry.register(c.corr_cholesky, lambda constraint: t.CorrCholeskyTransform())
    registry.register(
        c.independent,
        lambda constraint: t.IndependentTransform(
            registry(constraint.base_constraint), constraint.reinterpreted_batch_ndims
        ),
    )
    registry.register(
        c.cat,
        lambda constraint: t.CatTransform(
            [registry(part) for part in constraint.parts], constraint.dim, constraint.lengths
        ),
    )
    registry.register(
        c.stack,
        lambda constraint: t.StackTransform(
            [registry(part) for part in constraint.parts], constraint.dim
        ),
    )


_register(biject_to)
_register(transform_to)
biject_to.register(constraints.simplex, lambda constraint: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda constraint: transforms.SoftmaxTransform())
transform_to.register(
    constraints.lower_cholesky, lambda constraint: transforms.LowerCholeskyTransform()
)
transform_to.register(
    constraints.positive_definite, lambda constraint: transforms.PositiveDefiniteTransform()
)

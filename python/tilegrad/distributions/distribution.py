"""``Distribution``: shapes, checks and the methods that all distributions share."""

from __future__ import annotations

from typing import Any

from .._size import Size
from ..autograd.mode import no_grad
from ..tensor import Tensor
from .constraints import dependent_property, is_dependent

__all__ = ["Distribution"]


class Distribution:
    """The base class. ``batch_shape`` numbers distributions, ``event_shape`` is that of one value.

    Subclasses define ``arg_constraints``, ``support``, and what they can of ``rsample``,
    ``sample``, ``log_prob``, ``entropy``, ``mean``, ``variance``, ``mode``, ``cdf`` and ``icdf``;
    what they do not raises NotImplementedError. Parameters and values are checked unless
    ``validate_args`` is False or :meth:`set_default_validate_args` says so.

    Raises ValueError for parameters that violate a constraint.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether new distributions check their arguments. ValueError for what is no bool."""
        if value not in (True, False):
            raise ValueError(f"expected a bool, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        for name, constraint in self.arg_constraints.items():
            # A parameter that is computed from another when it is asked for is valid.
            if is_dependent(constraint) or name not in self.__dict__:
                continue
            value = getattr(self, name)
            if not constraint.check(value).all().item():
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> Any:
        """The shape of the parameters: one distribution for each element."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one value."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """The constraint of each parameter."""
        raise NotImplementedError(f"{type(self).__name__}: arg_constraints is not defined")

    @dependent_property
    def support(self) -> Any:
        """The constraint that values satisfy."""
        raise NotImplementedError(f"{type(self).__name__}: support is not defined")

    @property
    def mean(self) -> Any:
        """The mean, of shape ``batch_shape + event_shape``."""
        raise NotImplementedError(f"{type(self).__name__}: mean is not defined")

    @property
    def mode(self) -> Any:
        """The most probable value."""
        raise NotImplementedError(f"{type(self).__name__}: mode is not defined")

    @property
    def variance(self) -> Any:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__}: variance is not defined")

    @property
    def stddev(self) -> Any:
        """The square root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape + event_shape``, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Values that are differentiable functions of the parameters."""
        raise NotImplementedError(f"{type(self).__name__}: rsample is not defined")

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability, or of its density, at values."""
        raise NotImplementedError(f"{type(self).__name__}: log_prob is not defined")

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        raise NotImplementedError(f"{type(self).__name__}: cdf is not defined")

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        raise NotImplementedError(f"{type(self).__name__}: icdf is not defined")

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError(f"{type(self).__name__}: enumerate_support is not defined")

    def entropy(self) -> Any:
        """The entropy, of shape ``batch_shape``."""
        raise NotImplementedError(f"{type(self).__name__}: entropy is not defined")

    def perplexity(self) -> Any:
        """``exp(entropy)``."""
        return self.entropy().exp()

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        raise NotImplementedError(f"{type(self).__name__}: expand is not defined")

    def _extended_shape(self, sample_shape: Any = ()) -> Any:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _expanded(self, batch_shape: Any, **parameters: Any) -> Any:
        """A copy whose parameters are expanded; they were checked before."""
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        for name in ("probs", "logits"):  # computed from each other: what is cached is not expanded
            if name in new.__dict__ and name not in parameters:
                del new.__dict__[name]
        new.__dict__.update(parameters)
        new._batch_shape = Size(batch_shape)
        return new

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if tuple(value.shape)[value.ndim - events :] != tuple(self._event_shape):
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.size()} vs {self._event_shape}."
            )
        expected = (*self._batch_shape, *self._event_shape)
        for a, b in zip(reversed(value.shape), reversed(expected), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.size()} vs {Size(expected)}."
                )
        support = self.support
        if not support.check(value).all().item():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        parts = []
        for name in names:
            value = self.__dict__[name]
            parts.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(parts)})"

"""``Optimizer``: learning rate, clipping, weight decay, averages; shared by all optimizers.

The native steps of ``tilegrad.optim`` do the work where their formula is Keras's. An optimizer of
one's own defines ``build(variables)`` and ``update_step(gradient, variable, learning_rate)``.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import tilegrad as tg

from ... import _C
from ..dtypes import convert_to_tensor
from ..naming import auto_name
from ..registry import serialize_keras_object
from ..stateless import StatelessOptimizer
from ..variable import Variable
from .schedules import LearningRateSchedule

__all__ = ["Optimizer"]


class Optimizer(StatelessOptimizer):
    """The base class. ``learning_rate`` is a number, a schedule or a function without arguments.

    ``weight_decay`` takes that share times the rate off each weight; ``clipnorm`` bounds the norm
    of each gradient, ``global_clipnorm`` that of all together, ``clipvalue`` each number. With
    ``use_ema`` an average of the weights is kept, which replaces them every
    ``ema_overwrite_frequency`` steps and at the end of ``fit``. Gradients of
    ``gradient_accumulation_steps`` steps are averaged to one.

    Raises ValueError for a negative rate, for more than one clip, and for steps below 2.
    """

    if TYPE_CHECKING:  # the options that subclasses set by name

        def __getattr__(self, name: str) -> Any: ...

    _native = False  # does `native_step` update all variables in one call?

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("decay", None) is not None:
            warnings.warn(
                "Argument `decay` is no longer supported and will be ignored.", stacklevel=3
            )
        if kwargs:
            raise ValueError(f"Argument(s) not recognized: {kwargs}")
        clips = [clip for clip in (clipnorm, clipvalue, global_clipnorm) if clip is not None]
        if len(clips) > 1:
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: "
                f"clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        if gradient_accumulation_steps is not None and gradient_accumulation_steps < 2:
            raise ValueError(
                "`gradient_accumulation_steps` must be an integer >= 2. Received: "
                f"gradient_accumulation_steps={gradient_accumulation_steps}"
            )
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(
                f"`ema_momentum` must be in the range [0, 1]. Received: ema_momentum={ema_momentum}"
            )
        self.name = name or auto_name(type(self).__name__)
        self.weight_decay, self.clipnorm, self.clipvalue = weight_decay, clipnorm, clipvalue
        self.global_clipnorm, self.use_ema, self.ema_momentum = (
            global_clipnorm,
            use_ema,
            ema_momentum,
        )
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._steps = 0
        self._slots: list[Variable] = []
        self._state: dict[Any, dict[str, Any]] = {}
        self._trainable_variables: list[Any] = []
        self._indices: dict[int, int] = {}
        # The variables of the last step, all of them known: as they came, as a list, and those
        # with a constraint.
        self._known: tuple | None = None
        self._listed: list[Any] = []
        self._constrained: list[Any] = []
        self._accumulated: list[Any] | None = None
        self._averages: list[Any] | None = None
        self._not_decayed: tuple[list[Any], str | None] = ([], None)
        self._rate: Any = _checked_rate(learning_rate)
        self._rate_before: float | None = None

    # --- learning rate ------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step: a variable, unless it comes from a schedule or a function."""
        if isinstance(self._rate, LearningRateSchedule):
            return convert_to_tensor(float(self._rate(self._steps)))
        return self._rate if isinstance(self._rate, Variable) else self._rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(self._rate, Variable) and not (
            isinstance(value, LearningRateSchedule) or callable(value)
        ):
            self._rate.assign(np.float32(value))
            return
        if isinstance(self._rate, LearningRateSchedule) and not callable(value):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` object as its "
                "`learning_rate` constructor argument, hence its learning rate is not settable. If "
                "you need the learning rate to be settable, you should instantiate the optimizer "
                "with a float `learning_rate` argument."
            )
        self._rate = _checked_rate(value)

    lr = learning_rate

    def _current_rate(self) -> float:
        rate = self._rate
        if isinstance(rate, Variable):
            return rate.item()
        return float(rate(self._steps) if isinstance(rate, LearningRateSchedule) else rate())

    @property
    def iterations(self) -> Variable:
        """How many steps it has taken, as a variable."""
        return Variable(self._steps, dtype="int64", trainable=False, name="iteration")

    # --- state --------------------------------------------------------------------------------

    def build(self, variables: list[Any]) -> None:
        """Makes the state for these variables; a subclass adds its own with
        :meth:`add_variable_from_reference`."""
        if self.built:
            return
        self.built = True
        self._trainable_variables = list(variables)
        self._indices = {id(v): i for i, v in enumerate(variables)}
        if self.use_ema:
            self._averages = [self._slot(v, "average", v) for v in variables]
        if self.gradient_accumulation_steps:
            self._accumulated = [self._slot(v, "gradient_accumulator") for v in variables]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": None, "_indices": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # copies and pickles: other variables than before
        self._indices = {id(v): i for i, v in enumerate(self._trainable_variables)}

    def _slot(self, variable: Any, name: str, initial: Any = 0.0) -> Variable:
        if isinstance(initial, tg.Tensor):
            value = initial.detach().clone()
        else:
            value = tg.full(variable.shape, float(initial), dtype=variable.dtype)
        own = f"{getattr(variable, 'path', 'variable').replace('/', '_')}_{name}"
        slot = Variable(value, dtype=variable.dtype, trainable=False, name=own)
        self._slots.append(slot)
        return slot

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """A variable of the state, of the shape and dtype of a weight."""
        from .. import initializers

        shape = reference_variable.shape
        value = initializers.get(initializer)(shape, dtype=reference_variable.dtype)
        return self._slot(reference_variable, name or "slot", value)

    def add_optimizer_variables(
        self, trainable_variables: Any, name: Any, initializer: Any = "zeros"
    ) -> Any:
        """One variable of the state for each weight."""
        return [self.add_variable_from_reference(v, name, initializer) for v in trainable_variables]

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, name: str | None = None,
        **kwargs: Any,
    ) -> Variable:  # fmt: skip
        """A variable of the state of any shape."""
        slot = Variable(initializer, shape=shape, dtype=dtype, trainable=False, name=name)
        self._slots.append(slot)
        return slot

    def _get_variable_index(self, variable: Any) -> int:
        return self._indices[id(variable)]

    @property
    def variables(self) -> list[Variable]:
        """The number of steps, the learning rate and the state."""
        rate = [self._rate] if isinstance(self._rate, Variable) else []
        return [self.iterations, *rate, *self._slots]

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Writes the state into a dictionary of arrays."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Takes over what :meth:`save_own_variables` wrote; warns and does nothing if the numbers
        of variables differ."""
        if len(store) != len(self.variables):
            warnings.warn(
                f"Skipping variable loading for optimizer '{self.name}', because it has "
                f"{len(self.variables)} variables whereas the saved optimizer has {len(store)} "
                "variables.",
                stacklevel=2,
            )
            return
        self._steps = int(store["0"])
        for i, variable in enumerate(self.variables[1:], 1):
            variable.assign(store[str(i)])
        self._load_steps()

    def _load_steps(self) -> None:
        """Brings what is derived from the number of steps up to date."""

    def set_weights(self, weights: Any) -> None:
        """Takes over the values of :attr:`variables`. Raises ValueError before it is built."""
        if not self.built:
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built. "
                "Please call `optimizer.build(trainable_variables)` first."
            )
        self.load_own_variables({str(i): w for i, w in enumerate(weights)})

    # --- steps --------------------------------------------------------------------------------

    def apply_gradients(self, grads_and_vars: Any) -> int:
        """One step from pairs of gradient and variable. Returns the number of steps."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._steps

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """One step. Variables without a gradient are left alone, with a warning.

        Raises ValueError if no variable has one, for variables that the optimizer was not built
        with, and for numbers that differ.
        """
        grads = list(grads)
        if not grads:
            return
        if self._known is not None and trainable_variables is self._known:
            variables = self._listed
        else:
            variables = self._checked_variables(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(
                f"apply: expected one gradient per variable, got {len(grads)} gradients and "
                f"{len(variables)} variables"
            )
        for gradient in grads:
            if gradient is None:
                grads, variables = _with_gradients(grads, variables)
                break
        recording = _C.is_grad_enabled()
        _C.set_grad_enabled(False)
        try:
            self._apply(grads, variables)
        finally:
            _C.set_grad_enabled(recording)
        self._steps += 1

    def _checked_variables(self, given: Any) -> list[Any]:
        """The variables of a step, for which the optimizer is built now."""
        if given is None and not self.built:
            raise ValueError(
                "When passing `grads` without `variables`, the optimizer must already be built "
                "on a list of variables. Call `optimizer.build(trainable_variables)` first."
            )
        variables = self._trainable_variables if given is None else list(given)
        if not self.built:
            self.build(variables)
        for variable in variables:
            if id(variable) not in self._indices:
                raise ValueError(
                    f"Unknown variable: {variable}. This optimizer can only be called for the "
                    "variables it was originally built with. When working with a new set of "
                    "variables, you should recreate a new optimizer instance."
                )
        # Only a tuple stays what it is until the next step.
        self._known = given if type(given) is tuple else None
        self._listed = variables
        self._constrained = [v for v in variables if getattr(v, "constraint", None) is not None]
        return variables

    def _apply(self, grads: list[Any], variables: list[Any]) -> None:
        if self.loss_scale_factor is not None:
            grads = [g / self.loss_scale_factor for g in grads]
        if self._accumulated is not None:
            done = self._accumulate(grads, variables)
            if done is None:
                return
            grads = done
        if self.clipnorm or self.global_clipnorm or self.clipvalue:
            grads = self._clipped(grads)
        rate = self._rate
        rate = rate.item() if type(rate) is Variable else self._current_rate()
        if self.weight_decay is not None:
            self._decay(variables, rate)
        if self._native:
            for variable, grad in zip(variables, grads, strict=True):
                if variable._grad is not grad:
                    variable._grad = grad
            self.native_step(variables, rate)
        else:
            for variable, grad in zip(variables, grads, strict=True):
                self.update_step(grad, variable, rate)
        if self._averages is not None:
            self._average()
        for variable in self._constrained:
            if variables is self._listed or any(variable is v for v in variables):
                variable.copy_(variable.constraint(variable.detach()))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Changes one variable; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}: update_step is not defined")

    def native_step(self, variables: list[Any], rate: float) -> None:
        """Changes all variables by their gradients in one call."""
        raise NotImplementedError(f"{type(self).__name__}: native_step is not defined")

    def assign(self, variable: Any, value: Any) -> None:
        """``variable = value``, for ``update_step``."""
        variable.assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        """``variable += value``, for ``update_step``."""
        variable.assign_add(value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """``variable -= value``, for ``update_step``."""
        variable.assign_sub(value)

    @property
    def scales_loss(self) -> bool:
        """Whether :meth:`scale_loss` changes the loss."""
        return self.loss_scale_factor is not None

    def scale_loss(self, loss: Any) -> Any:
        """The loss times ``loss_scale_factor``, if there is one."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # --- parts of a step ----------------------------------------------------------------------

    def _accumulate(self, grads: list[Any], variables: list[Any]) -> list[Any] | None:
        sums = [self._accumulated[self._indices[id(v)]] for v in variables]  # type: ignore[index]
        for total, grad in zip(sums, grads, strict=True):
            total.add_(grad)
        count = int(self.gradient_accumulation_steps or 1)
        if (self._steps + 1) % count:
            return None
        means = [total / count for total in sums]
        for total in sums:
            total.zero_()
        return means

    def _clipped(self, grads: list[Any]) -> list[Any]:
        if self.clipnorm:
            return [_bounded(g, (g * g).sum(), self.clipnorm) for g in grads]
        if self.global_clipnorm:
            total = sum((g * g).sum() for g in grads)
            return [_bounded(g, total, self.global_clipnorm) for g in grads]
        return [g.clamp(-self.clipvalue, self.clipvalue) for g in grads]  # type: ignore[operator]

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Leaves variables, or those whose names contain one of some words, without decay.

        Raises ValueError once the optimizer is built.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` can only be configured before the optimizer is "
                "built."
            )
        pattern = "|".join(sorted(set(var_names))) if var_names else None
        self._not_decayed = (list(var_list or ()), pattern)

    def _decay(self, variables: list[Any], rate: float) -> None:
        left_out, pattern = self._not_decayed
        for variable in variables:
            named = pattern is not None and re.search(pattern, variable.name) is not None
            if not named and not any(variable is other for other in left_out):
                variable.mul_(1 - rate * self.weight_decay)  # type: ignore[operator]

    def _average(self) -> None:
        momentum = self.ema_momentum if self._steps else 0.0
        for variable, average in zip(self._trainable_variables, self._averages or (), strict=True):
            average.mul_(momentum).add_(variable.detach(), alpha=1 - momentum)
        often = self.ema_overwrite_frequency
        if often and (self._steps + 1) % often == 0:
            self.finalize_variable_values(self._trainable_variables)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Puts the averages in the place of the weights, if averages are kept."""
        if self._averages is not None:
            for variable, average in zip(self._trainable_variables, self._averages, strict=True):
                variable.assign(average)

    # --- configuration ------------------------------------------------------------------------

    _own_options: tuple[str, ...] = ()  # what ours have beside the options of all

    def _set(self, options: dict[str, Any], *names: str) -> None:
        """Keeps options under their names, for the steps and the configuration."""
        for name in names:
            setattr(self, name, options[name])
        self.__dict__["_own_options"] = names

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        rate = self._rate
        rate = float(rate) if isinstance(rate, Variable) else serialize_keras_object(rate)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            **{option: getattr(self, option) for option in self._own_options},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The optimizer of a configuration."""
        from ..registry import deserialize_keras_object

        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(
                config["learning_rate"], custom_objects
            )
        return cls(**config)


def _checked_rate(value: Any) -> Any:
    if isinstance(value, (LearningRateSchedule, Variable)) or callable(value):
        return value
    if not isinstance(value, (int, float, np.generic, np.ndarray, tg.Tensor)) or value < 0:
        raise ValueError(
            "Argument `learning_rate` should be float, or an instance of LearningRateSchedule, or "
            "a "
            f"callable (that takes in the current iteration value). Received: {value!r}"
        )
    return Variable(float(value), dtype="float32", trainable=False, name="learning_rate")


def _bounded(grad: Any, square: Any, bound: float) -> Any:
    norm = tg.sqrt(square)
    return grad * (bound / tg.maximum(norm, tg.full_like(norm, bound)))


def _with_gradients(grads: list[Any], variables: list[Any]) -> tuple[list[Any], list[Any]]:
    pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
    if not pairs:
        raise ValueError("No gradients provided for any variable.")
    missing = [getattr(v, "path", "?") for g, v in zip(grads, variables, strict=True) if g is None]
    warnings.warn(
        f"Gradients do not exist for variables {missing} when minimizing the loss. If using "
        "`model.compile()`, did you forget to provide a `loss` argument?",
        stacklevel=4,
    )
    return [g for g, _ in pairs], [v for _, v in pairs]

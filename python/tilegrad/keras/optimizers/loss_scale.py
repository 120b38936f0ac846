"""``LossScaleOptimizer``: an optimizer whose loss is scaled so that small halves do not vanish."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..registry import own_module, serialize_keras_object
from ..variable import Variable
from .optimizer import Optimizer

__all__ = ["LossScaleOptimizer"]


class LossScaleOptimizer(Optimizer):
    """Multiplies the loss by a scale and divides the gradients by it again. A step whose gradients
    are not finite is left out and halves the scale; ``dynamic_growth_steps`` good ones double it.

    Everything else is the inner optimizer's. Raises ValueError for options that belong to it.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ValueError(
                f"LossScaleOptimizer does not support {sorted(kwargs)}. Set them on the "
                "`inner_optimizer`."
            )
        super().__init__(0.0, name=name)
        self.inner_optimizer, self.initial_scale = inner_optimizer, float(initial_scale)
        self.dynamic_growth_steps = dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None
        self.step_counter = Variable(0, dtype="int32", trainable=False, name="step_counter")
        self.dynamic_scale = Variable(
            self.initial_scale, dtype="float32", trainable=False, name="dynamic_scale"
        )

    @property
    def scales_loss(self) -> bool:
        """Always."""
        return True

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale."""
        return loss * self.dynamic_scale.item()

    def build(self, variables: list[Any]) -> None:
        if not self.built:
            self.inner_optimizer.build(variables)
            super().build(variables)

    @property
    def variables(self) -> list[Variable]:
        """The counter, the scale and the inner optimizer's variables."""
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    def load_own_variables(self, store: Any) -> None:
        """Takes over what :meth:`save_own_variables` wrote."""
        self.step_counter.assign(store["0"])
        self.dynamic_scale.assign(store["1"])
        inner = {str(i - 2): store[str(i)] for i in range(2, len(store))}
        self.inner_optimizer.load_own_variables(inner)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """One step of the inner optimizer, if all gradients are finite."""
        grads = list(grads)
        if not self.built:
            self.build(list(trainable_variables))
        if not all(bool(tg.isfinite(g).all()) for g in grads if g is not None):
            self.step_counter.assign(0)
            self.dynamic_scale.assign(self.dynamic_scale.item() * 0.5)
            return
        scale = self.dynamic_scale.item()
        grads = [None if g is None else g / scale for g in grads]
        self.inner_optimizer.apply(grads, trainable_variables)
        if int(self.step_counter) + 1 == self.dynamic_growth_steps:
            self.step_counter.assign(0)
            self.dynamic_scale.assign(scale * 2.0)
        else:
            self.step_counter.assign_add(1)

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Variable:
        """How many steps the inner optimizer has taken."""
        return self.inner_optimizer.iterations

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize_keras_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        from ..registry import deserialize_keras_object

        config = dict(config)
        inner = deserialize_keras_object(config.pop("inner_optimizer"), custom_objects)
        return cls(inner, **config)


own_module(globals())

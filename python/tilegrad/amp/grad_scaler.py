"""``GradScaler``: losses scaled up so that small gradients survive float16."""

from __future__ import annotations

import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from .. import _C, cuda
from ..autograd.mode import no_grad
from ..ops.fill import full
from ..ops.unscale import _amp_foreach_non_finite_check_and_unscale_, _amp_update_scale_
from ..tensor import Tensor

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """What was done to an optimizer's gradients since the last :meth:`GradScaler.update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Multiplies losses by a factor, divides gradients by it, and skips steps that are not finite.

    The factor starts at ``init_scale``. It is multiplied by ``backoff_factor`` after a step with
    infinities or NaN among the gradients, which is skipped, and by ``growth_factor`` after
    ``growth_interval`` steps in a row without (Micikevicius et al., "Mixed Precision Training",
    2018). bfloat16 needs none of this.

    Where there is no CUDA device, ``device="cuda"`` warns and disables the scaler, which then
    passes everything through, as in PyTorch. Raises AssertionError for factors on the wrong side
    of 1.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            self._enabled = False
        if self._enabled:
            if not growth_factor > 1:
                raise AssertionError("The growth factor must be > 1.0.")
            if not backoff_factor < 1:
                raise AssertionError("The backoff factor must be < 1.0.")
            self._init_scale = init_scale
            self._scale: Any = None
            self._growth_factor = growth_factor
            self._backoff_factor = backoff_factor
            self._growth_interval = growth_interval
            self._init_growth_tracker = 0
            self._growth_tracker: Any = None
            self._per_optimizer_states: defaultdict[int, dict] = defaultdict(_fresh_state)

    # --- one step ---------------------------------------------------------------------------

    def _lazy_init_scale(self, device: Any) -> None:
        self._scale = full((), self._init_scale, dtype=_C.float32, device=device)
        self._growth_tracker = full((), self._init_growth_tracker, dtype=_C.int32, device=device)

    def scale(self, outputs: Any) -> Any:
        """A loss, or all tensors of nested lists, tuples and iterables, times the factor.

        Raises ValueError for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._lazy_init_scale(outputs.device)
            return outputs * self._scale.to(outputs.device, non_blocking=True)
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(x) for x in outputs)
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _check_scale(self, what: str) -> None:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {what} but _scale is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )

    @no_grad()
    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of an optimizer by the factor, for clipping before :meth:`step`.

        Raises RuntimeError for a second call before :meth:`update` and after :meth:`step`.
        """
        if not self._enabled:
            return
        self._check_scale("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = self._scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, False)
        state["stage"] = OptState.UNSCALED

    def _unscale_grads_(self, optimizer: Any, inverse: Any, allow_fp16: bool) -> dict[Any, Any]:
        """Multiplies all gradients by ``inverse``; for each device whether one was not finite."""
        grads: defaultdict[Any, list[Any]] = defaultdict(list)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.dtype is _C.float16 and not allow_fp16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                grads[p.grad.device].append(p.grad)
        found: dict[Any, Any] = {}
        for device, every in grads.items():
            found[device] = full((), 0.0, dtype=_C.float32, device=device)
            _amp_foreach_non_finite_check_and_unscale_(every, found[device], inverse.to(device))
        return found

    @no_grad()
    def _check_inf_per_device(self, optimizer: Any) -> dict[Any, Any]:
        """Looks for gradients that are not finite, and leaves them as they are."""
        self._check_scale("_check_inf_per_device")
        state = self._per_optimizer_states[id(optimizer)]
        one = full((), 1.0, dtype=_C.float32, device=self._scale.device)
        found = state["found_inf_per_device"] = self._unscale_grads_(optimizer, one, True)
        return found

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(...)`` with gradients divided by the factor, unless one is not finite.

        An optimizer with an attribute ``_step_supports_amp_scaling`` that is true sees to both: its
        step is always called, with tensors ``grad_scale``, None if the gradients have been divided
        already, and ``found_inf`` as attributes, or with the scaler if it has an argument
        ``grad_scaler``.

        Raises RuntimeError for a second call before :meth:`update` and for closures, AssertionError
        for an optimizer without gradients.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_scale("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            result = self._step_that_scales(optimizer, state, args, kwargs)
            state["stage"] = OptState.STEPPED
            return result
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        found = state["found_inf_per_device"]
        if len(found) == 0:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not any(value.item() for value in found.values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def _step_that_scales(self, optimizer: Any, state: dict, args: Any, kwargs: dict) -> Any:
        """The step of an optimizer that divides gradients and skips by itself."""
        if "grad_scaler" in inspect.signature(optimizer.step).parameters:
            warnings.warn(
                "GradScaler: steps with an argument grad_scaler are deprecated; expected one that "
                "reads the attributes grad_scale and found_inf of its optimizer",
                FutureWarning,
                stacklevel=3,
            )
            return optimizer.step(*args, **kwargs, grad_scaler=self)
        given = getattr(optimizer, "grad_scale", None)
        if state["stage"] is OptState.READY:
            self._check_inf_per_device(optimizer)
            given = self._scale * (1 if given is None else given)
        found = full((), 0.0, dtype=_C.float32, device=self._scale.device)
        for value in state["found_inf_per_device"].values():
            found = found + value.to(found.device)
        optimizer.grad_scale, optimizer.found_inf = given, found
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def update(self, new_scale: Any = None) -> None:
        """Changes the factor after all steps of an iteration; ``new_scale`` sets it.

        Raises AssertionError if no gradients were looked at since the last call.
        """
        if not self._enabled:
            return
        self._check_scale("update")
        if new_scale is not None:
            self._scale.fill_(float(new_scale))
        else:
            states = self._per_optimizer_states.values()
            found = [x for state in states for x in state["found_inf_per_device"].values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            broken = found[0].to(self._scale.device)
            for other in found[1:]:
                broken = broken + other.to(broken.device)
            _amp_update_scale_(
                self._scale,
                self._growth_tracker,
                broken,
                self._growth_factor,
                self._backoff_factor,
                self._growth_interval,
            )
        self._per_optimizer_states = defaultdict(_fresh_state)

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Any]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]

    # --- options and state ------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """Whether anything is scaled at all."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor; 1 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """By how much the factor grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets by how much the factor grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By how much the factor shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets by how much the factor shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many finite steps it takes to grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets how many finite steps it takes to grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        tracker = self._growth_tracker
        return self._init_growth_tracker if tracker is None else int(tracker.item())

    def state_dict(self) -> dict[str, Any]:
        """The factor, its options and the number of finite steps so far; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave. RuntimeError for that of a disabled one."""
        if not self._enabled:
            return
        if len(state_dict) == 0:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

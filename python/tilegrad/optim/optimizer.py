"""``Optimizer``: parameter groups, state, hooks and state_dict, shared by all optimizers."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from .. import _C
from ..autograd.mode import enable_grad, no_grad
from ..tensor import Tensor
from ..utils.hooks import RemovableHandle, add_hook

__all__ = ["Optimizer", "check_betas", "check_number", "check_rate", "required", "scalar_state"]

required: Any = object()  # stands for an option that every group must give


def check_number(what: str, value: Any, upper: float | None = None) -> None:
    """Refuses, with a ValueError, numbers below zero, NaN, and numbers from ``upper`` on."""
    if not value >= 0 or (upper is not None and not value < upper):
        raise ValueError(f"Invalid {what}: {value}")


def check_rate(lr: Any) -> None:
    """Refuses, with a ValueError, learning rates below zero and tensors of several elements."""
    check_one_element(lr)
    check_number("learning rate", lr)


def check_one_element(lr: Any) -> None:
    """Refuses, with a ValueError, tensors of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


def check_betas(betas: Any) -> None:
    """Refuses, with a ValueError, anything but two numbers in [0, 1)."""
    for i in range(2):
        if isinstance(betas[i], Tensor) and betas[i].numel() != 1:
            raise ValueError(f"Tensor betas[{i}] must be 1-element")
        check_number(f"beta parameter at index {i}", betas[i], upper=1)
    if len(betas) != 2:
        raise ValueError(f"Invalid betas: expected two numbers, got {betas}")


def scalar_state(value: float) -> Any:
    """A number of the state as a tensor: float32, or float64 where that is the default dtype."""
    dtype = _C.float64 if _C.get_default_dtype() is _C.float64 else _C.float32
    return _C.full((), value, dtype, _C.device("cpu"))


class _StepHooks:
    """Hooks around ``step``; made when the first is registered."""

    def __init__(self) -> None:
        self.pre: OrderedDict[int, Callable] = OrderedDict()
        self.post: OrderedDict[int, Callable] = OrderedDict()


class _StateHooks:
    """Hooks around ``state_dict`` and ``load_state_dict``; made when the first is registered."""

    def __init__(self) -> None:
        self.pre: OrderedDict[int, Callable] = OrderedDict()
        self.post: OrderedDict[int, Callable] = OrderedDict()
        self.load_pre: OrderedDict[int, Callable] = OrderedDict()
        self.load_post: OrderedDict[int, Callable] = OrderedDict()


def _replaced(hooks: OrderedDict[int, Callable], optimizer: Any, state_dict: Any) -> Any:
    """What is left of a state dict when each hook has had the chance to return another."""
    for hook in list(hooks.values()):
        result = hook(optimizer, state_dict)
        if result is not None:
            state_dict = result
    return state_dict


def _with_hooks(step: Callable) -> Callable:
    """A ``step`` that also calls the hooks that were registered."""

    @functools.wraps(step)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        hooks = self._step_hooks
        self._opt_called = True  # schedulers look for it
        if "capturable" in self.defaults and _C.cuda_is_capturing():
            _check_captured(self)
        if hooks is None:
            return step(self, *args, **kwargs)
        for hook in list(hooks.pre.values()):
            replaced = hook(self, args, kwargs)
            if replaced is None:
                continue
            if not isinstance(replaced, tuple) or len(replaced) != 2:
                raise RuntimeError(
                    f"step: the pre-hook {hook} must return None or a tuple of (new_args, "
                    f"new_kwargs), but got {replaced}"
                )
            args, kwargs = replaced
        result = step(self, *args, **kwargs)
        for hook in list(hooks.post.values()):
            hook(self, args, kwargs)
        return result

    return hooked


def _check_captured(optimizer: Any) -> None:
    """Refuses to capture a step whose number the host counts: a replay would not count on."""
    name = type(optimizer).__name__
    if not all(group["capturable"] for group in optimizer.param_groups):
        raise RuntimeError(
            f"Attempting CUDA graph capture of step() for an instance of {name} but param_groups' "
            "capturable is False."
        )


class Optimizer:
    """The base class. A subclass passes its options' defaults and defines ``step``.

    ``params`` is an iterable of tensors, of ``(name, tensor)`` pairs, or of dicts: groups with a
    ``"params"`` entry and options that override the defaults. ``state[p]`` is a dict per parameter.

    Raises ValueError for an empty list and for results of other operations, TypeError for anything
    that is not a tensor.
    """

    _step_hooks: _StepHooks | None = None
    _state_hooks: _StateHooks | None = None
    _scalar_states: tuple[str, ...] = ("step",)  # kept as tensors; numbers in old checkpoints

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        if defaults.get("differentiable"):
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True is not supported; steps are not "
                "recorded"
            )
        if defaults.get("fused") and defaults.get("foreach"):
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        self.defaults = defaults
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a dict with ``"params"`` and options; missing options are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        if "params" not in param_group:
            raise ValueError("param_group must have an entry 'params', the parameters to optimize")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple) and len(p) == 2]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names. "
                    "Some param names are missing"
                )
            param_group["param_names"] = names
            params = [p for _, p in params]
        param_group["params"] = params
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, "
                    f"but one of the params is {type(p).__name__}"
                )
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        if len(set(params)) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; each is updated "
                "once per occurrence",
                stacklevel=3,
            )
        self._check_names(param_group)
        known = {p for group in self.param_groups for p in group["params"]}
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_names(self, param_group: dict[str, Any]) -> None:
        named = "param_names" in param_group
        if any(("param_names" in group) != named for group in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )

    # --- one step ---------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or sets them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif p._grad is not None:
                    p._grad = p._grad.detach()
                    _C.fill_(p._grad, 0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters from their gradients; those without one are left alone.

        ``closure``, if given, computes the gradients anew and returns the loss, which ``step``
        returns.
        """
        raise NotImplementedError(f"{type(self).__name__}: step is not defined")

    @staticmethod
    def _evaluate(closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def _create_states(self, group: dict[str, Any], names: Iterable[str], steps: bool) -> None:
        """Gives each parameter with a gradient the zero-filled states that it lacks."""
        self._fill_states(group, dict.fromkeys(names, 0.0), {"step": 0.0} if steps else {})

    def _fill_states(
        self, group: dict[str, Any], values: dict[str, float], scalars: dict[str, float]
    ) -> None:
        """Gives each parameter with a gradient the states that it lacks: ``scalars``, and tensors
        of its own shape, filled with ``values``."""
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if p.is_cuda and _C.cuda_is_capturing():
                raise RuntimeError(
                    f"{type(self).__name__}: the first step makes the state of the parameters; "
                    "take it before the capture of a CUDA graph"
                )
            for name, value in scalars.items():
                if state.get(name) is None:
                    state[name] = self._placed(scalar_state(value), p, group)
            for name, value in values.items():
                if state.get(name) is None:
                    state[name] = _C.full(p.shape, value, p.dtype, p.device)

    def _is_ours(self) -> bool:
        return type(self).__module__.partition(".")[0] == __name__.partition(".")[0]

    def _placed(self, number: Any, parameter: Any, group: dict[str, Any]) -> Any:
        """A number of the state where the step looks for it."""
        moves = group.get("capturable") and parameter.is_cuda
        return _C.to_device(number, parameter.device) if moves else number

    def _native_step(
        self,
        closure: Callable[[], Any] | None,
        step: Callable[..., bool],
        options: Callable[[dict[str, Any]], tuple],
        values: dict[str, float],
        scalars: dict[str, float] | None = None,
    ) -> Any:
        """One call of a native ``step`` per group, again after making the states it missed."""
        loss = None if closure is None else self._evaluate(closure)
        for group in self.param_groups:
            arguments = options(group)
            if not step(group["params"], self.state, *arguments):
                self._fill_states(group, values, scalars or {"step": 0.0})
                step(group["params"], self.state, *arguments)
        return loss

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before ``step``; it may return new ones."""
        return add_hook(self._get_step_hooks().pre, hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after ``step``."""
        return add_hook(self._get_step_hooks().post, hook)

    def _get_step_hooks(self) -> _StepHooks:
        if self._step_hooks is None:
            self._step_hooks = _StepHooks()
        return self._step_hooks

    # --- saving and loading -----------------------------------------------------------------

    def register_state_dict_pre_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before :meth:`state_dict`."""
        return add_hook(self._get_state_hooks().pre, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[[Optimizer, dict], dict | None], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after :meth:`state_dict`; it may return another."""
        return add_hook(self._get_state_hooks().post, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[[Optimizer, dict], dict | None], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)``, with a shallow copy, before loading; it may return
        another dict."""
        return add_hook(self._get_state_hooks().load_pre, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after loading."""
        return add_hook(self._get_state_hooks().load_post, hook, prepend)

    def _get_state_hooks(self) -> _StateHooks:
        if self._state_hooks is None:
            self._state_hooks = _StateHooks()
        return self._state_hooks

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: ...}, "param_groups": [...]}``; parameters are counted from 0 through
        all groups, and the tensors are those of the optimizer, not copies."""
        hooks = self._state_hooks
        for hook in list(hooks.pre.values()) if hooks else ():
            hook(self)
        index: dict[Any, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(p, len(index))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [index[p] for p in group["params"]]
            groups.append(packed)
        state = {index.get(p, p): value for p, value in self.state.items()}
        packed_all: dict[str, Any] = {"state": state, "param_groups": groups}
        return _replaced(hooks.post, self, packed_all) if hooks else packed_all

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over options and state from :meth:`state_dict` of an optimizer of equal groups.

        Raises ValueError if the numbers of groups or of parameters differ.
        """
        hooks = self._state_hooks
        if hooks:
            state_dict = _replaced(hooks.load_pre, self, dict(state_dict))
        for key in ("state", "param_groups"):
            if key not in state_dict:
                raise ValueError(f"loaded state dict: expected an entry {key!r}, got none")
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        by_index: dict[Any, Any] = {}
        groups: dict[Any, dict[str, Any]] = {}
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
            by_index.update(zip(saved["params"], group["params"], strict=True))
            groups.update(dict.fromkeys(group["params"], saved))
        state: defaultdict[Any, Any] = defaultdict(dict)
        with no_grad():
            for key, value in state_dict["state"].items():
                p = by_index.get(key)
                if p is None:
                    state[key] = value
                else:
                    state[p] = {name: _fitted(p, name, x) for name, x in value.items()}
                    for name in self._scalar_states if self._is_ours() else ():
                        if isinstance(number := state[p].get(name), Tensor):
                            number = _C.to_device(number, _C.device("cpu"))
                            state[p][name] = self._placed(number, p, groups[p])
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in list(hooks.load_post.values()) if hooks else ():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._is_ours():
            return  # what the options and states of a user's optimizer are is the user's affair
        for group in self.param_groups:  # of an older version, with fewer options
            for name, default in self.defaults.items():
                group.setdefault(name, default)
        for entry in self.state.values():
            for name in self._scalar_states if isinstance(entry, dict) else ():
                if isinstance(entry.get(name), (int, float)):
                    entry[name] = scalar_state(entry[name])

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"


def _fitted(parameter: Any, name: Any, value: Any) -> Any:
    """A copy of a loaded state, in the dtype and on the device of its parameter; ``step`` stays."""
    if isinstance(value, dict):
        return {key: _fitted(parameter, key, x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fitted(parameter, None, x) for x in value)
    if not isinstance(value, Tensor):
        return deepcopy(value)
    copy = _C.clone(value)
    if name == "step":
        return copy
    if parameter.dtype.is_floating_point:
        copy = _C.to_dtype(copy, parameter.dtype)
    return _C.to_device(copy, parameter.device)

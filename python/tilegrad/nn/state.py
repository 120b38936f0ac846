"""``state_dict`` and ``load_state_dict``: a module's tensors by name, out and in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..utils.hooks import RemovableHandle, add_hook
from .parameter import Parameter

__all__ = ["StateDictMixin"]

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` returns."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys!r}, "
            f"unexpected_keys={self.unexpected_keys!r})"
        )

    def __str__(self) -> str:
        return repr(self)


class _StateHooks:
    """Hooks around saving and loading; made when the first is registered."""

    def __init__(self) -> None:
        self.save_pre: OrderedDict[int, Callable] = OrderedDict()
        self.save: OrderedDict[int, tuple[Callable, bool]] = OrderedDict()  # may it return a dict?
        self.load_pre: OrderedDict[int, tuple[Callable, bool]] = OrderedDict()  # with the module?
        self.load_post: OrderedDict[int, Callable] = OrderedDict()


class StateDictMixin:
    """The part of :class:`Module` that saves and loads."""

    _version = 1  # of the module's format; kept in the metadata of a state_dict
    _state_hooks: _StateHooks | None = None

    # Provided by Module.
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def get_extra_state(self) -> Any:
        """Override, with :meth:`set_extra_state`, to keep more than tensors in the state_dict."""
        raise RuntimeError("get_extra_state: override it together with set_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Receives from ``load_state_dict`` what :meth:`get_extra_state` returned."""
        raise RuntimeError("set_extra_state: override it together with get_extra_state")

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(StateDictMixin, method)

    # --- saving -----------------------------------------------------------------------------

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """All parameters and persistent buffers by their dotted names.

        The tensors share memory with the module but are detached, unless ``keep_vars``. Versions of
        the modules are in the attribute ``_metadata`` of the result.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        hooks = self._state_hooks
        if hooks is not None:
            for pre_hook in hooks.save_pre.values():
                pre_hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        if hooks is not None:
            for hook, may_replace in hooks.save.values():
                result = hook(self, destination, prefix, metadata)
                if may_replace:
                    destination = destination if result is None else result
                elif result is not None:
                    raise RuntimeError("state_dict post-hook must return None")
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Adds this module's own tensors, without those of its children."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if self._has("get_extra_state"):
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    # --- loading ----------------------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copies the tensors of ``state_dict`` into this module's; ``assign`` takes them over as
        they are, with their dtypes.

        Returns ``missing_keys`` and ``unexpected_keys``. Raises RuntimeError if there are any and
        ``strict``, and for shapes that differ; TypeError if ``state_dict`` is not a mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        state = OrderedDict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []

        def load(module: Any, local_state: Mapping[str, Any], prefix: str) -> None:
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local = {**local, "assign_to_params_buffers": True}
            module._load_from_state_dict(
                local_state, prefix, local, True, missing, unexpected, problems
            )
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    part = {k: v for k, v in local_state.items() if k.startswith(below)}
                    load(child, part, below)
            keys = _IncompatibleKeys(missing, unexpected)
            if module._state_hooks is not None:
                for hook in module._state_hooks.load_post.values():
                    if hook(module, keys) is not None:
                        raise RuntimeError(
                            "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                            "expected to return new values; modify incompatible_keys in place."
                        )

        load(self, state, "")
        if strict:
            for keys, what in ((unexpected, "Unexpected"), (missing, "Missing")):
                if keys:
                    listed = ", ".join(f'"{key}"' for key in keys)
                    problems.insert(0, f"{what} key(s) in state_dict: {listed}. ")
        if problems:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads this module's own tensors; problems are added to the three lists."""
        found = (local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        if self._state_hooks is not None:
            for hook, with_module in self._state_hooks.load_pre.values():
                hook(*((self,) if with_module else ()), state_dict, prefix, *found)
        targets = {name: x for name, x in self._parameters.items() if x is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                targets[name] = buffer
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, target in targets.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            problem = self._load_tensor(name, key, target, state_dict[key], assign)
            if problem is not None:
                error_msgs.append(problem)
        self._load_extra_state(state_dict, prefix + _EXTRA_STATE, strict, found)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != prefix + _EXTRA_STATE:
                    first, *below = key[len(prefix) :].split(".", 1)
                    known = first in self._modules if below else first in targets
                    if not known:
                        unexpected_keys.append(key)

    def _load_extra_state(self, state_dict: Any, key: str, strict: bool, found: tuple) -> None:
        _, _, missing_keys, unexpected_keys, _ = found
        if self._has("set_extra_state"):
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)

    def _load_tensor(
        self, name: str, key: str, target: Any, value: Any, assign: bool
    ) -> str | None:
        """Copies or assigns one tensor; returns what is wrong with it, if anything."""
        if not isinstance(value, Tensor):
            return (
                f'While copying the parameter named "{key}", expected a Tensor from checkpoint '
                f"but received {type(value)}"
            )
        if target.ndim == 0 and value.ndim == 1 and value.shape[0] == 1:
            value = value[0]
        if value.shape != target.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from "
                f"checkpoint, the shape in current model is {target.shape}."
            )
        try:
            if not assign:
                with no_grad():
                    target.copy_(value)
            elif isinstance(target, Parameter) and not isinstance(value, Parameter):
                setattr(self, name, Parameter(value, requires_grad=target.requires_grad))
            else:
                setattr(self, name, value)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{target.shape} and whose dimensions in the checkpoint are {value.shape}, "
                f"an exception occurred : {error.args}."
            )
        return None

    # --- hooks ------------------------------------------------------------------------------

    def _get_state_hooks(self) -> _StateHooks:
        if self._state_hooks is None:
            self._state_hooks = _StateHooks()
        return self._state_hooks

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before ``state_dict`` collects."""
        return add_hook(self._get_state_hooks().save_pre, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)``; it may change the dict."""
        return add_hook(self._get_state_hooks().save, (hook, False))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return add_hook(self._get_state_hooks().save, (hook, True))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`` before a module loads its tensors."""
        return add_hook(self._get_state_hooks().load_pre, (hook, True))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., None], with_module: bool = False
    ) -> RemovableHandle:
        return add_hook(self._get_state_hooks().load_pre, (hook, with_module))

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after a module and its children have loaded."""
        return add_hook(self._get_state_hooks().load_post, hook)

"""``Module``: the base class of layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .. import _C
from ..autograd.mode import no_grad
from ..ops.copy import _parse_to
from ..tensor import Tensor
from ..utils.hooks import RemovableHandle, add_hook
from .hooks import ForwardHook, ModuleHooks, call_with_hooks
from .parameter import Buffer, Parameter
from .state import StateDictMixin

__all__ = ["Module"]

Self = TypeVar("Self", bound="Module")


class Module(StateDictMixin):
    """A piece of a model: parameters, buffers, submodules and a ``forward`` that uses them.

    Subclasses call ``super().__init__()`` first, assign parameters and modules as attributes, and
    define ``forward``. Calling the module calls ``forward``, with its hooks around it.

    The dicts ``_parameters``, ``_buffers`` and ``_modules`` say what is registered, in order. What
    they hold is an ordinary attribute too: reading ``self.weight`` costs what any attribute costs.
    Both are written together, in ``_put`` and ``_forget`` alone.
    """

    training: bool
    _hooks: ModuleHooks | None = None

    def __init__(self) -> None:
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers_set"] = set()
        state["_modules"] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output; every subclass overrides it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None:
            # Without keywords, Python skips building a dict for them.
            return self.forward(*args, **kwargs) if kwargs else self.forward(*args)
        return call_with_hooks(self, args, kwargs)

    # --- registering ------------------------------------------------------------------------

    def _put(self, registry: str, name: str, value: Any) -> None:
        self.__dict__[registry][name] = value
        self.__dict__[name] = value

    def _forget(self, name: str) -> None:
        state = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules", None):
            (state if registry is None else state[registry]).pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _check_name(self, name: Any, what: str, registry: str) -> None:
        if registry not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or with None a place for one.

        Raises TypeError for other objects, KeyError for a name that is empty, taken or has a dot.
        """
        self._check_name(name, "parameter", "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                "created explicitly."
            )
        self._put("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is part of the state but not a parameter, such as a running mean."""
        self._check_name(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._put("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule under a name."""
        self._check_name(name, "module", "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._put("_modules", name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule under a name."""
        self.register_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Parameter):
            self._replace(name, value, "_parameters", "parameters", self.register_parameter)
        elif name in state.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(nn.Parameter or None expected)"
                )
            self._put("_parameters", name, None)
        elif isinstance(value, Module):
            self._replace(name, value, "_modules", "module", None)
        elif name in state.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' "
                    "(nn.Module or None expected)"
                )
            self._put("_modules", name, None)
        elif isinstance(value, Buffer) and name not in state.get("_buffers", ()):
            self._replace(name, value, "_buffers", "buffer", None)
            if not value.persistent:
                self._non_persistent_buffers_set.add(name)
        elif name in state.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                    "(Tensor or None expected)"
                )
            self._put("_buffers", name, value)
        else:
            object.__setattr__(self, name, value)

    def _replace(self, name: str, value: Any, registry: str, what: str, register: Any) -> None:
        """Registers ``value`` in place of what has that name, keeping its place in the order."""
        if registry not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if name not in self.__dict__[registry]:
            self._forget(name)
        if register is None:
            self._put(registry, name, value)
        else:
            register(name, value)

    def __delattr__(self, name: str) -> None:
        if any(name in self.__dict__.get(r, ()) for r in ("_parameters", "_buffers", "_modules")):
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted(key for key in super().__dir__() if not key[0].isdigit())

    # --- finding ----------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; a shared module comes once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it; a shared module comes once, unless told otherwise."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names; a shared module comes once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for module_prefix, module in modules:
            for name, member in module.__dict__[registry].items():
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield f"{module_prefix}.{name}" if module_prefix else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; without ``recurse`` those of this module only."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, with ``recurse``, of all below it."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, with ``recurse``, of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module with that dotted name; AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a dotted name; with ``strict`` there must be one to replace.

        Raises ValueError for an empty name and for what is not a module, AttributeError for a
        missing parent and for a name that holds something else.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        parent_name, _, name = target.rpartition(".")
        parent = self.get_submodule(parent_name)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if not isinstance(getattr(parent, name, module), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_member(self, target: str, registry: str, what: str) -> Any:
        parent, _, name = target.rpartition(".")
        module = self.get_submodule(parent)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module.__dict__[registry]:
            raise AttributeError(f"`{name}` is not {what}")
        return module.__dict__[registry][name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with that dotted name; AttributeError if there is none."""
        return self._get_member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with that dotted name; AttributeError if there is none."""
        return self._get_member(target, "_buffers", "a buffer")

    # --- changing all -----------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], None]) -> Self:
        """Calls ``fn`` with every module below, then with this one. Returns ``self``."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Switches to training mode, here and below: dropout drops, batch norm uses the batch."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Switches to evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Starts or stops recording for all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or sets them to zero."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replaces the content of every parameter, gradient and buffer ``x`` by ``fn(x)``."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is None:
                    continue
                grad = parameter.grad
                parameter.data = fn(parameter)
                if grad is not None:
                    parameter.grad = fn(grad).requires_grad_(grad.requires_grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._put("_buffers", name, fn(buffer))
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves to a device and converts floating-point tensors to a dtype, in place.

        ``to(device)``, ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``. Raises TypeError for
        a dtype that is not floating.
        """
        dtype, device, _, _ = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, "
                f"but got desired dtype={dtype}"
            )

        def convert(x: Any) -> Any:
            return x.to(x.device if device is None else device, dtype if _is_floating(x) else None)

        return self._apply(convert)

    def type(self: Self, dst_type: Any) -> Self:
        """Converts all parameters and buffers, integers too, to a dtype."""
        return self._apply(lambda x: x.to(dst_type))

    def float(self: Self) -> Self:
        """Converts floating-point parameters and buffers to float32."""
        return self.to(_C.float32)

    def double(self: Self) -> Self:
        """Converts floating-point parameters and buffers to float64."""
        return self.to(_C.float64)

    def half(self: Self) -> Self:
        """Converts floating-point parameters and buffers to float16."""
        return self.to(_C.float16)

    def bfloat16(self: Self) -> Self:
        """Converts floating-point parameters and buffers to bfloat16."""
        return self.to(_C.bfloat16)

    def cpu(self: Self) -> Self:
        """Moves all parameters and buffers to host memory."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Moves all parameters and buffers to a CUDA device."""
        return self._apply(lambda x: x.cuda(device))

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Moves to a device without copying: the content is undefined afterwards."""
        place = _C.device(device)
        return self._apply(lambda x: _C.empty(x.shape, x.dtype, place), recurse)

    def share_memory(self: Self) -> Self:
        """Moves parameters and buffers to memory that child processes share."""
        return self._apply(lambda x: x.share_memory_())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: nothing is compiled at run time here. Never fails."""

    # --- hooks ------------------------------------------------------------------------------

    def _get_hooks(self) -> ModuleHooks:
        if self._hooks is None:
            self._hooks = ModuleHooks()
        return self._hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before ``forward``; what it returns replaces ``args``.

        ``with_kwargs``: ``hook(module, args, kwargs)``, which may return ``(args, kwargs)``.
        """
        return add_hook(self._get_hooks().forward_pre, ForwardHook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after ``forward``; a result replaces ``output``.

        ``with_kwargs``: ``hook(module, args, kwargs, output)``. ``always_call``: also when
        ``forward`` raised, with ``output`` None.
        """
        entry = ForwardHook(hook, with_kwargs, always_call)
        return add_hook(self._get_hooks().forward, entry, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before the module's backward pass; a result replaces
        the gradients (a tuple, one per output)."""
        return add_hook(self._get_hooks().backward_pre, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` once the gradients of the inputs are
        known; a result replaces ``grad_input``. Entries are None for inputs without gradient."""
        return add_hook(self._get_hooks().backward, hook, prepend)

    # --- printing ---------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` shows inside the parentheses; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if len(extra_lines) <= 1 and not child_lines:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(extra_lines + child_lines) + "\n)"


def _is_floating(x: Any) -> Any:
    return x.dtype.is_floating_point or x.dtype.is_complex

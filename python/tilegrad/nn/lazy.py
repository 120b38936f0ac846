"""Layers that find out the number of their inputs when they are first called."""

from __future__ import annotations

import inspect
from typing import Any

from .. import _C
from ..autograd.mode import no_grad
from ..ops.fill import _device
from ..ops.random import get_rng_state, set_rng_state
from ..tensor import Tensor
from . import batchnorm, conv, linear, normalization
from .module import Module
from .parameter import Buffer, Parameter

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "UninitializedBuffer",
    "UninitializedParameter",
]


class _Uninitialized:
    """What both kinds share: there is a dtype and a device, but no shape yet."""

    kind: type
    copy_: Any

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Gives it a shape; the content is undefined. It is an ordinary tensor from then on."""
        place = self.device if device is None else _C.device(device)
        made = _C.empty(tuple(shape), self.dtype if dtype is None else dtype, place)
        self.__class__ = self.kind
        self.data = made

    @property
    def shape(self) -> Any:
        """Raises RuntimeError: there is none yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized module. Call `forward` to initialize the parameters before accessing "
            "their attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet; :meth:`materialize` gives it one."""

    kind = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        return super().__new__(cls, _nothing(device, dtype), requires_grad)


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer whose shape is not known yet; :meth:`materialize` gives it one."""

    kind = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> Any:
        return super().__new__(cls, _nothing(device, dtype), persistent=persistent)


def _nothing(device: Any, dtype: Any) -> Any:
    dtype = _C.get_default_dtype() if dtype is None else dtype
    return _C.empty((0,), dtype, _device(device))


class _Lazy(Module):
    """What all lazy layers share: the first call makes them layers of class ``cls_to_become``.

    The initial weights are drawn then. Loading a state dict gives the shapes as well.
    """

    cls_to_become: Any
    counts: tuple[str, ...]  # the constructor's arguments that are left out, 0 until known
    dim = 1  # where the input has that size
    _lazy_options: dict[str, Any]
    _lazy_handles: tuple[Any, ...]

    def _init_lazily(self, given: dict[str, Any]) -> None:
        self.__dict__["_lazy_options"] = given
        self.__dict__["_lazy_handles"] = ()
        model = self._ordinary(given.get("groups", 1), draws=False)
        for name, value in model.__dict__.items():
            self.__dict__.setdefault(name, value)
        for name in self.counts:
            self.__dict__[name] = 0
        for name, parameter in model._parameters.items():
            if parameter is not None:
                empty = UninitializedParameter(True, parameter.device, parameter.dtype)
                self._put("_parameters", name, empty)
        for name, buffer in model._buffers.items():
            if buffer is not None and buffer.ndim > 0:
                self._put("_buffers", name, UninitializedBuffer(False, buffer.device, buffer.dtype))
        self.__dict__["_lazy_handles"] = (
            self.register_forward_pre_hook(_on_first_call, with_kwargs=True),
            self.register_load_state_dict_pre_hook(_on_load),
        )

    def _ordinary(self, size: int, draws: bool) -> Any:
        """The layer this one becomes for inputs of a size, with weights of its own."""
        before = None if draws else get_rng_state()
        try:
            return self.cls_to_become(size, **self._lazy_options)
        finally:
            if before is not None:
                set_rng_state(before)

    def _tensors(self) -> dict[str, Any]:
        return {**self._parameters, **self._buffers}

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(isinstance(x, _Uninitialized) for x in self._tensors().values())

    def initialize_parameters(self, input: Any, *rest: Any, **options: Any) -> None:
        """Gives parameters and buffers the shapes that an input of the layer asks for."""
        model = self._ordinary(input.shape[self.dim], draws=self.has_uninitialized_params())
        values = model._parameters | model._buffers
        with no_grad():
            for name, mine in self._tensors().items():
                if isinstance(mine, _Uninitialized):
                    mine.materialize(values[name].shape)
                    mine.copy_(values[name])
        for name in self.counts:
            self.__dict__[name] = getattr(model, name)


def _on_first_call(module: Any, args: tuple, kwargs: dict) -> None:
    module.initialize_parameters(*args, **kwargs)
    for handle in module._lazy_handles:
        handle.remove()
    del module.__dict__["_lazy_handles"], module.__dict__["_lazy_options"]
    module.__class__ = module.cls_to_become


def _on_load(module: Any, state_dict: Any, prefix: str, *rest: Any) -> None:
    for name, mine in module._tensors().items():
        value = state_dict.get(prefix + name)
        if isinstance(mine, _Uninitialized) and value is not None:
            with no_grad():
                mine.materialize(value.shape)


def _lazy(base: Any, counts: tuple[str, ...], dim: int = 1, **defaults: Any) -> Any:
    """The lazy form of a layer: the same arguments without the first, its number of inputs."""
    order = list(inspect.signature(base.__init__).parameters)[2:]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) > len(order):
            raise TypeError(f"{type(self).__name__}: expected {len(order)} arguments at most")
        named = dict(zip(order, args, strict=False))
        twice = named.keys() & kwargs.keys()
        if twice or counts[0] in kwargs:
            raise TypeError(
                f"{type(self).__name__}: unexpected or repeated argument "
                f"{next(iter(twice), counts[0])!r}"
            )
        self._init_lazily({**defaults, **named, **kwargs})

    name = "Lazy" + base.__name__
    text = (
        f":class:`{base.__name__}` without ``{counts[0]}``, which the first call finds out: size "
        f"{dim} of the input's shape."
    )
    members = {"__init__": __init__, "__doc__": text, "__module__": __name__}
    members |= {"cls_to_become": base, "counts": counts, "dim": dim}
    return type(name, (_Lazy, base), members)


# PyTorch's lazy instance normalizations have the defaults of batch normalization.
_LIKE_BATCH = {"affine": True, "track_running_stats": True}

LazyLinear: Any = _lazy(linear.Linear, ("in_features",), -1)
LazyConv1d: Any = _lazy(conv.Conv1d, ("in_channels",), -2)
LazyConv2d: Any = _lazy(conv.Conv2d, ("in_channels",), -3)
LazyConv3d: Any = _lazy(conv.Conv3d, ("in_channels",), -4)
LazyConvTranspose1d: Any = _lazy(conv.ConvTranspose1d, ("in_channels",), -2)
LazyConvTranspose2d: Any = _lazy(conv.ConvTranspose2d, ("in_channels",), -3)
LazyConvTranspose3d: Any = _lazy(conv.ConvTranspose3d, ("in_channels",), -4)
LazyBatchNorm1d: Any = _lazy(batchnorm.BatchNorm1d, ("num_features",))
LazyBatchNorm2d: Any = _lazy(batchnorm.BatchNorm2d, ("num_features",))
LazyBatchNorm3d: Any = _lazy(batchnorm.BatchNorm3d, ("num_features",))
LazyInstanceNorm1d: Any = _lazy(normalization.InstanceNorm1d, ("num_features",), -2, **_LIKE_BATCH)
LazyInstanceNorm2d: Any = _lazy(normalization.InstanceNorm2d, ("num_features",), -3, **_LIKE_BATCH)
LazyInstanceNorm3d: Any = _lazy(normalization.InstanceNorm3d, ("num_features",), -4, **_LIKE_BATCH)

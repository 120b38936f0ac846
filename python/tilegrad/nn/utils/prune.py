"""Pruning: parameters of which some elements are held at zero by a mask.

A pruned parameter ``weight`` becomes the parameter ``weight_orig`` and the buffer ``weight_mask``;
``weight`` itself is their product, computed again before each call of the module.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from ...ops.fill import ones_like, zeros_like
from ...ops.random import rand, rand_like
from ...ops.reduce import norm
from ...ops.topk import kthvalue, topk
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


class BasePruningMethod(ABC):
    """What all methods share. A derived class sets ``PRUNING_TYPE`` to 'unstructured' (elements),
    'structured' (slices along its ``dim``) or 'global' (all at once), and has ``compute_mask``."""

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Any, inputs: Any) -> None:
        """The hook: computes the pruned tensor before each call of the module."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask for scores ``t``, of their shape, zero wherever ``default_mask`` is."""

    def apply_mask(self, module: Any) -> Any:
        """The product of the original parameter and its mask."""
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(original.dtype) * original

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> Any:
        """Prunes the parameter of this name, on top of earlier pruning; returns the method.

        ``importance_scores``, of its shape, decide what goes; by default the parameter itself.
        Raises AssertionError for scores of another shape, and what making and computing raise.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        place, earlier = _hook_of(module, name)
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        _check_scores(scores, original, name)
        if earlier is not None:
            if not isinstance(earlier, PruningContainer):
                earlier = PruningContainer(earlier)
            earlier.add_pruning_method(method)
            method = earlier
            before = getattr(module, name + "_mask").detach().clone()
        else:
            before = ones_like(original)
        mask = method.compute_mask(scores, default_mask=before)
        if place is not None:
            del module._hooks.forward_pre[place]
        else:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """``t`` with the mask applied, without a module."""
        scores = t if importance_scores is None else importance_scores
        _check_scores(scores, t, "t")
        before = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=before)

    def remove(self, module: Any) -> None:
        """Makes the pruned values the parameter again; they stay pruned."""
        name = self._tensor_name
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = pruned.data
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _hooks_of(module: Any) -> list[tuple]:
    """(key, method) of every hook of the module that prunes."""
    hooks = {} if module._hooks is None else module._hooks.forward_pre
    return [(key, x.call) for key, x in hooks.items() if isinstance(x.call, BasePruningMethod)]


def _hook_of(module: Any, name: str) -> tuple:
    """(key, method) of the hook that prunes this parameter, or Nones."""
    found = [(key, hook) for key, hook in _hooks_of(module) if hook._tensor_name == name]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. "
            "Use a PruningContainer."
        )
    return found[0] if found else (None, None)


def _check_scores(scores: Any, tensor: Any, name: str) -> None:
    if scores.shape != tensor.shape:
        raise AssertionError(
            f"importance_scores should have the same shape as {name}, got {tuple(scores.shape)} vs "
            f"{tuple(tensor.shape)}"
        )


class PruningContainer(BasePruningMethod):
    """Several methods one after the other; each prunes what those before it have left."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple = ()
        if len(args) == 1 and isinstance(args[0], BasePruningMethod):
            self._tensor_name = args[0]._tensor_name
            self._pruning_methods = args
        elif len(args) == 1 and isinstance(args[0], Iterable):
            args = tuple(args[0])
        if not self._pruning_methods:
            if args:
                self._tensor_name = args[0]._tensor_name
            for method in args:
                self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Appends one. Raises TypeError for other objects, ValueError for another parameter's."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and method._tensor_name != self._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}, got '{method._tensor_name}'"
            )
        self._pruning_methods = (*self._pruning_methods, method)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: Any) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask of the last method on what is left, combined with those before."""
        method = self._pruning_methods[-1]
        left = _what_is_left(method, t, default_mask)
        mask = default_mask.to(t.dtype)
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(t.dtype)
        return mask


def _what_is_left(method: Any, t: Any, mask: Any) -> Any:
    """The index of the elements or slices of ``t`` that a method may still prune."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    everything = [slice(None)] * t.ndim
    if method.PRUNING_TYPE == "structured":
        if not hasattr(method, "dim"):
            raise AttributeError(
                'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` '
                "defined."
            )
        dim = method.dim + t.ndim if method.dim < 0 else method.dim
        if dim < 0:
            raise IndexError(f"Index is out of bounds for tensor with dimensions {t.ndim}")
        others = [d for d in range(t.ndim) if d != dim]
        everything[dim] = mask.sum(dim=others) != 0
    elif method.PRUNING_TYPE != "global":
        raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
    return tuple(everything)


class Identity(BasePruningMethod):
    """Prunes nothing: a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        return default_mask


class _ByAmount(BasePruningMethod):
    """Prunes a share (a float from 0 to 1) or a number (an integer) of elements or slices."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        largest = float("inf") if isinstance(amount, numbers.Integral) else 1.0
        if not 0 <= float(amount) <= largest:
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def count(self, size: int) -> int:
        """How many of ``size`` go. Raises ValueError for more than there are."""
        if not isinstance(self.amount, numbers.Integral):
            return round(float(self.amount) * size)
        if int(self.amount) > size:
            raise ValueError(
                f"amount={self.amount} should be smaller than the number of parameters to "
                f"prune={size}"
            )
        return int(self.amount)

    def count_slices(self, t: Any, dim: int) -> int:
        """How many slices along ``dim`` go. Raises ValueError for vectors, IndexError for dim."""
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {tuple(t.shape)} with {t.ndim} dims"
            )
        if dim >= t.ndim:
            raise IndexError(f"Invalid index {dim} for tensor of size {tuple(t.shape)}")
        return self.count(t.shape[dim])


def _without(mask: Any, elements: Any) -> Any:
    """A copy of ``mask`` with zeros at these places of its flat order."""
    flat = mask.reshape(-1).clone()
    flat[elements] = 0
    return flat.view(mask.shape)


def _only(t: Any, dim: int, slices: Any, default_mask: Any) -> Any:
    """``default_mask`` with zeros in all slices along ``dim`` but these."""
    mask = zeros_like(t)
    index: list[Any] = [slice(None)] * t.ndim
    index[dim] = slices
    mask[tuple(index)] = 1
    return mask * default_mask.to(mask.dtype)


class RandomUnstructured(_ByAmount):
    """Prunes elements at random."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self.count(t.numel())
        if count == 0:
            return default_mask.clone()
        return _without(default_mask, topk(rand_like(t).reshape(-1), count)[1])


class L1Unstructured(_ByAmount):
    """Prunes the elements that are closest to zero."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self.count(t.numel())
        if count == 0:
            return default_mask.clone()
        smallest = topk(t.detach().abs().reshape(-1), count, largest=False)[1]
        return _without(default_mask, smallest)


class RandomStructured(_ByAmount):
    """Prunes slices along ``dim`` at random."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self.count_slices(t, self.dim)
        if count == 0:
            return default_mask
        draws = rand(t.shape[self.dim])
        return _only(t, self.dim, draws > kthvalue(draws, count)[0], default_mask)


class LnStructured(_ByAmount):
    """Prunes the slices along ``dim`` with the smallest norms of order ``n``."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.n, self.dim = n, dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self.count_slices(t, self.dim)
        if count == 0:
            return default_mask
        others = [d for d in range(t.ndim) if d != self.dim % t.ndim]
        lengths = norm(t.detach(), p=self.n, dim=others)
        kept = topk(lengths, t.shape[self.dim] - count)[1]
        return _only(t, self.dim, kept, default_mask)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is zero."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {tuple(default_mask.shape)} must match self.mask shape "
                f"{tuple(self.mask.shape)}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: Any, name: str) -> Any:
    """Gives a parameter a mask of ones; returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Prunes a share or a number of a parameter's elements at random; returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """Prunes a share or a number of a parameter's smallest elements; returns the module."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Prunes a share or a number of slices along ``dim`` at random; returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
) -> Any:
    """Prunes the slices along ``dim`` with the smallest norms of order ``n``; returns the
    module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes elements of several parameters, (module, name) pairs, by one comparison of them all.

    ``importance_scores`` maps some of the pairs to scores. ``kwargs`` make the method, which must
    be an unstructured one. Raises TypeError for other arguments.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = list(parameters)
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    method._tensor_name = "all of them"
    tensors = [getattr(module, name) for module, name in pairs]
    masks = [getattr(module, name + "_mask", ones_like(t)) for (module, name), t in
             zip(pairs, tensors, strict=True)]  # fmt: skip
    chosen = [scores.get(pair, t).detach() for pair, t in zip(pairs, tensors, strict=True)]
    together = PruningContainer(method)
    mask = together.compute_mask(parameters_to_vector(chosen), parameters_to_vector(masks))
    parts = mask.split([t.numel() for t in tensors])
    for (module, name), part, tensor in zip(pairs, parts, tensors, strict=True):
        custom_from_mask(module, name, part.view(tensor.shape))


def custom_from_mask(module: Any, name: str, mask: Any) -> Any:
    """Prunes a parameter where ``mask``, of its shape, is zero; returns the module."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Any, name: str) -> Any:
    """Makes a pruned parameter a plain one with the pruned values; returns the module.

    Raises ValueError for a parameter that is not pruned.
    """
    key, hook = _hook_of(module, name)
    if hook is None:
        raise ValueError(
            f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
        )
    hook.remove(module)
    del module._hooks.forward_pre[key]
    return module


def is_pruned(module: Any) -> bool:
    """Whether a parameter of the module or of one in it is pruned."""
    return any(_hooks_of(part) for part in module.modules())

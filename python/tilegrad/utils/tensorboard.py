"""``SummaryWriter`` by the tensorboardX package, which writes files that TensorBoard reads."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

try:
    from tensorboardX import SummaryWriter as _Writer
except ImportError as error:  # as PyTorch's own needs the tensorboard package
    raise ImportError(
        "tilegrad.utils.tensorboard needs the package tensorboardX: pip install tensorboardX"
    ) from error

__all__ = ["SummaryWriter"]


def _plain(value: Any) -> Any:
    """Tensors, inside containers too, as NumPy arrays; single numbers as numbers."""
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else value.detach().cpu().float().numpy()
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


class SummaryWriter(_Writer):
    """tensorboardX's writer that takes tensors wherever it takes arrays."""


def _attach() -> None:
    def wrap(original: Any) -> Any:
        def add(self: Any, *args: Any, **kwargs: Any) -> Any:
            plain = {key: _plain(value) for key, value in kwargs.items()}
            return original(self, *map(_plain, args), **plain)

        add.__name__, add.__doc__ = original.__name__, original.__doc__
        return add

    for name in dir(_Writer):
        if name.startswith("add_") and name != "add_graph":
            setattr(SummaryWriter, name, wrap(getattr(_Writer, name)))


_attach()

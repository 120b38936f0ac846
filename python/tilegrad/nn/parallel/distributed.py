"""``DistributedDataParallel`` under the name of PyTorch's module."""

from . import DistributedDataParallel

__all__ = ["DistributedDataParallel"]

"""``keras.mixed_precision``: the dtypes of all layers at once."""

from __future__ import annotations

from .dtypes import DTypePolicy, dtype_policy, set_dtype_policy
from .optimizers import LossScaleOptimizer

__all__ = ["DTypePolicy", "LossScaleOptimizer", "Policy", "dtype_policy", "global_policy",
           "set_dtype_policy", "set_global_policy"]  # fmt: skip

Policy, global_policy, set_global_policy = DTypePolicy, dtype_policy, set_dtype_policy

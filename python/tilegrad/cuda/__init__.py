"""CUDA devices: what is there, streams, memory, graphs.

The functions are those of ``torch.cuda``. Without CUDA in the build, a driver or a card, the
questions have honest answers (False, 0) and everything else is a RuntimeError that says what is
missing.
"""

from __future__ import annotations

from typing import Any

from .._lazy import lazily as _lazily
from .memory import *  # noqa: F403
from .memory import __all__ as _memory
from .process import *  # noqa: F403
from .process import __all__ as _process
from .random import *  # noqa: F403
from .random import __all__ as _random
from .streams import *  # noqa: F403
from .streams import __all__ as _streams

_GRAPHS = ["CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables"]

__all__ = sorted([*_memory, *_process, *_random, *_streams, *_GRAPHS])

_lazy = _lazily(__name__, dict.fromkeys(_GRAPHS, "graphs"))


def __getattr__(name: str) -> Any:
    """``FloatTensor`` and its relatives, graphs, and submodules."""
    from .._legacy import cuda_tensor_types

    return cuda_tensor_types[name] if name in cuda_tensor_types else _lazy(name)

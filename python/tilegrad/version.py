"""Versions: ``__version__`` is that of the PyTorch whose behaviour is followed, not tilegrad's own.

Programs compare it to learn what they may call. There is no CUDA toolkit to name unless the build
has one.
"""

from __future__ import annotations

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "xpu"]

__version__ = "2.13.0+tilegrad"
debug = False
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version = "unknown"

"""Layouts: every tensor is strided; the other names exist so that programs can ask."""

from __future__ import annotations

from typing import Any

from .tensor import Tensor

__all__ = [
    "layout",
    "sparse_bsc",
    "sparse_bsr",
    "sparse_coo",
    "sparse_csc",
    "sparse_csr",
    "strided",
]


class layout:
    """How a tensor's elements are stored: ``strided``, or one that does not exist here."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"tilegrad.{self._name}"

    def __reduce__(self) -> str:
        return self._name


strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")

_NEVER = {
    "is_meta": "without memory",
    "is_mkldnn": "in oneDNN's layout",
    "is_mps": "on one of Apple's GPUs",
    "is_nested": "nested",
    "is_quantized": "quantized",
    "is_sparse": "sparse",
    "is_sparse_csr": "sparse by rows",
    "is_xla": "on an XLA device",
    "is_xpu": "on one of Intel's GPUs",
}


def _attach() -> None:
    def never(what: str) -> property:
        return property(lambda self: False, doc=f"False: no tensor is {what}.")

    for name, what in _NEVER.items():
        setattr(Tensor, name, never(what))

    def get_layout(self: Any) -> layout:
        """``strided``: there are no other layouts."""
        return strided

    def is_cpu(self: Any) -> bool:
        """Whether the tensor lies in host memory."""
        return self.device.type == "cpu"

    setattr(Tensor, "layout", property(get_layout))  # noqa: B010
    setattr(Tensor, "is_cpu", property(is_cpu))  # noqa: B010


_attach()

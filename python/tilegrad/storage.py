"""Storages: the memory under tensors, as :meth:`Tensor.untyped_storage` and checkpoints show it."""

from __future__ import annotations

from typing import Any

from . import _C
from .tensor import Tensor

__all__ = ["TypedStorage", "UntypedStorage"]


class UntypedStorage:
    """The bytes under a tensor and all its views.

    Made from a uint8 tensor, whose storage it shows, or from a number of bytes. Raises TypeError
    for anything else.
    """

    def __init__(self, content: Any = 0) -> None:
        if isinstance(content, int):
            content = _C.empty((content,), _C.uint8, _C.device("cpu"))
        if not isinstance(content, Tensor):
            raise TypeError(
                "UntypedStorage: expected a tensor or a number of bytes, "
                f"got {type(content).__name__}"
            )
        self._bytes = _C.storage_bytes(content)

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._bytes.numel()

    size = nbytes

    def __len__(self) -> int:
        return self.nbytes()

    def __getitem__(self, index: Any) -> Any:
        item = self._bytes[index]
        return UntypedStorage(item.clone()) if isinstance(index, slice) else item.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._bytes[index] = value

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return _C.storage_pointer(self._bytes)

    def element_size(self) -> int:
        """Bytes per element: 1."""
        return 1

    @property
    def device(self) -> Any:
        """Where the bytes are."""
        return self._bytes.device

    @property
    def is_cuda(self) -> bool:
        """Whether they are on a GPU."""
        return self.device.type == "cuda"

    def to(self, device: Any) -> UntypedStorage:
        """The bytes on another device; the storage itself if they are there."""
        moved = self._bytes.to(device)
        return self if moved is self._bytes else UntypedStorage(moved)

    def cpu(self) -> UntypedStorage:
        """The bytes in host memory."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """The bytes on a GPU; raises RuntimeError where there is none."""
        return UntypedStorage(self._bytes.cuda(device))

    def clone(self) -> UntypedStorage:
        """A copy with its own memory."""
        return UntypedStorage(self._bytes.clone())

    def copy_(self, source: UntypedStorage, non_blocking: bool = False) -> UntypedStorage:
        """Takes over the bytes of a storage of the same size; returns ``self``."""
        self._bytes.copy_(source._bytes)
        return self

    def tolist(self) -> list[int]:
        """The bytes as integers."""
        return self._bytes.tolist()

    def is_shared(self) -> bool:
        """Whether other processes can see the memory, see :meth:`Tensor.share_memory_`."""
        return self._bytes.is_shared()

    def share_memory_(self) -> UntypedStorage:
        """Moves the bytes to memory that other processes can see; returns ``self``."""
        self._bytes.share_memory_()
        return self

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def __repr__(self) -> str:
        return f"UntypedStorage({self.nbytes()} bytes, device={self.device})"


class TypedStorage:
    """A storage that counts in elements of one dtype, as :meth:`Tensor.storage` gives it."""

    def __init__(self, wrap_storage: UntypedStorage, dtype: Any) -> None:
        self._untyped, self.dtype = wrap_storage, dtype

    def untyped(self) -> UntypedStorage:
        """The bytes without the dtype."""
        return self._untyped

    def _elements(self) -> Tensor:
        count = self.size()
        return _C.storage_view(self._untyped._bytes, self.dtype, (count,), (1,), 0)

    def size(self) -> int:
        """The number of elements."""
        return self._untyped.nbytes() // self.dtype.itemsize

    def __len__(self) -> int:
        return self.size()

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._untyped.nbytes()

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped.data_ptr()

    @property
    def device(self) -> Any:
        """Where the elements are."""
        return self._untyped.device

    def __getitem__(self, index: Any) -> Any:
        item = self._elements()[index]
        return item.tolist() if isinstance(index, slice) else item.item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._elements()[index] = value

    def __iter__(self) -> Any:
        return iter(self.tolist())

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._elements().tolist()

    def fill_(self, value: Any) -> TypedStorage:
        """Sets all elements; returns ``self``."""
        self._elements().fill_(value)
        return self

    def __repr__(self) -> str:
        return f"TypedStorage({self.size()} elements, dtype={self.dtype}, device={self.device})"

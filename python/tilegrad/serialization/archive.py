"""PyTorch's checkpoint archive: a zip file of uncompressed records, read with every size checked.

``<name>/data.pkl`` is the pickle, ``<name>/data/<key>`` the bytes of one storage each, aligned to
64 bytes so that they can be mapped; ``<name>/version`` and ``<name>/byteorder`` say how to read
them.
"""

from __future__ import annotations

import mmap
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor

__all__ = ["ArchiveReader", "write_archive"]

_ALIGNMENT = 64
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CHUNK = 1 << 24


def write_archive(
    file: Any, name: str, records: Iterable[tuple[str, Any]], identifier: str
) -> None:
    """Writes the records, pairs of a name and bytes, and what every archive has beside them."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        fixed = [
            (".format_version", b"1"),
            (".storage_alignment", str(_ALIGNMENT).encode()),
            ("byteorder", sys.byteorder.encode()),
        ]
        for i, (record, content) in enumerate(records):
            _write_record(archive, f"{name}/{record}", content)
            if i == 0:  # the pickle comes first
                for key, value in fixed:
                    _write_record(archive, f"{name}/{key}", value)
        _write_record(archive, f"{name}/version", b"3\n")
        _write_record(archive, f"{name}/.data/serialization_id", identifier.encode())


def _write_record(archive: zipfile.ZipFile, name: str, content: Any) -> None:
    info = zipfile.ZipInfo(name)  # of a fixed date: equal content gives equal files
    view = memoryview(content).cast("B") if len(content) else memoryview(b"")
    large = len(view) >= 2**31 - 2**27  # where zipfile changes to headers of 64 bits
    header = _LOCAL_HEADER.size + len(name.encode()) + (20 if large else 0) + 4
    padding = -(archive.start_dir + header) % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=large) as record:
        for start in range(0, len(view), _CHUNK):
            record.write(view[start : start + _CHUNK])


class ArchiveReader:
    """The records of an archive in a seekable file, or mapped from it.

    Raises RuntimeError for a file that is truncated, compressed, overlapping or otherwise not what
    :func:`write_archive` or PyTorch would write.
    """

    def __init__(self, file: Any, mapped: bool = False) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if mapped else None
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # zipfile raises many kinds for broken directories
            raise _corrupt(f"failed finding central directory ({error})") from None
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise _corrupt("two records have one name")
        if sum(entry.file_size for entry in entries) > self._size:
            raise _corrupt("its records are announced larger than the file is")
        pickles = [n for n in self._entries if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(pickles) != 1:
            raise _corrupt("it has no data.pkl, so it is not a checkpoint")
        self.name = pickles[0].partition("/")[0]
        if f"{self.name}/constants.pkl" in self._entries:
            raise RuntimeError(
                "load: the file is a TorchScript archive, which holds code; save its state_dict()"
            )

    def __contains__(self, record: str) -> bool:
        return f"{self.name}/{record}" in self._entries

    def read(self, record: str) -> bytes:
        """The bytes of one record."""
        tensor = self.read_tensor(record)
        return _C.to_numpy(tensor).tobytes()

    def read_tensor(self, record: str) -> Tensor:
        """The bytes of one record as a uint8 tensor, mapped or read into fresh memory."""
        entry = self._entries.get(f"{self.name}/{record}")
        if entry is None:
            raise _corrupt(f"it has no record {record}")
        start = self._start_of(entry)
        size = entry.file_size
        if self._mapped is not None:
            array = (
                np.frombuffer(self._mapped, np.uint8, size, start) if size else np.empty(0, "u1")
            )
            if start % 8:  # not from PyTorch, which aligns
                array = array.copy()
            return _C.from_numpy(array)
        tensor = _C.empty((size,), _C.uint8, _C.device("cpu"))
        self._read_into(start, memoryview(_C.to_numpy(tensor)) if size else memoryview(b""))
        if zlib.crc32(_C.to_numpy(tensor)) != entry.CRC:
            raise _corrupt(f"the checksum of record {record} is wrong")
        return tensor

    def _start_of(self, entry: zipfile.ZipInfo) -> int:
        """Where a record's bytes begin, after its local header, which is checked too."""
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _corrupt(f"record {entry.filename} is compressed, which checkpoints never are")
        if entry.flag_bits & 1:
            raise _corrupt(f"record {entry.filename} is encrypted")
        header = bytearray(_LOCAL_HEADER.size)
        self._read_into(entry.header_offset, memoryview(header))
        fields = _LOCAL_HEADER.unpack(header)
        name = bytearray(fields[9])
        self._read_into(entry.header_offset + len(header), memoryview(name))
        if fields[0] != b"PK\3\4" or bytes(name) != entry.orig_filename.encode():
            raise _corrupt(f"record {entry.filename} is not where the directory says")
        start = entry.header_offset + len(header) + len(name) + fields[10]
        if start + entry.file_size > self._size:
            raise _corrupt(f"record {entry.filename} reaches beyond the end of the file")
        return start

    def _read_into(self, start: int, view: memoryview) -> None:
        if start < 0 or start + len(view) > self._size:
            raise _corrupt("a record reaches beyond the end of the file")
        self._file.seek(start)
        done = 0
        while done < len(view):
            chunk = view[done : done + _CHUNK]
            if hasattr(self._file, "readinto"):
                count = self._file.readinto(chunk)
            else:
                read = self._file.read(len(chunk))
                count = len(read)
                chunk[:count] = read
            if not count:
                raise _corrupt("it ended while it was read")
            done += count


def _corrupt(what: str) -> RuntimeError:
    return RuntimeError(f"load: the file is corrupt or not a checkpoint: {what}")

"""Files that are either as before or complete: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

__all__ = ["atomic_writer"]


@contextlib.contextmanager
def atomic_writer(path: Any) -> Iterator[Any]:
    """A binary file that takes the place of ``path`` when the block ends without an exception.

    Its bytes are on the disk before the old file goes, so that neither an exception nor a crash of
    the machine leaves half a file. A link is kept and its target replaced; what is no regular
    file, such as a pipe, is written directly. Raises OSError.
    """
    target = os.path.realpath(os.fspath(path))
    if os.path.lexists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            yield file
        return
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"save: there is no directory {os.path.dirname(os.fspath(path))!r}")
    handle, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(target)[:100]}.", suffix=".tmp", dir=folder
    )
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), _mode_of(target))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode_of(path: str) -> int:
    """The permissions of the old file, or those of any new one."""
    try:
        return os.stat(path).st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: str) -> None:
    """Makes the new name durable, where folders can be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

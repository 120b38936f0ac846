"""Downloads that can be interrupted: continued where they broke off, and never seen half done.

What has arrived stands in ``<name>.part`` beside its place, locked by the process that writes it;
only a whole file with the right hash gets the name itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

__all__ = ["download", "matches"]

ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18


def download(url: str, target: Path, digest: str) -> None:
    """Puts the file at ``url`` into ``target``; ``digest`` is ``"sha256:..."`` in hexadecimal.

    A process that finds another one downloading the same file waits for it. Raises OSError for
    network and disk, RuntimeError for a file with another hash, which is thrown away.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _locked(part) as file:
        if target.exists() and matches(target, digest):
            _remove(part)  # another process was first
            return
        try:
            _fetch_whole(url, file, digest)
            os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            if file.seek(0, os.SEEK_END) == 0:
                _remove(part)


def matches(path: Path, digest: str) -> bool:
    """Whether the file's hash is ``digest``. Raises OSError for what cannot be read."""
    with open(path, "rb") as file:
        return _digest(file, digest) == digest


def _fetch_whole(url: str, file: IO[bytes], digest: str) -> None:
    """Fills ``file``: several attempts, each continuing the last, until the hash is right."""
    for attempt in range(1, ATTEMPTS + 1):
        continued = file.seek(0, os.SEEK_END) > 0
        try:
            _receive(url, file)
        except HTTPError as error:
            if error.code < 500 or attempt == ATTEMPTS:
                raise
            continue
        except OSError:
            if attempt == ATTEMPTS:
                raise
            continue
        actual = _digest(file, digest)
        if actual == digest:
            return
        file.truncate(0)
        if not continued or attempt == ATTEMPTS:
            raise RuntimeError(f"{url} sent a file with {actual}, expected {digest}")


def _receive(url: str, file: IO[bytes]) -> None:
    """Appends what is missing. Raises OSError; what has arrived by then stays."""
    have = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "tilegrad"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return  # nothing is missing, or what we have is wrong: the hash will tell
        raise
    with response:
        begun = f"bytes {have}-"
        if have and not (
            response.status == 206 and response.headers.get("Content-Range", "").startswith(begun)
        ):
            file.truncate(0)  # the server starts from the beginning
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with _progress(url, have, total) as advance:
            try:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
            except HTTPException as error:
                raise ConnectionError(str(error) or type(error).__name__) from error
            finally:
                file.flush()
        if total is not None and file.tell() != total:
            raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")


def _digest(file: IO[bytes], like: str) -> str:
    """The hash of an open file, made and written as ``like`` is."""
    file.seek(0)
    kind = like.partition(":")[0]
    value = hashlib.new(kind, usedforsecurity=kind != "md5")
    while chunk := file.read(_CHUNK):
        value.update(chunk)
    return f"{kind}:{value.hexdigest()}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The file at ``path``, opened for appending, once no other process holds it."""
    while True:
        with open(path, "a+b") as file:
            _lock(file)
            # Meanwhile its holder may have given it its final name, or removed it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    yield file
                    return


def _lock(file: IO[bytes]) -> None:
    """Waits for the right to write; the system gives it back when the file is closed."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        return
    fcntl.flock(file, fcntl.LOCK_EX)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def _progress(url: str, have: int, total: int | None) -> Iterator[Any]:
    """A bar in a terminal that has tqdm, one line for large files elsewhere."""
    parts = urlparse(url)
    name = parts.path.rpartition("/")[2]
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        if total is None or total > 1_000_000:
            print(f"downloading {name} from {parts.hostname}", file=sys.stderr, flush=True)
        yield lambda count: None
        return
    with tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True) as bar:
        yield bar.update

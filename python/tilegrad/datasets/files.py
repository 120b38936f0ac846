"""The files that data sets are made of: where they come from, where they lie, their hashes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .download import download, matches

__all__ = ["DataFile", "data_folder", "find", "locate"]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set."""

    name: str  # its place in the data folder: "mnist/t10k-images-idx3-ubyte.gz"
    digest: str  # "sha256:..."; "md5:..." where its makers published no other
    bytes: int
    urls: tuple[str, ...]
    also: tuple[str, ...] = ()  # other names that it is kept under


def data_folder() -> Path:
    """Where data sets lie and are downloaded to: ``$TILEGRAD_DATA``, else in the user's cache.

    Raises RuntimeError where there is no home folder to put it in.
    """
    named = os.environ.get("TILEGRAD_DATA")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "tilegrad"


def find(file: DataFile) -> Path | None:
    """The file in the data folder, at most two folders down, if one there has the right hash."""
    for path in _candidates(file):
        if path.is_file() and matches(path, file.digest):
            return path
    return None


def _candidates(file: DataFile) -> Iterator[Path]:
    folder = data_folder()
    yield folder / file.name
    for name in (Path(file.name).name, *file.also):
        for depth in ("", "*/", "*/*/"):
            yield from sorted(folder.glob(depth + name))


def locate(file: DataFile, title: str) -> Path:
    """The file on this disk, downloaded if need be.

    Raises FileNotFoundError, with a sentence that says what to fetch and where to put it, and
    RuntimeError if another file stands in its place.
    """
    found = find(file)
    if found is not None:
        return found
    target = data_folder() / file.name
    if target.exists():
        raise RuntimeError(
            f"{title}: {target} is damaged or another file (expected {file.digest}): delete it, "
            "and it will be downloaded anew"
        )
    reasons = []
    for url in file.urls:
        try:
            download(url, target, file.digest)
            return target
        except (OSError, RuntimeError) as error:
            reasons.append(str(error))
    raise FileNotFoundError(
        f"{title}: {target.name} ({file.bytes / 1e6:.1f} MB) is not in {data_folder()} and could "
        f"not be downloaded ({'; '.join(dict.fromkeys(reasons))}): fetch {' or '.join(file.urls)} "
        f"and save it as {target}, or set TILEGRAD_DATA to a folder that holds it"
    )

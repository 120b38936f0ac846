"""Files from the network: downloads checked against the hash in their name, state dicts."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from .serialization import load as _load

__all__ = ["download_url_to_file", "get_dir", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = _HASH_IN_NAME = re.compile(r"-([a-f0-9]*)\.")
_CHUNK = 1 << 20
_directory: str | None = None


def _get_torch_home() -> str:
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return os.path.expanduser(os.environ.get("TORCH_HOME", cache))


def get_dir() -> str:
    """Where downloads are kept: ``set_dir``'s, $TORCH_HOME/hub, or ~/.cache/torch/hub."""
    return os.path.join(_get_torch_home(), "hub") if _directory is None else _directory


def set_dir(d: Any) -> None:
    """Keeps downloads there. Raises TypeError for what is not a path."""
    global _directory
    _directory = os.path.expanduser(os.fspath(d))


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> Any:
    """Raises NotImplementedError: it would run code from the network."""
    raise NotImplementedError(
        "hub.load: runs code from a repository, which is not done here; clone it and import it"
    )


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Fetches ``url`` into the file ``dst``, which appears when it is complete.

    Raises RuntimeError if its SHA-256 does not begin with ``hash_prefix``, ValueError for what is
    no address, OSError if it cannot be fetched or written.
    """
    request = Request(url, headers={"User-Agent": "tilegrad.hub"})
    folder = os.path.dirname(os.path.expanduser(dst)) or "."
    handle, temporary = tempfile.mkstemp(prefix=".download-", dir=folder)
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file, urlopen(request) as source:
            if progress:
                print(f'Downloading: "{url}" to {dst}', file=sys.stderr)
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        found = digest.hexdigest()
        if hash_prefix is not None and found[: len(hash_prefix)] != hash_prefix:
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')
        shutil.move(temporary, os.path.expanduser(dst))
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """The object in a checkpoint at ``url``, fetched unless it is in ``model_dir`` already.

    With ``check_hash`` the name must end in a dash and the beginning of the file's SHA-256. Errors
    are those of :func:`download_url_to_file` and :func:`tilegrad.load`.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(folder):
        raise FileExistsError(errno.EEXIST, "is no directory", folder)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        match = _HASH_IN_NAME.search(name) if check_hash else None
        download_url_to_file(url, path, match.group(1) if match else None, progress)
    return _load(path, map_location)

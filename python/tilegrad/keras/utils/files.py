"""``get_file``: a file from the network, kept in a folder and unpacked if wanted."""

from __future__ import annotations

import os
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from ...datasets.download import TIMEOUT, download, matches
from .messages import tell

__all__ = ["get_file"]


def get_file(
    fname: str | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: Any = None,
    force_download: bool = False,
) -> str:
    """The path of the file at ``origin``, downloaded if it is not there yet.

    It lies in ``cache_dir`` (``$KERAS_HOME``, else ``~/.keras``), folder ``cache_subdir``, under
    the name ``fname``. With ``file_hash`` it is checked, and an interrupted download goes on where
    it stopped. ``extract`` unpacks zip and tar files into a folder, whose path is returned. Raises
    ValueError without ``origin``, for a name that leads out of the folder and for a file with
    another hash, OSError for network and disk.
    """
    if origin is None:
        raise ValueError('Please specify the "origin" argument (URL of the file to download).')
    file_hash = file_hash or md5_hash
    named, fname = fname is not None, fname or os.path.basename(urlparse(origin).path)
    if fname in ("", ".", ".."):
        raise ValueError(
            f"Can't parse the file name from the origin provided: '{origin}'. Please specify the "
            "`fname` argument."
        )
    if os.path.basename(fname) != fname:
        raise ValueError(
            "Paths are no longer accepted as the `fname` argument. To specify the file's parent "
            f"directory, use the `cache_dir` argument. Received: fname={fname}"
        )
    home = cache_dir or os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    place = Path(home).expanduser() / cache_subdir
    place.mkdir(parents=True, exist_ok=True)
    target = folder = place / fname
    unpacked = extract or untar
    if unpacked and named and "." in fname:
        folder = place / f"{fname.partition('.')[0]}_extracted"
    elif unpacked:
        target = place / f"{fname}_archive"
    digest = _digest(file_hash, hash_algorithm)
    there = target.exists() and not force_download
    if there and digest is not None and not matches(target, digest):
        warnings.warn(
            f"A local file was found, but it seems to be incomplete or outdated because the "
            f"{digest.partition(':')[0]} file hash does not match the original value of "
            f"{file_hash} so we will re-download the data.",
            stacklevel=2,
        )
        there = False
    if not there:
        _fetch(origin, target, digest)
    if not unpacked:
        return str(target)
    return str(_unpacked(target, folder, "tar" if untar else archive_format, there))


def _digest(file_hash: str | None, algorithm: str) -> str | None:
    if file_hash is None:
        return None
    if algorithm == "auto":
        algorithm = "sha256" if len(file_hash) == 64 else "md5"
    return f"{algorithm}:{file_hash}"


def _fetch(origin: str, target: Path, digest: str | None) -> None:
    """Puts the file there whole, or not at all."""
    if digest is not None and urlparse(origin).scheme in ("http", "https"):
        target.unlink(missing_ok=True)
        try:
            download(origin, target, digest)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        return
    tell(f"Downloading data from {origin}")
    part = target.with_name(target.name + ".part")
    with (
        urlopen(Request(origin, headers={"User-Agent": "tilegrad"}), timeout=TIMEOUT) as response,
        open(part, "wb") as file,
    ):
        shutil.copyfileobj(response, file)
    if digest is not None and not matches(part, digest):
        part.unlink()
        raise ValueError(
            "Incomplete or corrupted file detected. The file hash does not match the provided "
            f"value of {digest}."
        )
    os.replace(part, target)


def _unpacked(archive: Path, folder: Path, kinds: Any, kept: bool) -> Path:
    """The folder that holds what an archive holds, made at once or not at all."""
    if kept and folder.is_dir():
        return folder
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    wanted = ("tar", "zip") if kinds == "auto" else (kinds,) if isinstance(kinds, str) else kinds
    try:
        if "tar" in wanted and tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                opened.extractall(fresh, filter="data")  # nothing outside of the folder
        elif "zip" in wanted and zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(fresh)
        else:
            raise ValueError(f"get_file: {archive} is no archive of a kind in {wanted}")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder

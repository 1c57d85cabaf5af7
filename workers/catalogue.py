"""Folders of pictures that a recipe names: what is in them, identified by content and read anew only where changed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from schemas import files
from schemas.errors import InputError, changed
from schemas.shards import canonical_digest

Entries = tuple[tuple[str, str], ...]
"""URL and sha256 of every file of a folder, sorted by URL."""
Kind = tuple[str, ...]
"""File name endings."""
MAX_BYTES = 64 * 1024**2
_latest: dict[tuple[str, Kind], str] = {}
"""What the last listing of a folder said of its files' versions."""


def identify(folder: str, kind: Kind) -> str:
    """Lists the folder anew and identifies its files by names and bytes; reads them only where they changed.

    Raises:
        InputError: the folder cannot be listed, or holds no such file.
    """
    _latest.pop((folder, kind), None)
    return canonical_digest([[url.rsplit("/", 1)[-1], d] for url, d in entries(folder, kind)])


def entries(folder: str, kind: Kind) -> Entries:
    """Returns the files of a folder, as they were when it was last identified.

    Raises:
        InputError: the folder cannot be listed, or holds no such file.
    """
    if (folder, kind) not in _latest:
        _latest[folder, kind] = canonical_digest(files.list_versions(folder, kind))
    return _read(folder, kind, _latest[folder, kind])


@lru_cache(maxsize=16)
def _read(folder: str, kind: Kind, versions: str) -> Entries:
    urls = files.list_files(folder, kind)
    if not urls:
        raise InputError(
            folder, f"holds no {' or '.join(kind)} file", "Name a folder that has some"
        )
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(lambda url: files.digest(files.read_bytes(url, MAX_BYTES)), urls)
        return tuple(zip(urls, digests, strict=True))


def read(url: str, digest: str, check: Callable[[bytes], None] = lambda _: None) -> bytes:
    """Reads a file that must still be what it was identified as.

    Raises:
        InputError: it changed since.
    """
    data = files.read_bytes(url, MAX_BYTES)
    if files.digest(data) != digest:
        raise changed(url)
    check(data)
    return data

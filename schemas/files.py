"""Reads and writes what a user names: any fsspec URL or a plain path. Never executes or unpickles what it reads."""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import InputError

MAX_BYTES = 2 * 1024**3
"""A recipe's input larger than this is refused before it is read into memory."""


def absolute(url: str) -> str:
    """Makes a plain path absolute, so that it means the same on every worker; URLs stay.

    Of a chain such as `zip://inner::archive.zip` the last link is the path.

    Raises:
        InputError: nothing, or a URL with one slash too few, which would be a folder of a strange name.
    """
    chain, link, last = url.rpartition("::")
    if not last:
        raise InputError(url or "an empty path", "names nothing", "Write a path or a URL")
    if re.match(r"(file|memory|s3|gs|az|abfs|https?):/?(?!/)", last):
        raise InputError(url, "is no URL", "Write two slashes after the colon")
    return url if "://" in last else f"{chain}{link}{Path(last).expanduser().absolute()}"


def read_bytes(url: str, limit: int | None = None) -> bytes:
    """Reads a whole file of at most `limit` bytes, or `MAX_BYTES`.

    Raises:
        InputError: unreachable, missing, a folder, or larger than `limit`.
    """
    limit = MAX_BYTES if limit is None else limit
    try:
        if "::" in url:  # in an archive, whose directory says what a member unpacks to
            fs, path = fsspec.core.url_to_fs(url)
            if (fs.info(path).get("size") or 0) > limit:
                raise _too_large(url, limit)
        with fsspec.open(url, "rb") as file:
            data: bytes = file.read(limit + 1)
    except InputError:
        raise
    except IsADirectoryError as error:
        raise InputError(url or "an empty path", "is a folder", "Name a file") from error
    except FileNotFoundError as error:
        # fsspec's HTTP says this of an unreachable server too, and keeps the reason as the cause.
        if isinstance(error.__cause__, OSError):
            raise _refusal(url, "read", error.__cause__) from error
        raise InputError(url, "no such file", "Check the path or URL") from error
    except Exception as error:
        raise _refusal(url, "read", error) from error
    if len(data) > limit:
        raise _too_large(url, limit)
    return data


def _too_large(url: str, limit: int) -> InputError:
    return InputError(url, f"is larger than {limit / 2**20:g} MiB", "Name the right file")


def write_whole(url: str, data: bytes) -> None:
    """Writes a file, and the folders above it, so that readers see the old one or the whole new one.

    Raises:
        InputError: the place cannot be written to.
    """
    try:
        fs, path = fsspec.core.url_to_fs(url)
        folder, _, name = path.rpartition("/")
        fs.makedirs(folder, exist_ok=True)
        if not isinstance(fs, LocalFileSystem):
            # An object store shows an object only when it is whole.
            fs.pipe_file(path, data)
            return
        partial = Path(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except Exception as error:
        raise _refusal(url, "written", error, "free some space, or choose another place") from error


def list_files(url: str, suffix: str) -> list[str]:
    """Lists the files ending in `suffix` directly under a folder URL, sorted; [] where there are none."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
        found = [fs.unstrip_protocol(p) for p in fs.ls(path, detail=False) if p.endswith(suffix)]
    except FileNotFoundError as error:
        raise InputError(url, "no such folder", "Check the path or URL") from error
    except Exception as error:
        raise _refusal(url, "listed", error) from error
    return sorted(str(p) for p in found)


def list_versions(url: str, suffix: str) -> list[list[str]]:
    """Lists the same files with what the file system says of their versions, never from a cache."""
    fields = ("size", "mtime", "ETag", "etag", "md5Hash", "CRC", "LastModified", "last_modified")
    try:
        fs, path = fsspec.core.url_to_fs(url)
        fs.invalidate_cache(path)
        rows = [row for row in fs.ls(path, detail=True) if row["name"].endswith(suffix)]
    except FileNotFoundError as error:
        raise InputError(url, "no such folder", "Check the path or URL") from error
    except Exception as error:
        raise _refusal(url, "listed", error) from error
    return sorted([str(row["name"]), *(str(row.get(field)) for field in fields)] for row in rows)


def _refusal(url: str, done: str, error: BaseException, also: str = "") -> InputError:
    """Quotes whatever a file system raised: each has its own exceptions (botocore's, zipfile's, aiohttp's)."""
    why = str(error) or type(error).__name__
    remedy = "Check the URL, the network and the credentials"
    return InputError(url, f"cannot be {done} ({why})", f"{remedy}, {also}" if also else remedy)


def digest(data: bytes | memoryview) -> str:
    """Returns the sha256 of bytes in hex: the identity of every input."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def local_copy(data: bytes, suffix: str) -> Iterator[Path]:
    """Lends the bytes as a private local file, for libraries that only open paths."""
    handle, name = tempfile.mkstemp(suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def cache_folder() -> Path:
    """Returns where this user's caches lie (XDG base directories), which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kineforge"

"""Reads the files of an asset pack: a folder, or a zip, at any fsspec URL. Nothing is unpacked to disk or executed.

A pack is a stranger's: names that climb are refused, and sizes are bounded before anything is read.
"""

import posixpath
import threading
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from schemas import files
from schemas.errors import InputError, changed
from schemas.untrusted import check_path

KINDS = ("clothes", "hair", "skins")
LIMITS = {
    ".mhclo": 16 * 1024**2,
    ".obj": 64 * 1024**2,
    ".mhmat": 256 * 1024,
    ".png": 64 * 1024**2,
    ".jpg": 64 * 1024**2,
    ".jpeg": 64 * 1024**2,
}
"""The files that are read at all, and the most bytes that one may have."""
MAX_FILES = 20_000
_VERSION = ("size", "mtime", "ETag", "etag", "md5Hash", "CRC", "LastModified", "last_modified")
_REMEDY = "Name the folder or zip that holds clothes/, hair/ and skins/ in MakeHuman's layout"
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PackFiles:
    """The readable files of one version of a pack, by their path from clothes/, hair/ or skins/ on."""

    url: str
    places: dict[str, str]
    """Path in the pack -> path in the file system or archive."""
    versions: dict[str, str]
    """Path -> what the file system says of its version."""
    archive: zipfile.ZipFile | None = field(default=None, repr=False)

    def read(self, path: str) -> bytes:
        """Reads one file.

        Raises:
            InputError: missing, unreadable, or larger than one of its kind may be.
        """
        place, limit = self.places.get(path), LIMITS[posixpath.splitext(path)[1].lower()]
        if place is None:
            raise InputError(f"{self.url}/{path}", "no such file", "Complete the pack")
        if self.archive is None:
            return files.read_bytes(place, limit)
        try:
            with _LOCK, self.archive.open(place) as member:
                data = member.read(limit + 1)
        except Exception as error:  # zipfile raises its own, zlib's and the file system's
            raise InputError(
                f"{self.url}/{path}", f"cannot be read ({error})", "Pack the zip anew"
            ) from error
        if len(data) > limit:
            raise _too_large(f"{self.url}/{path}", limit)
        return data

    def digest(self, path: str) -> str:
        """Returns the sha256 of a file; reads it once a version and process."""
        return _digest(self.url, path, self.versions[path], _Held(self))

    def read_same(self, path: str) -> bytes:
        """Reads one file, and refuses it where it is no longer what `digest` said."""
        data = self.read(path)
        if files.digest(data) != self.digest(path):
            raise changed(f"{self.url}/{path}")
        return data


class _Held:
    """Hands files past a cache: all are equal."""

    def __init__(self, files_: PackFiles) -> None:
        self.files = files_

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=65_536)
def _digest(url: str, path: str, version: str, held: _Held) -> str:
    return files.digest(held.files.read(path))


def list_pack(url: str) -> PackFiles:
    """Lists a pack as it is now.

    Raises:
        InputError: unreachable, too many files, a file too large, or a name that leads out of the pack.
    """
    head, link, archive = url.rpartition("::")
    if link and head.startswith("zip://"):
        return _list_zip(url, archive, head.removeprefix("zip://").strip("/"))
    return _list_zip(url, url, "") if url.lower().endswith(".zip") else _list_folder(url)


def _list_folder(url: str) -> PackFiles:
    try:
        fs, root = fsspec.core.url_to_fs(url)
        fs.invalidate_cache(root)
        if not fs.isdir(root):
            raise InputError(url, "no such folder", _REMEDY)
        rows: dict[str, Any] = {}
        for kind in KINDS:
            if fs.isdir(f"{root.rstrip('/')}/{kind}"):
                rows |= fs.find(f"{root.rstrip('/')}/{kind}", detail=True)
    except InputError:
        raise
    except Exception as error:  # every file system has its own
        raise InputError(url, f"cannot be listed ({error})", _REMEDY) from error
    if isinstance(fs, LocalFileSystem):
        _refuse_links_out(url, root, rows)
    inside = {name[len(root.rstrip("/")) + 1 :]: (name, info) for name, info in rows.items()}
    chosen = _chosen(url, {path: int(info.get("size") or 0) for path, (_, info) in inside.items()})
    return PackFiles(
        url=url,
        places={path: str(fs.unstrip_protocol(inside[path][0])) for path in chosen},
        versions={path: str([inside[path][1].get(key) for key in _VERSION]) for path in chosen},
    )


def _refuse_links_out(url: str, root: str, rows: dict[str, Any]) -> None:
    top = Path(root).resolve()
    for name, info in rows.items():
        if info.get("islink") and not Path(name).resolve().is_relative_to(top):
            raise InputError(name, f"is a link that leads out of {url}", "Copy the file there")


def _list_zip(url: str, archive_url: str, inner: str) -> PackFiles:
    try:
        fs, path = fsspec.core.url_to_fs(archive_url)
        fs.invalidate_cache(posixpath.dirname(path))
        info = fs.info(path)
        version = str([info.get(key) for key in _VERSION])
        archive = _open_zip(archive_url, version)
    except FileNotFoundError as error:
        raise InputError(archive_url, "no such file", _REMEDY) from error
    except Exception as error:  # zipfile's, the file system's
        raise InputError(archive_url, f"cannot be read as a zip ({error})", _REMEDY) from error
    members = {}
    for member in archive.infolist():
        name = member.filename
        if member.is_dir():
            continue
        check_path(archive_url, name)
        if inner and not name.startswith(inner + "/"):
            continue
        kept = _below_kind(name[len(inner) :].lstrip("/"))
        if kept:
            members[kept] = member
    chosen = _chosen(url, {path: member.file_size for path, member in members.items()})
    return PackFiles(
        url=url,
        places={path: members[path].filename for path in chosen},
        versions={path: f"{version} {members[path].CRC}" for path in chosen},
        archive=archive,
    )


@lru_cache(maxsize=2)
def _open_zip(url: str, version: str) -> zipfile.ZipFile:
    """Keeps one version of an archive open; members are read when they are needed."""
    return zipfile.ZipFile(fsspec.open(url, "rb").open())


def _below_kind(path: str) -> str:
    """Returns a path from its part `clothes`, `hair` or `skins` on: zips often hold one folder more; '' without."""
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts[:-1]) if part in KINDS), None)
    return "" if first is None else "/".join(parts[first:])


def _chosen(url: str, sizes: dict[str, int]) -> list[str]:
    """Returns the sorted paths that are read at all."""
    chosen = sorted(p for p in sizes if posixpath.splitext(p)[1].lower() in LIMITS)
    if len(chosen) > MAX_FILES:
        raise InputError(url, f"holds {len(chosen)} asset files, more than {MAX_FILES}", _REMEDY)
    for path in chosen:
        check_path(url, path)
        limit = LIMITS[posixpath.splitext(path)[1].lower()]
        if sizes[path] > limit:
            raise _too_large(f"{url}/{path}", limit)
    return chosen


def _too_large(what: str, limit: int) -> InputError:
    return InputError(what, f"is larger than {limit / 2**20:g} MiB", "Do not trust this pack")

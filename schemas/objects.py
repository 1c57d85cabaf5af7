"""The operations on an object store that Kineforge relies on; every store that obstore opens guarantees them.

What is relied on, and nothing else: a put or a create is seen whole or not at all; a create fails where the name is
taken; whoever was told that a write succeeded reads it back; a deleted name is gone. Listings may lag behind on some
stores: nothing that is only listed is trusted, and nothing that is not listed is taken for absent where it matters.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from schemas import files, untrusted
from schemas.errors import InputError

_SENT = re.compile(r"<Code>([^<]+)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_MEMORY: dict[str, MemoryStore] = {}


class Found(NamedTuple):
    """One listed object."""

    path: str
    size: int
    modified: datetime
    """By the store's own clock."""


class Objects(Protocol):
    """What a dataset's URL can do. Paths are relative to it; failures are InputErrors that name it."""

    def get(self, path: str) -> memoryview:
        """Reads one object; FileNotFoundError where there is none."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Writes one object whole, over what is there."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Writes one object if its name is free; says whether this call made it."""
        ...

    def delete(self, path: str) -> None:
        """Removes one object; no object is fine."""
        ...

    def listing(self, prefix: str) -> list[Found]:
        """Lists every object under a folder, sorted by path."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """Lists the names directly under a folder that are folders, sorted: one call per thousand."""
        ...


@functools.lru_cache(maxsize=64)
def open_objects(url: str) -> Objects:
    """Opens a store: a path, file://, s3://, gs://, az:// or memory:// (shared within this process).

    Raises:
        InputError: the URL names no store.
    """
    return ObjectStorage(url, _local_folder(url))


def _local_folder(url: str) -> Path | None:
    if "://" in url and not url.startswith("file://"):
        return None
    return Path(files.absolute(url.removeprefix("file://")))


@functools.lru_cache(maxsize=64)
def _backend(url: str) -> ObjectStore:
    try:
        if url.startswith("memory://"):
            return _MEMORY.setdefault(url, MemoryStore())
        if (folder := _local_folder(url)) is not None:
            return LocalStore(folder, mkdir=True)
        if url.startswith(("http://", "https://")):
            raise ValueError("over HTTP nothing can be listed or written")
        retry: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
        options: Any = {"timeout": "120s", "connect_timeout": "5s", "allow_http": True}
        store: ObjectStore = from_url(url, client_options=options, retry_config=retry)
    except (BaseError, OSError, ValueError) as error:
        raise InputError(
            url,
            f"is no store that can be opened ({_first_line(error)})",
            "Write a path, file://, "
            "s3://, gs://, az:// or memory:// URL and set the provider's usual environment variables",
        ) from error
    return store


def _first_line(error: BaseException) -> str:
    """Says what failed in one line: a store's own code and message where it sent them, else the library's words."""
    if sent := _SENT.search(str(error)):
        return f"{sent[1]}: {sent[2]}"[:300]
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _prune(folder: Path, path: str) -> None:
    """Removes the folders that a deletion left empty, as object stores have none; `folders` would list them.

    The topmost one stays: whoever writes beside it must not find it gone.
    """
    for parent in list(Path(path).parents)[:-2]:
        try:
            (folder / parent).rmdir()
        except OSError:  # not empty, or gone
            return


@dataclass(frozen=True)
class ObjectStorage:
    """`Objects` by obstore; opens at the first use, so that reading makes no folder."""

    url: str
    folder: Path | None

    @property
    def _store(self) -> ObjectStore:
        return _backend(self.url)

    @property
    def _absent(self) -> bool:
        return self.folder is not None and not self.folder.is_dir()

    def _check(self, path: str) -> None:
        """Refuses names and links that lead out of the dataset."""
        untrusted.check_path(self.url, path)
        if self.folder is not None:
            untrusted.check_links(self.folder, path)

    @contextmanager
    def _guard(self, action: str) -> Iterator[None]:
        """Turns a store's failure into one paragraph; a missing or taken name stays what it is."""
        try:
            yield
        except (FileNotFoundError, AlreadyExistsError):
            raise
        except (BaseError, OSError) as error:
            raise InputError(
                self.url,
                f"the store failed to {action} ({_first_line(error)})",
                "Check the URL, the credentials, the network and the free space, then run the same "
                "command again: finished shards are kept",
            ) from error

    def get(self, path: str) -> memoryview:
        """Reads one object; FileNotFoundError where there is none."""
        self._check(path)
        if self._absent:
            raise FileNotFoundError(f"{self.url}/{path}")
        with self._guard(f"read {path}"):
            try:
                found = obstore.get(self._store, path)
            except FileNotFoundError:  # whose own words run over twenty lines
                raise FileNotFoundError(f"{self.url}/{path}") from None
            untrusted.check_size(self.url, path, found.meta["size"])
            return memoryview(found.bytes())

    def put(self, path: str, data: bytes) -> None:
        """Writes one object whole, over what is there."""
        self._check(path)
        with self._guard(f"write {path}"):
            obstore.put(self._store, path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Writes one object if its name is free; says whether this call made it."""
        self._check(path)
        with self._guard(f"create {path}"):
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

    def delete(self, path: str) -> None:
        """Removes one object; no object is fine."""
        self._check(path)
        with self._guard(f"delete {path}"):
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                return
        if self.folder is not None:
            _prune(self.folder, path)

    def listing(self, prefix: str) -> list[Found]:
        """Lists every object under a folder, sorted by path."""
        if self._absent:
            return []
        with self._guard(f"list {prefix}"):
            found = [o for batch in obstore.list(self._store, prefix or None) for o in batch]
        above = {o["path"].rpartition("/")[0] for o in found} if self.folder else set()
        for path in above - {""}:
            self._check(path)  # a linked folder's content would be listed as the dataset's own
        return sorted(Found(o["path"], o["size"], o["last_modified"]) for o in found)

    def folders(self, prefix: str) -> list[str]:
        """Lists the names directly under a folder that are folders, sorted: one call per thousand."""
        if self._absent:
            return []
        self._check(prefix)
        with self._guard(f"list {prefix}"):
            found = obstore.list_with_delimiter(self._store, prefix)
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

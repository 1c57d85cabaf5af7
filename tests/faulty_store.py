"""An object store that fails on command: every operation is numbered, recorded and may meet one fault.

What is modelled is what the backends can do. obstore writes objects whole, so a torn write only happens to a new name
of a file system that lost its power: the name is there, the content is cut short, and the writer is dead.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

import pytest

from schemas import objects
from schemas.errors import InputError
from schemas.objects import Found, Objects

T = TypeVar("T")
Fault = Literal[
    "crash before",
    "crash after",
    "interrupted",
    "lost acknowledgement",
    "refused",
    "torn write",
    "applied twice",
    "applied again later",
    "stale listing",
]
_WRITES = ("put", "create", "delete")
_LISTINGS = ("listing", "folders")
APPLIES: dict[Fault, tuple[str, ...]] = {
    "crash before": ("get", *_LISTINGS, *_WRITES),
    "crash after": _WRITES,  # after a read is before the next operation
    "interrupted": ("get", *_LISTINGS, *_WRITES),  # Ctrl-C: the client lives and may tidy up
    "lost acknowledgement": ("get", *_LISTINGS, *_WRITES),
    "refused": ("get", *_LISTINGS, *_WRITES),
    "torn write": ("put", "create"),
    "applied twice": _WRITES,
    "applied again later": _WRITES,
    "stale listing": _LISTINGS,
}


class Crash(BaseException):
    """The process dies here. No Exception, so that nothing in between can catch it."""


class Operation(NamedTuple):
    """One call, as it was made."""

    number: int
    name: str
    path: str


class FaultyObjects:
    """`Objects` over a real store, for one or several clients in this process.

    Attributes:
        faults: what happens to the operation of that number; numbers count from 1.
        lag: how many of the last writes no listing shows yet.
        before: called before every operation, where a scheduler may switch to another client.
        after: called after every operation that reached the store; free to read through `quiet`.
    """

    def __init__(self, real: Objects) -> None:
        self.real = real
        self.operations: list[Operation] = []
        self.faults: Mapping[int, Fault] = {}
        self.lag = 0
        self.before: Callable[[Operation], None] = lambda operation: None
        self.after: Callable[[Operation], None] = lambda operation: None
        self.later: list[Callable[[], Any]] = []
        self._writes: list[tuple[str, Found | None]] = []
        """Path of every write that changed what is listed, and what was listed there before."""
        self._quiet = False
        self._dead: set[int] = set()
        """Threads whose client crashed: nothing that they still try reaches the store."""

    def crash(self, operation: Operation) -> Crash:
        """Lets the calling client die; raise what is returned."""
        self._dead.add(threading.get_ident())
        return Crash(operation)

    def catch_up(self) -> None:
        """Lets listings show all that was written so far, whatever the lag."""
        self._writes.clear()

    def alive(self) -> None:
        """Lets the next client begin, after a crash."""
        self._dead.clear()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Lets calls through unnumbered and unharmed: another, faultless client's view."""
        held, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = held

    def get(self, path: str) -> memoryview:
        """Reads one object."""
        return self._call("get", path, lambda: self.real.get(path))

    def put(self, path: str, data: bytes) -> None:
        """Writes one object."""
        self._call("put", path, lambda: self.real.put(path, data), data)

    def create(self, path: str, data: bytes) -> bool:
        """Writes one object if its name is free."""
        return self._call("create", path, lambda: self.real.create(path, data), data)

    def delete(self, path: str) -> None:
        """Removes one object."""
        self._call("delete", path, lambda: self.real.delete(path))

    def listing(self, prefix: str) -> list[Found]:
        """Lists a folder."""
        return self._call("listing", prefix, lambda: self._stale(prefix, self.lag))

    def folders(self, prefix: str) -> list[str]:
        """Lists the folders of a folder."""
        return self._call("folders", prefix, lambda: self._folders(prefix, self.lag))

    def _call(self, name: str, path: str, act: Callable[[], T], data: bytes = b"") -> T:
        if self._quiet:
            return act()
        operation = Operation(len(self.operations) + 1, name, path)
        if threading.get_ident() in self._dead:
            raise Crash(operation)
        self.operations.append(operation)
        self.before(operation)
        fault = self.faults.get(operation.number)
        assert fault is None or name in APPLIES[fault], f"{fault} cannot happen to {operation}"
        if fault == "crash before":
            raise self.crash(operation)
        if fault == "interrupted":
            raise KeyboardInterrupt
        if fault == "refused":
            raise _refused(operation)
        if fault == "stale listing":
            act = self._all_stale(operation)
        writes = name in _WRITES
        before = self._listed(path) if writes else None
        if fault == "torn write":
            if before is None:
                self.real.put(path, data[: len(data) // 2])
            self._record(path, before)
            raise self.crash(operation)
        result = act()
        if fault == "applied twice":
            result = act()
        if writes:
            self._record(path, before)
        if fault == "applied again later":
            self.later.append(act)
        with self.quiet():
            self.after(operation)
        if fault == "crash after":
            raise self.crash(operation)
        if fault == "lost acknowledgement":
            raise _refused(operation)
        return result

    def _record(self, path: str, before: Found | None) -> None:
        if (before is None) != (self._listed(path) is None):
            self._writes.append((path, before))

    def _listed(self, path: str) -> Found | None:
        try:
            size = len(self.real.get(path))
        except FileNotFoundError:
            return None
        return Found(path, size, datetime.now(UTC))

    def _all_stale(self, operation: Operation) -> Callable[[], Any]:
        """Answers as if nothing that was written here had reached the index yet."""
        look = self._stale if operation.name == "listing" else self._folders
        return lambda: look(operation.path, len(self._writes))

    def _stale(self, prefix: str, lag: int) -> list[Found]:
        found = {f.path: f for f in self.real.listing(prefix)}
        for path, before in reversed(self._writes[max(0, len(self._writes) - lag) :]):
            found.pop(path, None)
            if before is not None and path.startswith(f"{prefix}/" if prefix else ""):
                found[path] = before
        return sorted(found.values())

    def _folders(self, prefix: str, lag: int) -> list[str]:
        if not lag:
            return self.real.folders(prefix)
        inside = (f.path[len(prefix) :].lstrip("/") for f in self._stale(prefix, lag))
        return sorted({rest.split("/")[0] for rest in inside if "/" in rest})


def _refused(operation: Operation) -> InputError:
    return InputError(
        "faulty://",
        f"the store failed to {operation.name} {operation.path} (503 Slow Down)",
        "Run the same command again",
    )


def install(patch: pytest.MonkeyPatch, url: str) -> FaultyObjects:
    """Puts a faulty store in front of the real one at `url`; every other URL stays as it is."""
    opened = objects.open_objects
    store = FaultyObjects(opened(url))
    patch.setattr(objects, "open_objects", lambda asked: store if asked == url else opened(asked))
    return store

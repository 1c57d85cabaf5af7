"""A store that records every call and can fail, skew its clock or hide what it lists."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from schemas import objects
from schemas.objects import Found, Objects


class Crash(BaseException):
    """The process ends here; no handler of ordinary errors sees it."""


@dataclass
class Wrapped:
    """`Objects` around the real ones. Set `before`, `after`, `hidden` and `skew` to misbehave."""

    url: str
    inner: Objects
    calls: list[tuple[str, str]] = field(default_factory=list)
    skew: timedelta = timedelta(0)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def nothing(name: str, path: str) -> None:
        """Does nothing before or after a call."""

    before: Callable[[str, str], None] = nothing
    after: Callable[[str, str], None] = nothing
    hidden: Callable[[str], bool] = field(default=lambda path: False)

    def _around(self, name: str, path: str, call: Callable[[], object]) -> object:
        self.before(name, path)
        with self.lock:
            self.calls.append((name, path))
        result = call()
        self.after(name, path)
        return result

    def get(self, path: str) -> memoryview:
        return self._around("get", path, lambda: self.inner.get(path))  # type: ignore[return-value]

    def put(self, path: str, data: bytes) -> None:
        self._around("put", path, lambda: self.inner.put(path, data))

    def create(self, path: str, data: bytes) -> bool:
        return self._around("create", path, lambda: self.inner.create(path, data))  # type: ignore[return-value]

    def delete(self, path: str) -> None:
        self._around("delete", path, lambda: self.inner.delete(path))

    def listing(self, prefix: str) -> list[Found]:
        found: list[Found] = self._around("listing", prefix, lambda: self.inner.listing(prefix))  # type: ignore[assignment]
        return [
            entry._replace(modified=entry.modified + self.skew)
            for entry in found
            if not self.hidden(entry.path)
        ]

    def folders(self, prefix: str) -> list[str]:
        return self._around("folders", prefix, lambda: self.inner.folders(prefix))  # type: ignore[return-value]

    def wait_for_call(self, name: str, ending: str) -> None:
        """Waits until an object whose path ends so was called for."""
        deadline = time.monotonic() + 120
        while not any(call == name and path.endswith(ending) for call, path in list(self.calls)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} of …{ending} was never called")
            time.sleep(0.005)

    def wait_for(self, name: str, count: int) -> None:
        """Waits until a call was made so often."""
        deadline = time.monotonic() + 120
        while sum(call == name for call, _ in self.calls) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} was called fewer than {count} times")
            time.sleep(0.005)


def wrap(monkeypatch: pytest.MonkeyPatch, url: str) -> Wrapped:
    """Puts a wrapper around the store of one URL, wherever it is opened."""
    opened = objects.open_objects
    wrapped = Wrapped(url, opened(url))

    def open_objects(other: str) -> Objects:
        return wrapped if other == url else opened(other)

    monkeypatch.setattr(objects, "open_objects", open_objects)
    return wrapped

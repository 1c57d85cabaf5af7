"""Texts that wait on disk until somebody asks for them, in a file without a name."""

import contextlib
import os
import tempfile
import threading
from typing import IO


class Spool:
    """A temporary file that is gone with the last text in it; safe in threads."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lock = threading.Lock()

    def keep(self, text: str) -> "str | Kept":
        """Puts a text aside; returns the text itself where there is no room for it on disk."""
        data = text.encode()
        with self._lock, contextlib.suppress(OSError):
            if self._file is None:
                # Without a buffer, which a forked process would write a second time.
                self._file = tempfile.TemporaryFile(buffering=0, prefix="kineforge-")  # noqa: SIM115
            if os.pwrite(self._file.fileno(), data, self._end) == len(data):
                kept = Kept(self, self._end, len(data))
                self._end += len(data)
                return kept
        return text

    def read(self, start: int, size: int) -> str:
        """Returns the text of `size` bytes from `start`."""
        if self._file is None:
            raise ValueError("an empty spool")
        return os.pread(self._file.fileno(), size, start).decode()


class Kept:
    """A text in a spool."""

    __slots__ = ("_size", "_spool", "_start")

    def __init__(self, spool: Spool, start: int, size: int) -> None:
        self._spool, self._start, self._size = spool, start, size

    def read(self) -> str:
        """Returns the text."""
        return self._spool.read(self._start, self._size)

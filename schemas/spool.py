"""Texts that wait until somebody asks for them: packed in memory, or on disk in a file without a name."""

import contextlib
import os
import tempfile
import threading
import zlib
from typing import IO


class Spool:
    """A temporary file that is gone with the last text in it; safe in threads."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lock = threading.Lock()

    def keep(self, text: str) -> "Kept | Packed":
        """Puts a text aside, in memory where there is no room for it on disk."""
        data = text.encode()
        with self._lock, contextlib.suppress(OSError):
            if self._file is None:
                # Without a buffer, which a forked process would write a second time.
                self._file = tempfile.TemporaryFile(buffering=0, prefix="kineforge-")  # noqa: SIM115
            if os.pwrite(self._file.fileno(), data, self._end) == len(data):
                kept = Kept(self, self._end, len(data))
                self._end += len(data)
                return kept
        return Packed(text)

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


class Packed:
    """A text in memory, in a third of its bytes."""

    __slots__ = ("_data",)

    def __init__(self, text: str) -> None:
        self._data = zlib.compress(text.encode(), 1)

    def read(self) -> str:
        """Returns the text."""
        return zlib.decompress(self._data).decode()

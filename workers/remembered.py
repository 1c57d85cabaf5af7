"""Remembers the digests of local files, as git's index does, so that planning need not read every picture again.

A digest counts for as long as the file's device, inode, size, and times of change of content and of status stay as
they were. A file that changed within `_SETTLED_NS` before it was read is not remembered: its clock may tick too
coarsely to show the next change. The memory is a cache: lost, broken or unwritable, it only costs time.
"""

import functools
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)
_SETTLED_NS = 2_000_000_000
_TABLE = "CREATE TABLE IF NOT EXISTS pictures (path TEXT PRIMARY KEY, state TEXT, identity TEXT)"


class Remembered:
    """Digests of files by path, in one SQLite file that processes share; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._memory: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit in WAL mode: a killed process leaves a sound file, and readers do not wait for a writer.
            self._memory = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._memory.execute("PRAGMA journal_mode=WAL")
            self._memory.execute("PRAGMA synchronous=NORMAL")
            self._memory.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            self._forget(error)

    def recall(self, path: str) -> str:
        """Returns what was remembered of a file, "" where it changed since or is not known."""
        rows = self._ask(
            "SELECT identity FROM pictures WHERE path = ? AND state = ?", (path, state(path))
        )
        return str(rows[0][0]) if rows else ""

    def remember(self, path: str, before: str, identity: str) -> None:
        """Keeps what identifies the content of a file whose `state` was `before` when its reading began."""
        if before and state(path) == before and _settled(path):
            self._ask("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", (path, before, identity))

    def _ask(self, question: str, values: tuple[str, ...]) -> list[tuple[str]]:
        with self._lock:
            if self._memory is None:
                return []
            try:
                return self._memory.execute(question, values).fetchall()
            except sqlite3.Error as error:
                self._forget(error)
                return []

    def _forget(self, error: Exception) -> None:
        log.debug("digests of local files are not remembered: %s", error)
        self._memory = None


def state(path: str) -> str:
    """Returns what changes when a local file does, without reading it; "" where it cannot be looked at."""
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return ""
    fields = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return ":".join(map(str, fields))


def _settled(path: str) -> bool:
    now = os.stat(path)
    return time.time_ns() - max(now.st_mtime_ns, now.st_ctime_ns) > _SETTLED_NS


@functools.lru_cache(maxsize=1)
def pictures(cache: Path) -> Remembered:
    """Returns the memory of pictures in a cache folder, opened once a process."""
    return Remembered(cache / "pictures.sqlite")


# A connection must not be used on both sides of a fork.
os.register_at_fork(after_in_child=pictures.cache_clear)

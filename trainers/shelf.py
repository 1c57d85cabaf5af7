"""Reads whole shards ahead of need, each checked against its digests, and keeps as many as a bound allows.

A shard that somebody waits for longer than others took is asked for a second time, and whichever answer comes first
counts ("The Tail at Scale", Dean and Barroso 2013): one slow connection then does not hold up a run.
"""

import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from trainers.corpus import Shard

READERS = 16
_HEDGE_LEAST_SECONDS, _HEDGE_FACTOR, _REMEMBERED = 1.0, 4.0, 32


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One shard in memory."""

    jpegs: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    arrays: dict[str, NDArray[Any]]


class Shelf:
    """Shards read or being read, the least recently used dropped first. `get` belongs to one thread."""

    def __init__(self, shards: Sequence[Shard], names: Sequence[str], limit: int) -> None:
        """Keeps shards up to `limit` bytes of what is stored, but always the one asked for last."""
        self.shards, self.names, self.limit = shards, tuple(dict.fromkeys(names)), limit
        self._held: OrderedDict[int, Future[Loaded]] = OrderedDict()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="shards")
        self._spare = ThreadPoolExecutor(READERS, thread_name_prefix="spare")
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def get(self, number: int) -> "Future[Loaded]":
        """Asks for a shard, or returns the standing request."""
        if number not in self._held:
            self._held[number] = self._pool.submit(self._read, number)
            self._bytes += self.shards[number].bytes
            while self._bytes > self.limit and len(self._held) > 1:
                dropped, _ = self._held.popitem(last=False)
                self._bytes -= self.shards[dropped].bytes
        self._held.move_to_end(number)
        return self._held[number]

    def result(self, number: int, request: "Future[Loaded]") -> Loaded:
        """Waits for a request in any thread, and asks a second time where it takes too long.

        Raises:
            InputError: the shard vanished, is damaged, or the store failed.
        """
        done, _ = wait([request], timeout=self._patience())
        if done:
            return request.result()
        second = self._spare.submit(self._read, number)
        done, waiting = wait([request, second], return_when=FIRST_COMPLETED)
        first = done.pop()
        if first.exception() is not None and waiting:
            first = waiting.pop()
        return first.result()

    def _patience(self) -> float:
        with self._lock:
            usual = statistics.median(self._took) if self._took else 0.0
        return max(_HEDGE_LEAST_SECONDS, _HEDGE_FACTOR * usual)

    def _read(self, number: int) -> Loaded:
        started = time.monotonic()
        loaded = _read(self.shards[number], number, self.names)
        with self._lock:
            self._took.append(time.monotonic() - started)
        return loaded


def _read(shard: Shard, number: int, names: Sequence[str]) -> Loaded:
    arrays = read_shard(shard, ("image", "image_offset", *names))
    jpegs, offsets = arrays.pop("image"), arrays.pop("image_offset")
    own = -1 - (number * 2**32 + np.arange(shard.rows, dtype=np.int64))
    arrays["picture"] = arrays["group_id"] if shard.photos else own
    return Loaded(jpegs=jpegs, offsets=offsets, arrays=arrays)


def read_shard(shard: Shard, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Reads arrays of a shard, "sample_id" among them, checked against its digests and its number of samples.

    Raises:
        InputError: it vanished, is damaged, or the store failed.
    """
    where = f"shard {shard.action_key}{f' of {shard.origin}' if shard.origin else ''}"
    try:
        arrays = shard.store.read_arrays(shard.action_key, names, shard.root)
    except FileNotFoundError as error:
        raise InputError(
            where,
            "vanished from the store (deleted by gc or by hand)",
            "Build the dataset again, which makes what is missing, or train on its newest state",
        ) from error
    offsets = arrays.get("image_offset")
    rows = len(arrays["sample_id"]) if offsets is None else len(offsets) - 1
    if rows != shard.rows:
        why = f"holds {rows} samples, and the manifest says {shard.rows}"
        raise InputError(where, why, "Build the dataset again")
    return arrays

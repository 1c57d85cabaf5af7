"""Windows of consecutive frames for nets that look at time: labels only, centred, never across clips.

Every sample is the centre of one window. Where a window reaches beyond its clip, the clip's first or last frame is
repeated and the mask says so. A clip is a run of frames of one subject and one motion, numbered one by one and evenly
spaced in time; a frame that the build refused ends it. A subject's frames lie in one shard, so a window needs only
that shard. The order is that of `trainers.order`: a pure function of (data, seed, epoch).

Legend: n windows, l frames in each, r rows of a shard.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.training import Streaming
from trainers import order
from trainers.corpus import Corpus, Shard
from trainers.shelf import read_shard

T = TypeVar("T")
Ints = NDArray[np.int64]
_READERS = 8
_AHEAD_STEPS = 16
"""Beyond those in flight whose shards are already asked for."""
_MARKS = ("sample_id", "group_id", "motion_id", "time")
_SLOWEST = 0.1
"""Seconds: frames further apart than this are no clip. Random poses carry whole seconds."""
_UNEVEN = 0.01
"""Largest difference of a step from the run's usual one, as a share of it."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of one step."""

    arrays: Mapping[str, NDArray[Any]]
    """The arrays asked for, (n, l, …), as `schemas.layout.ARRAYS` describes a row."""
    mask: NDArray[np.bool_]
    """(n, l): True where a frame is itself, False where it repeats the clip's first or last."""
    rows: order.Rows
    """(n,) row numbers of the centres in the corpus."""


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    arrays: dict[str, NDArray[Any]]
    first: Ints
    """(r,) the first row of each row's clip."""
    last: Ints


@dataclass(frozen=True, kw_only=True)
class WindowStream:
    """The windows of a corpus. Immutable; every iteration starts where it is told to."""

    corpus: Corpus
    arrays: tuple[str, ...]
    batch: int
    seed: int
    options: Streaming
    length: int = 243
    stride: int = 1
    """Every so many rows of a shard are centres."""
    shuffle: bool = True
    last: Literal["drop", "keep"] = "drop"

    def __post_init__(self) -> None:
        """Refuses what has no windows.

        Raises:
            InputError: it has none.
        """
        if self.length < 1 or self.length % 2 == 0:
            raise InputError(f"length={self.length}", "has no centre", "Write an odd number")
        if self.stride < 1:
            raise InputError(f"stride={self.stride}", "takes no step", "Write 1 or more")
        if {"image", "image_offset"} & set(self.arrays):
            raise InputError("image", "is no label", "Stream pictures with SampleStream")
        if self.corpus.weights:
            raise InputError("stream.mix", "mixes no windows", "Join the datasets without it")

    @property
    def count(self) -> int:
        """Returns the windows of one epoch."""
        return int(self._counts.sum())

    @property
    def steps(self) -> int:
        """Returns the steps of one epoch."""
        return self.sequence.steps

    @cached_property
    def sequence(self) -> order.Order:
        """Returns the order of the windows, as their numbers."""
        source = order.Source(
            shard_rows=tuple(self._counts.tolist()),
            identity=self.corpus.identity,
            seed=self.seed,
            lanes=min(self.options.lanes, self.batch) if self.shuffle else 1,
            window=self.options.window if self.shuffle else 0,
        )
        return order.Order(sources=(source,), weights=(1.0,), batch=self.batch, last=self.last)

    @cached_property
    def _counts(self) -> Ints:
        rows = np.array([s.rows for s in self.corpus.shards], dtype=np.int64)
        return np.asarray(-(-rows // self.stride))

    @cached_property
    def _first_rows(self) -> Ints:
        rows = np.array([s.rows for s in self.corpus.shards], dtype=np.int64)
        return np.asarray(np.cumsum(rows) - rows)

    @cached_property
    def _first_windows(self) -> Ints:
        return np.asarray(np.cumsum(self._counts) - self._counts)

    def batches(
        self,
        epoch: int,
        finish: Callable[[Windows], T],
        *,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[tuple[int, T]]:
        """Yields (size of the global batch, this rank's share of it through `finish`), in order.

        Args:
            epoch: counts from 0.
            finish: turns windows into what the caller wants; called in threads, several at once.
            first_step: where to begin; nothing before it is read.
            rank: this process.
            world: all of them.

        Raises:
            InputError: a shard vanished, or holds other bytes than were written.
        """
        shelf, threads = self._shelf, self.options.threads
        pool = ThreadPoolExecutor(threads, thread_name_prefix="windows")
        planned: deque[tuple[int, order.Rows, list[int]]] = deque()
        flying: deque[tuple[int, Future[T]]] = deque()

        def plan(step: int) -> None:
            whole = self.sequence.batch_rows(epoch, step)
            numbers = whole[order.share(len(whole), rank, world)]
            # A rank without a window still needs the arrays' shapes, so it looks into the first shard.
            needed = np.unique(self._owners(numbers)).tolist() or [0]
            for shard in needed:
                shelf.get(shard)
            planned.append((len(whole), numbers, needed))

        def submit() -> None:
            size, numbers, needed = planned.popleft()
            loaded = {s: shelf.get(s) for s in needed}
            flying.append((size, pool.submit(lambda: finish(self._gather(numbers, loaded)))))

        try:
            for step in range(first_step, self.steps):
                plan(step)
                if len(planned) > _AHEAD_STEPS:
                    submit()
                if len(flying) > threads:
                    size, future = flying.popleft()
                    yield size, future.result()
            while planned or flying:
                while planned and len(flying) <= threads:
                    submit()
                size, future = flying.popleft()
                yield size, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _shelf(self) -> "_Shelf":
        names = tuple(dict.fromkeys((*_MARKS, *self.arrays)))
        rows = sum(s.rows for s in self.corpus.shards) / len(self.corpus.shards)
        # Two shards a lane are open at a time, and those of the steps ahead.
        least = self.sequence.sources[0].lanes * (3 + int(self.options.window * self.stride / rows))
        return _Shelf(self.corpus.shards, names, least, self.options.cache_mb * 2**20)

    def _owners(self, numbers: order.Rows) -> Ints:
        return np.asarray(np.searchsorted(self._first_windows, numbers, side="right") - 1)

    def _gather(self, numbers: order.Rows, loaded: Mapping[int, Future[_Loaded]]) -> Windows:
        shards = {s: future.result() for s, future in loaded.items()}
        owners = self._owners(numbers)
        centres = (numbers - self._first_windows[owners]) * self.stride
        reach = np.arange(self.length) - self.length // 2
        some = next(iter(shards.values())).arrays
        shape = (len(numbers), self.length)
        arrays = {n: np.empty((*shape, *some[n].shape[1:]), some[n].dtype) for n in self.arrays}
        mask = np.empty(shape, np.bool_)
        for s in np.unique(owners):
            shard, mine = shards[int(s)], np.flatnonzero(owners == s)
            wanted = centres[mine, None] + reach
            first, last = shard.first[centres[mine], None], shard.last[centres[mine], None]
            frames = np.clip(wanted, first, last)
            mask[mine] = frames == wanted
            for name, values in arrays.items():
                values[mine] = shard.arrays[name][frames]
        return Windows(arrays=arrays, mask=mask, rows=self._first_rows[owners] + centres)


def clips(marks: Mapping[str, NDArray[Any]]) -> tuple[Ints, Ints]:
    """Returns the first and the last row of each row's clip, (r,) each.

    Args:
        marks: "sample_id", "group_id", "motion_id", "time" (r,) of one shard, in its order. Times that are NaN, as
            photographs have, make every row a clip of its own.
    """
    time, rows = marks["time"], len(marks["time"])
    step = np.diff(time.astype(np.float64))
    linked = (step > 0) & (step <= _SLOWEST) & (np.diff(marks["sample_id"]) == 1)
    for name in ("group_id", "motion_id"):
        linked &= np.diff(marks[name]) == 0
    begins, ends = _runs(linked, rows)
    for begin, end in zip(begins, ends, strict=True):
        steps = step[begin:end]
        if len(steps):
            usual = np.median(steps)
            blur = 4 * np.spacing(np.abs(time[begin : end + 1]).max())
            linked[begin:end] = np.abs(steps - usual) <= _UNEVEN * usual + blur
    begins, ends = _runs(linked, rows)
    sizes = ends - begins + 1
    return np.repeat(begins, sizes), np.repeat(ends, sizes)


def _runs(linked: NDArray[np.bool_], rows: int) -> tuple[Ints, Ints]:
    """Returns the first and last rows of runs, where `linked` says whether a row goes on in the next."""
    breaks = np.flatnonzero(~linked)
    return np.append(0, breaks + 1)[:rows], np.append(breaks, rows - 1)[:rows]


class _Shelf:
    """Labels read or being read, the least recently used dropped first. Used from one thread."""

    def __init__(
        self, shards: tuple[Shard, ...], names: tuple[str, ...], least: int, limit: int
    ) -> None:
        self.shards, self.names, self.least, self.limit = shards, names, least, limit
        self.held: OrderedDict[int, Future[_Loaded]] = OrderedDict()
        self.pool = ThreadPoolExecutor(_READERS, thread_name_prefix="labels")

    def get(self, number: int) -> Future[_Loaded]:
        """Asks for a shard, or returns the standing request."""
        if number not in self.held:
            self.held[number] = self.pool.submit(_read, self.shards[number], self.names)
            while len(self.held) > self.least and self._bytes() > self.limit:
                self.held.popitem(last=False)
        self.held.move_to_end(number)
        return self.held[number]

    def _bytes(self) -> int:
        done = (f.result() for f in self.held.values() if f.done() and f.exception() is None)
        return sum(a.nbytes for loaded in done for a in loaded.arrays.values())


def _read(shard: Shard, names: tuple[str, ...]) -> _Loaded:
    arrays = read_shard(shard, names)
    first, last = clips(arrays)
    return _Loaded(arrays=arrays, first=first, last=last)

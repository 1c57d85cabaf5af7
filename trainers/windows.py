"""Windows of consecutive frames for nets that look at time: labels only, centred, never across clips.

Every sample is the centre of one window. Where a window reaches beyond its clip, the clip's first or last frame is
repeated and the mask says so. A clip is a run of frames of one subject and one motion, numbered one by one and evenly
spaced in time; a frame that the build refused ends it. A subject's frames lie in one shard, so a window needs only
that shard. The order is that of `trainers.order`: a pure function of (data, seed, epoch).

Legend: n windows, l frames in each, r rows of a shard.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.training import Streaming
from trainers import order
from trainers.corpus import Corpus, Shard
from trainers.shelf import Shelf, read_shard

T = TypeVar("T")
Ints = NDArray[np.int64]
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

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.first, self.last, *self.arrays.values()))


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one rank takes of one step."""

    size: int
    """Of the global batch."""
    rows: order.Rows
    """Numbers of windows."""
    shards: tuple[int, ...]


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
            cycle=self.batch,
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
        shares = (self._share(epoch, step, rank, world) for step in range(first_step, self.steps))
        return self._shelf.serve(
            shares,
            lambda share, loaded: finish(self._gather(share.rows, loaded)),
            ahead=_AHEAD_STEPS,
            threads=self.options.threads,
        )

    def _share(self, epoch: int, step: int, rank: int, world: int) -> "_Share":
        whole = self.sequence.batch_rows(epoch, step)
        numbers = whole[order.share(len(whole), rank, world)]
        # A rank without a window still needs the arrays' shapes, so it looks into the first shard.
        needed = np.unique(self._owners(numbers)).tolist() or [0]
        return _Share(size=len(whole), rows=numbers, shards=tuple(needed))

    @cached_property
    def _shelf(self) -> Shelf["_Loaded"]:
        shards = self.corpus.shards
        names = tuple(dict.fromkeys((*_MARKS, *self.arrays)))
        steps = _AHEAD_STEPS + self.options.threads + 2
        return Shelf(
            lambda number: _read(shards[number], names),
            self._counts.tolist(),
            least=self.sequence.sources[0].open_rows(steps),
            limit=self.options.cache_mb * 2**20,
        )

    def _owners(self, numbers: order.Rows) -> Ints:
        return np.asarray(np.searchsorted(self._first_windows, numbers, side="right") - 1)

    def _gather(self, numbers: order.Rows, shards: Mapping[int, _Loaded]) -> Windows:
        owners = self._owners(numbers)
        centres = (numbers - self._first_windows[owners]) * self.stride
        reach = np.arange(self.length) - self.length // 2
        some = next(iter(shards.values())).arrays
        shape = (len(numbers), self.length)
        arrays = {n: np.empty((*shape, *some[n].shape[1:]), some[n].dtype) for n in self.arrays}
        mask = np.empty(shape, np.bool_)
        edges = np.flatnonzero(np.diff(owners, prepend=-1, append=-1)).tolist()
        for a, b in pairwise(edges):
            shard, mine = shards[int(owners[a])], centres[a:b]
            wanted = mine[:, None] + reach
            frames = np.clip(wanted, shard.first[mine, None], shard.last[mine, None])
            np.equal(frames, wanted, out=mask[a:b])
            for name, values in arrays.items():
                # Straight into its place, which other ways of indexing copy twice.
                np.take(shard.arrays[name], frames, axis=0, out=values[a:b], mode="clip")
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


def _read(shard: Shard, names: tuple[str, ...]) -> _Loaded:
    arrays = read_shard(shard, names)
    first, last = clips(arrays)
    return _Loaded(arrays=arrays, first=first, last=last)

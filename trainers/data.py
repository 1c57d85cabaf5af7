"""Streams samples straight from shards on any store: threads only, no locks of ours, no files, O(1) state.

A thread pool reads whole shards ahead of need; another decodes and prepares batches, several in flight. What
comes out, and in which order, depends on neither.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.shards import generator
from schemas.training import Streaming
from trainers import order
from trainers.corpus import Corpus, Shard
from trainers.task import UNIFORMS, Batch

T = TypeVar("T")
_READERS = 8
_HORIZON = 8
"""Steps beyond those in flight whose shards are already asked for."""
_MAX_PIXELS = 4096 * 4096
"""Of one stored crop; recipes make at most 2048 x 2048."""
_ALWAYS = ("sample_id", "group_id")


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    jpegs: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class SampleStream:
    """The batches of a corpus. Immutable; every iteration starts where it is told to."""

    corpus: Corpus
    arrays: tuple[str, ...]
    batch: int
    seed: int
    options: Streaming
    shuffle: bool = True
    drop_last: bool = True

    @property
    def steps(self) -> int:
        """Returns the steps of one epoch."""
        return order.steps(self.corpus.rows, self.batch, self.drop_last)

    @property
    def lanes(self) -> int:
        """Returns C: never more lanes than samples in a batch; one where the order is the stored one."""
        return min(self.options.lanes, self.batch) if self.shuffle else 1

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        counts = np.array([s.rows for s in self.corpus.shards], dtype=np.int64)
        starts: NDArray[np.int64] = np.cumsum(counts) - counts
        return starts

    def sequence(self, epoch: int) -> order.Rows:
        """Returns the order of one epoch as row numbers of the corpus."""
        if not self.shuffle:
            return np.arange(self.corpus.rows, dtype=np.int64)
        return order.epoch_sequence(
            [s.rows for s in self.corpus.shards],
            identity=self.corpus.identity,
            seed=self.seed,
            epoch=epoch,
            lanes=self.lanes,
            window=self.options.window,
        )

    def batches(
        self,
        epoch: int,
        finish: Callable[[Batch], T],
        *,
        first_step: int = 0,
        last_step: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[tuple[int, T]]:
        """Yields (size of the global batch, this rank's share of it through `finish`), in order.

        Args:
            epoch: counts from 0.
            finish: turns a batch into what the caller wants; called in threads, several at once.
            first_step: where to begin; nothing before it is read.
            last_step: where to stop (exclusive); None at the end of the epoch.
            rank: this process.
            world: all of them.

        Raises:
            InputError: a shard vanished or a picture in it is damaged.
        """
        sequence = self.sequence(epoch)
        shelf = self._shelf
        stop = self.steps if last_step is None else min(last_step, self.steps)

        def plan(step: int) -> order.Rows:
            return order.batch_rows(sequence, batch=self.batch, step=step, lanes=self.lanes)

        def submit(step: int, rows: order.Rows) -> Future[T]:
            mine = order.share(len(rows), rank, world)
            uniforms = generator(self.seed, "augment", self.corpus.identity, epoch, step).random(
                (len(rows), UNIFORMS)
            )[mine]
            # A rank without a sample still needs the arrays' shapes, so it looks into the first shard.
            needed = rows[mine] if len(rows[mine]) else rows[:1]
            loaded = {s: shelf.get(s) for s in self._shard_of(needed)}
            return decoders.submit(lambda: finish(self._decode(rows[mine], loaded, uniforms)))

        decoders = ThreadPoolExecutor(self.options.threads, thread_name_prefix="decode")
        flying: deque[tuple[int, Future[T]]] = deque()
        try:
            for step in range(first_step, stop + self.options.threads):
                if step < stop:
                    rows = plan(step)
                    flying.append((len(rows), submit(step, rows)))
                if step + _HORIZON < stop:
                    ahead = plan(step + _HORIZON)
                    for s in self._shard_of(ahead[order.share(len(ahead), rank, world)]):
                        shelf.get(s)
                if len(flying) > self.options.threads or (step >= stop and flying):
                    size, future = flying.popleft()
                    yield size, future.result()
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _shelf(self) -> "_Shelf":
        shards = self.corpus.shards
        per_lane = 2 + -(-self.options.window // min(s.rows for s in shards))
        windows = self.lanes * per_lane * max(s.bytes for s in shards)
        limit = max(windows, self.options.cache_mb * 2**20)
        return _Shelf(shards, (*_ALWAYS, *self.arrays), limit)

    def _shard_of(self, rows: order.Rows) -> list[int]:
        found = np.searchsorted(self._starts, rows, side="right") - 1
        return [int(s) for s in np.unique(found)]

    def _decode(
        self,
        rows: order.Rows,
        loaded: Mapping[int, Future[_Loaded]],
        uniforms: NDArray[np.float64],
    ) -> Batch:
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        places = rows - self._starts[owners]
        shards = {s: future.result() for s, future in loaded.items()}
        pairs = [(int(s), int(p)) for s, p in zip(owners, places, strict=True)]
        some = next(iter(shards.values()))
        names = (*_ALWAYS, *self.arrays, "picture")
        arrays = {
            name: np.stack([shards[s].arrays[name][p] for s, p in pairs])
            if pairs
            else some.arrays[name][:0]
            for name in dict.fromkeys(names)
        }
        images = tuple(self._image(shards[s], s, p) for s, p in pairs)
        return Batch(images=images, arrays=arrays, uniforms=uniforms)

    def _image(self, shard: _Loaded, number: int, place: int) -> NDArray[np.uint8]:
        data = shard.jpegs[int(shard.offsets[place]) : int(shard.offsets[place + 1])]
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            if height * width > _MAX_PIXELS:  # a few bytes may announce 12 GB
                raise ValueError(f"{width} x {height} pixels")
            image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as error:
            key = self.corpus.shards[number].action_key
            raise InputError(
                f"shard {key}, row {place}", f"holds a damaged picture ({error})", "Build it again"
            ) from error
        return image


class _Shelf:
    """Shards read or being read, the least recently used dropped first. Used from one thread."""

    def __init__(self, shards: Sequence[Shard], names: Sequence[str], limit: int) -> None:
        self.shards, self.names, self.limit = shards, tuple(dict.fromkeys(names)), limit
        self.held: OrderedDict[int, Future[_Loaded]] = OrderedDict()
        self.pool = ThreadPoolExecutor(_READERS, thread_name_prefix="shards")

    def get(self, number: int) -> "Future[_Loaded]":
        """Asks for a shard, or returns the standing request."""
        if number not in self.held:
            self.held[number] = self.pool.submit(_read, self.shards[number], number, self.names)
            while sum(self.shards[s].bytes for s in self.held) > self.limit and len(self.held) > 1:
                self.held.popitem(last=False)
        self.held.move_to_end(number)
        return self.held[number]


def _read(shard: Shard, number: int, names: Sequence[str]) -> _Loaded:
    try:
        arrays = shard.store.read_arrays(shard.action_key, ("image", "image_offset", *names))
    except FileNotFoundError as error:
        raise InputError(
            f"shard {shard.action_key}", "vanished from the store", "Build the dataset again"
        ) from error
    jpegs, offsets = arrays.pop("image"), arrays.pop("image_offset")
    if len(offsets) - 1 != shard.rows:
        why = f"holds {len(offsets) - 1} samples, and the manifest says {shard.rows}"
        raise InputError(f"shard {shard.action_key}", why, "Build the dataset again")
    own = -1 - (number * 2**32 + np.arange(shard.rows, dtype=np.int64))
    arrays["picture"] = arrays["group_id"] if shard.photos else own
    return _Loaded(jpegs=jpegs, offsets=offsets, arrays=arrays)

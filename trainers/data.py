"""Streams samples straight from shards on any store: threads only, no locks between processes, no files, O(1) state.

A thread pool reads whole shards ahead of need; another decodes and prepares batches, several in flight. What
comes out, and in which order, depends on neither.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.shards import generator
from schemas.training import FitRecipe, Streaming
from trainers import order
from trainers.corpus import Corpus, Shard
from trainers.position import Position
from trainers.shelf import Shelf, read_shard
from trainers.task import UNIFORMS, Batch, Task

T = TypeVar("T")
_AHEAD_SAMPLES = 4096
"""Of the global batches beyond those in flight whose shards are already asked for; one window of all lanes at most."""
_MAX_PIXELS = 4096 * 4096
"""Of one stored crop; recipes make at most 2048 x 2048."""
_ALWAYS = ("sample_id", "group_id")


@dataclass(frozen=True, kw_only=True)
class SampleStream:
    """The batches of a corpus. Immutable; every iteration starts where it is told to."""

    corpus: Corpus
    arrays: tuple[str, ...]
    batch: int
    seed: int
    options: Streaming
    shuffle: bool = True
    last: order.Last = "drop"

    @property
    def steps(self) -> int:
        """Returns the steps of one epoch."""
        return self.sequence.steps

    @cached_property
    def sequence(self) -> order.Order:
        """Returns the order of the samples, as row numbers of the corpus."""
        corpus, weights = self.corpus, self.corpus.weights or (1.0,)
        total = sum(weights)
        sources = tuple(
            order.Source(
                shard_rows=tuple(
                    s.rows for s in corpus.shards if not corpus.weights or s.dataset == i
                ),
                identity=corpus.identity if not corpus.weights else corpus.dataset_ids[i],
                seed=self.seed,
                lanes=self._lanes(weight / total),
                cycle=max(self._lanes(weight / total), round(self.batch * weight / total)),
                window=self.options.window if self.shuffle else 0,
            )
            for i, weight in enumerate(weights)
        )
        return order.Order(sources=sources, weights=weights, batch=self.batch, last=self.last)

    def _lanes(self, weight: float) -> int:
        """Returns a source's share of the C lanes: never more than its samples in a batch; one in the stored order."""
        if not self.shuffle:
            return 1
        return max(1, round(min(self.options.lanes, self.batch) * weight))

    def position(self, epoch: int, step: int) -> Position:
        """Returns all that a later run needs to go on before that step."""
        return Position(order=self._settings, epoch=epoch, step=step)

    def resume(self, position: Position) -> tuple[int, int]:
        """Returns (epoch, step) to go on with, whatever the number of ranks then and now.

        Raises:
            InputError: the position is of other data, or of the same in another order.
        """
        position.check(self._settings)
        return position.epoch, position.step

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "version": order.VERSION,
            "data": self.corpus.identity,
            "seed": self.seed,
            "batch": self.batch,
            "lanes": self.options.lanes,
            "window": self.options.window,
            "shuffle": self.shuffle,
            "last": self.last,
        }

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        counts = np.array([s.rows for s in self.corpus.shards], dtype=np.int64)
        starts: NDArray[np.int64] = np.cumsum(counts) - counts
        return starts

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

        The size does not count padding. A loss summed over a rank's samples with their `Batch.weights` and divided by
        the size, then summed over ranks, is that of one process.

        Args:
            epoch: counts from 0.
            finish: turns a batch into what the caller wants; called in threads, several at once.
            first_step: where to begin; nothing before it is read.
            last_step: where to stop (exclusive); None at the end of the epoch.
            rank: this process.
            world: all of them.

        Raises:
            InputError: a shard vanished, or holds other bytes than were written.
        """
        stop = self.steps if last_step is None else min(last_step, self.steps)
        shares = (self._share(epoch, step, rank, world) for step in range(first_step, stop))
        return self._shelf.serve(
            shares,
            lambda share, loaded: finish(self._decode(share, loaded)),
            ahead=self._ahead,
            threads=self.options.threads,
        )

    @property
    def _ahead(self) -> int:
        lanes = sum(source.lanes for source in self.sequence.sources)
        window = lanes * self.options.window if self.shuffle else _AHEAD_SAMPLES
        return max(1, min(_AHEAD_SAMPLES, window) // self.batch)

    def _share(self, epoch: int, step: int, rank: int, world: int) -> "_Share":
        rows = self.sequence.batch_rows(epoch, step)
        weights = np.ones(len(rows), np.float32)
        if self.last == "pad" and len(rows) < self.batch:
            rows = np.resize(rows, self.batch)  # repeats
            weights = np.concatenate([weights, np.zeros(self.batch - len(weights), np.float32)])
        mine = order.share(len(rows), rank, world)
        # A rank without a sample still needs the arrays' shapes, so it looks into the first shard.
        needed = rows[mine] if len(rows[mine]) else rows[:1]
        rng = generator(self.seed, "augment", self.corpus.identity, epoch, step)
        return _Share(
            size=int(weights.sum()),
            rows=rows[mine],
            weights=weights[mine],
            uniforms=rng.random((len(rows), UNIFORMS))[mine],
            shards=tuple(np.unique(self._owners(needed)).tolist()),
        )

    @cached_property
    def _shelf(self) -> Shelf["_Loaded"]:
        shards = self.corpus.shards
        names = tuple(dict.fromkeys((*_ALWAYS, *self.arrays)))
        return Shelf(
            lambda number: _read(shards[number], number, names),
            [s.rows for s in shards],
            least=self._open_rows,
            limit=self.cache_bytes,
        )

    @property
    def cache_bytes(self) -> int:
        """Returns the bound of what is kept of read shards."""
        return self.options.cache_mb * 2**20

    @property
    def window_bytes(self) -> int:
        """Returns what the shards of all lanes' open windows hold at most, as stored; it overrides a lower bound.

        What is kept is less than one shard more. A lane shows one window while the next is read, which touch two
        shards beside those that they cover.
        """
        return math.ceil(self._open_rows * max(s.bytes / s.rows for s in self.corpus.shards))

    @property
    def _open_rows(self) -> int:
        steps = self._ahead + self.options.threads + 2
        return sum(source.open_rows(steps) for source in self.sequence.sources)

    def _owners(self, rows: order.Rows) -> NDArray[np.int64]:
        return np.asarray(np.searchsorted(self._starts, rows, side="right") - 1, np.int64)

    def _decode(self, share: "_Share", loaded: Mapping[int, "_Loaded"]) -> Batch:
        owners = self._owners(share.rows)
        places = share.rows - self._starts[owners]
        pairs = list(zip(owners.tolist(), places.tolist(), strict=True))
        some = next(iter(loaded.values()))
        names = dict.fromkeys((*_ALWAYS, *self.arrays, "picture"))
        arrays = {
            name: np.stack([loaded[s].arrays[name][p] for s, p in pairs])
            if pairs
            else some.arrays[name][:0]
            for name in names
        }
        images, pixels = self._images([(s, p, _jpeg(loaded[s], p)) for s, p in pairs])
        return Batch(
            images=images,
            arrays=arrays,
            uniforms=share.uniforms,
            weights=share.weights,
            pixels=pixels,
        )

    def _images(
        self, jpegs: list[tuple[int, int, NDArray[np.uint8]]]
    ) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.uint8] | None]:
        """Decodes pictures; those of one size into one buffer, which costs half as much as each by itself."""
        sizes = [self._size(*jpeg) for jpeg in jpegs]
        whole = {size: np.empty((sizes.count(size), *size), np.uint8) for size in {*sizes}}
        buffers = {size: iter(buffer) for size, buffer in whole.items()}
        images = []
        for size, (number, place, data) in zip(sizes, jpegs, strict=True):
            image = next(buffers[size])
            try:
                simplejpeg.decode_jpeg(data, "RGB", buffer=image)
            except ValueError as error:
                raise self._damaged(number, place, error) from error
            images.append(image)
        return tuple(images), next(iter(whole.values())) if len(whole) == 1 else None

    def _size(self, number: int, place: int, data: NDArray[np.uint8]) -> tuple[int, int, int]:
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            if height * width > _MAX_PIXELS:  # a few bytes may announce 12 GB
                raise ValueError(f"{width} x {height} pixels")
        except ValueError as error:
            raise self._damaged(number, place, error) from error
        return height, width, 3

    def _damaged(self, number: int, place: int, error: ValueError) -> InputError:
        where = f"shard {self.corpus.shards[number].action_key}, row {place}"
        return InputError(where, f"holds a damaged picture ({error})", "Build it again")


def stream_of(
    task: Task, recipe: FitRecipe, corpus: Corpus, *, last: order.Last, shuffle: bool = True
) -> SampleStream:
    """Returns the batches of what a task wants, as a training recipe says."""
    return SampleStream(
        corpus=corpus,
        arrays=task.arrays,
        batch=recipe.batch,
        seed=recipe.seed,
        options=recipe.stream,
        shuffle=shuffle,
        last=last,
    )


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one rank takes of one step."""

    size: int
    """Of the global batch."""
    rows: order.Rows
    weights: NDArray[np.float32]
    uniforms: NDArray[np.float64]
    shards: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """One shard in memory."""

    jpegs: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    arrays: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        labels = sum(a.nbytes for a in self.arrays.values())
        return self.jpegs.nbytes + self.offsets.nbytes + labels


def _read(shard: Shard, number: int, names: tuple[str, ...]) -> _Loaded:
    arrays = read_shard(shard, ("image", "image_offset", *names))
    jpegs, offsets = arrays.pop("image"), arrays.pop("image_offset")
    own = -1 - (number * 2**32 + np.arange(shard.rows, dtype=np.int64))
    arrays["picture"] = arrays["group_id"] if shard.photos else own
    return _Loaded(jpegs=jpegs, offsets=offsets, arrays=arrays)


def _jpeg(shard: _Loaded, place: int) -> NDArray[np.uint8]:
    return shard.jpegs[int(shard.offsets[place]) : int(shard.offsets[place + 1])]

"""Reads whole shards ahead of need, each checked against its digests, and keeps as many as a bound allows.

A shard that somebody waits for longer than others took is asked for a second time, and whichever answer comes first
counts ("The Tail at Scale", Dean and Barroso 2013): one slow connection then does not hold up a run.
"""

import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from schemas.errors import InputError
from trainers.corpus import Shard

READERS = 16
_HEDGE_LEAST_SECONDS, _HEDGE_FACTOR, _REMEMBERED = 1.0, 4.0, 32


class Loaded(Protocol):
    """What is kept of a shard."""

    @property
    def nbytes(self) -> int:
        """Returns its size in memory."""
        ...


class Share(Protocol):
    """What one rank takes of one step."""

    @property
    def size(self) -> int:
        """Returns the size of the global batch."""
        ...

    @property
    def shards(self) -> Sequence[int]:
        """Returns the numbers of the shards that it needs."""
        ...


L = TypeVar("L", bound=Loaded)
S = TypeVar("S", bound=Share)
T = TypeVar("T")


@dataclass
class Request(Generic[L]):
    """A shard that was asked for, once or twice."""

    answer: Future[L] = field(default_factory=Future)
    attempts: list[Future[L]] = field(default_factory=list)


class Shelf(Generic[L]):
    """Shards read or being read, the least recently used dropped first. `get` belongs to one thread."""

    def __init__(
        self, read: Callable[[int], L], rows: Sequence[int], *, least: int, limit: int
    ) -> None:
        """Keeps the shards asked for last: so many that they have `least` rows, and more up to `limit` bytes.

        Args:
            read: reads the shard of a number, in any thread.
            rows: of each shard.
            least: rows.
            limit: bytes.
        """
        self.rows, self.least, self.limit = rows, least, limit
        self._reader = read
        self._held: OrderedDict[int, Request[L]] = OrderedDict()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="shards")
        self._spare = ThreadPoolExecutor(READERS, thread_name_prefix="spare")
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._row_bytes = 0.0
        self._serving = 0
        self._lock = threading.Lock()

    def get(self, number: int) -> Request[L]:
        """Asks for a shard, or returns the standing request."""
        if number not in self._held:
            self._make_room(self.rows[number])
            request = self._held[number] = Request[L]()
            self._attempt(self._pool, number, request, of=1)
        self._held.move_to_end(number)
        return self._held[number]

    def _make_room(self, rows: int) -> None:
        held = rows + sum(self.rows[n] for n in self._held)
        for oldest in list(self._held):
            held -= self.rows[oldest]
            if held < self.least or self.held_bytes + rows * self._row_bytes <= self.limit:
                break
            del self._held[oldest]

    @property
    def held_bytes(self) -> float:
        """Returns the size of what is kept: of what is still being read, what it would be by the largest rows so far.

        Were it not counted, what a slow store still has to answer would be kept beside all that has been read.
        """
        return sum(self._bytes(number, r.answer) for number, r in self._held.items())

    def _bytes(self, number: int, answer: Future[L]) -> float:
        if not answer.done():
            return self.rows[number] * self._row_bytes
        return answer.result().nbytes if answer.exception() is None else 0

    def result(self, number: int, request: Request[L]) -> L:
        """Waits for a request in any thread, and asks a second time where it takes too long.

        Raises:
            InputError: the shard vanished, is damaged, or the store failed.
        """
        wait([request.answer], timeout=self._patience())
        if not request.answer.done():
            self._attempt(self._spare, number, request, of=2)
        return request.answer.result()

    def _attempt(
        self, pool: ThreadPoolExecutor, number: int, request: Request[L], *, of: int
    ) -> None:
        with self._lock:
            if len(request.attempts) == of:  # another thread was before this one
                return
            attempt = pool.submit(self._read, number)
            request.attempts.append(attempt)
        attempt.add_done_callback(lambda _: self._settle(request))

    def _settle(self, request: Request[L]) -> None:
        """Answers a request with the first success; a failure counts when nothing else is under way."""
        with self._lock:
            if request.answer.done():
                return
            ended = [(a, _failure(a)) for a in request.attempts if a.done()]
            # Of all that ended: the success of another may be known before its own turn to settle comes.
            succeeded = [attempt for attempt, failure in ended if failure is None]
            if succeeded:
                request.answer.set_result(succeeded[0].result())
            elif len(ended) == len(request.attempts):
                request.answer.set_exception(ended[0][1])
        for other in request.attempts:
            other.cancel()  # which still waits for a free thread

    def _patience(self) -> float:
        with self._lock:
            usual = statistics.median(self._took) if self._took else 0.0
        return max(_HEDGE_LEAST_SECONDS, _HEDGE_FACTOR * usual)

    def _read(self, number: int) -> L:
        started = time.monotonic()
        loaded = self._reader(number)
        with self._lock:
            self._took.append(time.monotonic() - started)
            self._row_bytes = max(self._row_bytes, loaded.nbytes / self.rows[number])
        return loaded

    def serve(
        self,
        shares: Iterable[S],
        work: Callable[[S, Mapping[int, L]], T],
        *,
        ahead: int,
        threads: int,
    ) -> Iterator[tuple[int, T]]:
        """Yields (size, what `work` makes of a share and its shards), in order.

        Args:
            shares: what to serve.
            work: called in threads, several at once.
            ahead: shares beyond those worked on whose shards are already asked for.
            threads: for `work`.
        """
        failed = [n for n, r in self._held.items() if r.answer.done() and r.answer.exception()]
        for number in failed:
            del self._held[number]
        self._serving += 1
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        planned: deque[S] = deque()
        flying: deque[tuple[int, Future[T]]] = deque()

        def submit(share: S) -> None:
            requests = {s: self.get(s) for s in share.shards}

            def run() -> T:
                return work(share, {s: self.result(s, r) for s, r in requests.items()})

            flying.append((share.size, pool.submit(run)))

        try:
            for share in shares:
                planned.append(share)
                for s in share.shards:
                    self.get(s)
                if len(planned) > ahead:
                    submit(planned.popleft())
                if len(flying) > threads:
                    yield _landed(flying.popleft())
            while planned or flying:
                while planned and len(flying) <= threads:
                    submit(planned.popleft())
                yield _landed(flying.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._serving -= 1
            if not self._serving:
                self._forget_unanswered()

    def _forget_unanswered(self) -> None:
        """Takes back what nobody waits for any more: else a program that stops early reads it all before it ends."""
        for number, request in list(self._held.items()):
            taken_back = [attempt.cancel() for attempt in request.attempts]
            if all(taken_back):  # else one is being read, or was
                del self._held[number]


def _failure(attempt: Future[Any]) -> BaseException | None:
    return CancelledError() if attempt.cancelled() else attempt.exception()


def _landed(flight: tuple[int, Future[T]]) -> tuple[int, T]:
    size, future = flight
    return size, future.result()


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

"""The order of samples: a pure function of (identity, seed, position), the same for any number of ranks and threads.

N samples in all, B per global batch, C lanes of two tracks each: T tracks. In each round over a source its shards are
shuffled and laid end to end; T tracks cut this sequence into spans, so a track reads whole shards one after the other.
Every second track runs backwards: two tracks then meet at the shard that serves both, and need it at the same time.
Within a track, windows of a bounded number of samples are shuffled, each by a generator of its own, so any place is
reached without what comes before it; windows of different tracks end at different steps, as the shards of the next are
read then. The round is dealt in cycles: position j of K belongs to the last track i with iK/T <= j, and a track's span
is as long as its share.

Step t of epoch e takes places eN + tB … of the mixture, sorted by track; rank r of W takes positions
[rB/W, (r+1)B/W). With one source K is B: where W divides C, ranks and lanes then meet at the same positions, and no two
ranks share a lane; else two neighbours share one, but one of its tracks only, so that W ranks read 1 + W / 2C times the
data at most, besides the shards that two tracks share. The places of a mixture are dealt to its sources in a fixed
pattern of at most `PERIOD` places (smooth weighted round robin): shares are exact in each, within a place or two
between. A source begins its next round where one ends; where there is one source only, rounds are epochs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.shards import generator

Rows = NDArray[np.int64]
Last = Literal["drop", "keep", "pad"]
VERSION = 3
"""Raised when the same arguments give another order: positions of older runs then mean nothing."""
TRACKS = 2
"""Of a lane: ranks that share a lane read twice only the one track that they share. More would read less twice, and
keep more shards open."""
PERIOD = 10_000
"""Weights that are no whole parts of a shorter period are rounded to whole multiples of 1 / PERIOD."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The samples of one source, in rounds without end."""

    shard_rows: tuple[int, ...]
    """Samples in each shard; row numbers count through the shards in this order."""
    identity: str
    """Names the data; other data have another order."""
    seed: int
    lanes: int
    cycle: int
    """K, the places among which every lane has its share; at least one for each."""
    window: int
    """Samples of one lane that are shuffled together, each track's share by itself; 0 keeps the stored order."""

    @property
    def rows(self) -> int:
        """Returns the samples of one round."""
        return sum(self.shard_rows)

    @cached_property
    def tracks(self) -> int:
        """Returns T: two for each lane, but no more than places in a cycle; the stored order is that of the lanes."""
        return min(TRACKS * self.lanes, self.cycle) if self.window else self.lanes

    @property
    def track_window(self) -> int:
        """Returns how many samples of a track are shuffled together."""
        return max(1, self.window * self.lanes // self.tracks)

    @cached_property
    def _starts(self) -> Rows:
        counts = np.asarray(self.shard_rows, np.int64)
        return np.asarray(np.cumsum(counts) - counts)

    @cached_property
    def _edges(self) -> Rows:
        """Returns (T + 1,): the first position of each track in a cycle, and K."""
        return np.arange(self.tracks + 1) * self.cycle // self.tracks

    @cached_property
    def _track_starts(self) -> Rows:
        whole, rest = divmod(self.rows, self.cycle)
        return np.asarray(whole * self._edges + np.minimum(self._edges, rest))

    def open_rows(self, steps: int) -> int:
        """Returns how many rows the shards have at most from which all tracks take so many steps, one cycle each.

        Until a window is shown each of its shards may be asked for.
        """
        places = steps * int(np.diff(self._edges).max())
        if self.window:
            places = (1 + -(-places // self.track_window)) * self.track_window
        return min(self.rows, self.tracks * (places + 2 * max(self.shard_rows)))

    def take(self, first: int, count: int) -> tuple[Rows, Rows]:
        """Returns row numbers (count,) and tracks (count,) of the places first … first + count - 1 of all rounds."""
        places = np.arange(first, first + count)
        rounds, places = np.divmod(places, self.rows)
        cycles, positions = np.divmod(places, self.cycle)
        tracks = np.searchsorted(self._edges, positions, side="right") - 1
        inside = cycles * np.diff(self._edges)[tracks] + positions - self._edges[tracks]
        rows = np.empty(count, np.int64)
        windows = self._windows_of(tracks, inside)
        for number in np.unique(rounds):
            now = rounds == number
            laid = np.empty(count, np.int64)
            for track, window in {*zip(tracks[now].tolist(), windows[now].tolist(), strict=True)}:
                here = now & (tracks == track) & (windows == window)
                first, shuffled = self._window(int(number), track, window)
                laid[here] = shuffled[inside[here] - first]
            rows[now] = self._rows_of(int(number), laid[now])
        return rows, tracks

    def _windows_of(self, tracks: Rows, inside: Rows) -> Rows:
        if not self.window:
            return np.zeros_like(inside)
        early = tracks * self.track_window // self.tracks
        return np.asarray((inside + early) // self.track_window)

    def _rows_of(self, number: int, laid: Rows) -> Rows:
        order, ends = self._shards(number)
        slot = np.searchsorted(ends, laid, side="right")
        shard = order[slot]
        before = ends[slot] - np.asarray(self.shard_rows, np.int64)[shard]
        return np.asarray(self._starts[shard] + laid - before)

    @cached_property
    def _shards(self) -> Callable[[int], tuple[Rows, Rows]]:
        """Returns a round's order of shards, and the places (exclusive) at which they end."""

        @lru_cache(maxsize=4)
        def shards(number: int) -> tuple[Rows, Rows]:
            order = np.arange(len(self.shard_rows))
            if self.window:
                order = generator(self.seed, "shards", self.identity, number).permutation(order)
            return order, np.cumsum(np.asarray(self.shard_rows, np.int64)[order])

        return shards

    @cached_property
    def _window(self) -> Callable[[int, int, int], tuple[int, Rows]]:
        """Returns a window's first place in its track, and the laid-out places that it shows, in their order."""

        @lru_cache(maxsize=4 * self.tracks)
        def window(number: int, track: int, which: int) -> tuple[int, Rows]:
            start, end = self._track_starts[track : track + 2].tolist()
            if not self.window:
                return 0, np.arange(start, end)
            size = self.track_window
            early = track * size // self.tracks
            first = max(0, which * size - early)
            stop = min(end - start, (which + 1) * size - early)
            rng = generator(self.seed, "window", self.identity, number, track, which)
            inside = first + rng.permutation(stop - first)
            return first, np.asarray(end - 1 - inside if track % 2 else start + inside)

        return window


@dataclass(frozen=True, kw_only=True)
class Order:
    """The global batches of a mixture of sources."""

    sources: tuple[Source, ...]
    weights: tuple[float, ...]
    """Shares of the batches, one per source, in any unit."""
    batch: int
    last: Last
    """What becomes of the samples of an epoch that do not fill a batch."""

    def __post_init__(self) -> None:
        """Refuses weights that give a source nothing.

        Raises:
            ValueError: they do, or are not one for each source.
        """
        if len(self.weights) != len(self.sources) or min(_parts(self.weights), default=0) < 1:
            raise ValueError(f"weights {self.weights} of {len(self.sources)} sources")

    @property
    def rows(self) -> int:
        """Returns N, the samples of one epoch: as many as the sources hold."""
        return sum(source.rows for source in self.sources)

    @property
    def steps(self) -> int:
        """Returns the steps of an epoch. An epoch shorter than one batch is one short step in any case."""
        whole, rest = divmod(self.rows, self.batch)
        return whole + (rest > 0 and (self.last != "drop" or not whole))

    def size(self, step: int) -> int:
        """Returns how many samples the global batch of a step holds, without padding."""
        return min(self.batch, self.rows - step * self.batch)

    def counts(self, places: int) -> Rows:
        """Returns how many of the first `places` places of the mixture belong to each source."""
        periods, rest = divmod(places, len(self._dealt) - 1)
        return np.asarray(periods * self._dealt[-1] + self._dealt[rest])

    @cached_property
    def _dealt(self) -> Rows:
        """Returns (period + 1, s): how many of the first n places of a period belong to each source."""
        parts = _parts(self.weights)
        period = int(parts.sum())
        dealt = np.zeros((period + 1, len(parts)), np.int64)
        owed = np.zeros(len(parts), np.int64)
        for place in range(period):
            owed += parts
            chosen = int(np.argmax(owed))
            owed[chosen] -= period
            dealt[place + 1] = dealt[place]
            dealt[place + 1, chosen] += 1
        return dealt

    def batch_rows(self, epoch: int, step: int) -> Rows:
        """Returns the row numbers of a global batch, sorted by track; rows count through the sources in order.

        Raises:
            ValueError: the epoch has no such step.
        """
        if not (epoch >= 0 and 0 <= step < self.steps):
            raise ValueError(f"step {step} of epoch {epoch}, which has {self.steps} steps")
        first = epoch * self.rows + step * self.batch
        before, after = self.counts(first), self.counts(first + self.size(step))
        rows, tracks, start = [], [], 0
        for source, a, b in zip(self.sources, before, after, strict=True):
            taken, track = source.take(int(a), int(b - a))
            rows.append(start + taken)
            tracks.append((track + 0.5) / source.tracks)
            start += source.rows
        order = np.argsort(np.concatenate(tracks), kind="stable")
        result: Rows = np.concatenate(rows)[order]
        return result


def _parts(weights: tuple[float, ...]) -> Rows:
    """Returns whole numbers in the weights' proportion; where those add up to more than `PERIOD`, the nearest that do.

    By largest remainders then.
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    period = math.lcm(*(share.denominator for share in shares))
    if period <= PERIOD:
        return np.array([int(share * period) for share in shares], np.int64)
    wanted = PERIOD * np.array(shares, np.float64)
    parts = np.floor(wanted).astype(np.int64)
    parts[np.argsort(parts - wanted, kind="stable")[: PERIOD - parts.sum()]] += 1
    return parts


def share(count: int, rank: int, world: int) -> slice:
    """Returns the positions of a global batch that a rank takes; together the ranks take each once."""
    return slice(rank * count // world, (rank + 1) * count // world)

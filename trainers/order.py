"""The order of samples: a pure function of (identity, seed, epoch), the same for any number of ranks and threads.

The epoch's shards are shuffled and laid end to end. C lanes cut this sequence into equal spans, so a lane reads
whole shards one after the other and few shards serve two lanes, even where there are fewer shards than lanes.
Within a lane, windows of a bounded number of samples are shuffled. Dealing one sample from each lane in turn gives
the epoch's sequence; step t takes its elements tB … (t+1)B - 1, sorted by lane, so that each of W ranks, which takes
positions [rB/W, (r+1)B/W), needs only its own lanes' shards. Where C does not divide B, a lane gives one sample more
in some steps than in others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.shards import generator

Rows = NDArray[np.int64]


def epoch_sequence(
    shard_rows: Sequence[int], *, identity: str, seed: int, epoch: int, lanes: int, window: int
) -> Rows:
    """Returns every row number once: the order of one epoch.

    Args:
        shard_rows: samples in each shard; row numbers count through the shards in this order.
        identity: names the data; other data have another order.
        seed: the run's seed.
        epoch: counts from 0.
        lanes: C; element g of the result belongs to lane g % C.
        window: samples of one lane that are shuffled together.
    """
    rng = generator(seed, "order", identity, epoch)
    counts = np.asarray(shard_rows, dtype=np.int64)
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    shuffled = rng.permutation(len(counts))
    spans = [np.arange(starts[s], starts[s] + counts[s]) for s in shuffled]
    rows = np.concatenate([np.empty(0, np.int64), *spans])
    sizes = np.full(lanes, total // lanes)
    sizes[: total % lanes] += 1
    lane = np.repeat(np.arange(lanes), sizes)
    place = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = rows[np.lexsort((rng.random(total), place // window, lane))]
    sequence = np.empty(total, np.int64)
    sequence[place * lanes + lane] = rows
    return sequence


def steps(total: int, batch: int, drop_last: bool) -> int:
    """Returns the steps of an epoch. An epoch shorter than one batch is one short step either way."""
    return max(total // batch, min(1, total)) if drop_last else -(-total // batch)


def batch_rows(sequence: Rows, *, batch: int, step: int, lanes: int) -> Rows:
    """Returns the global batch of a step, sorted by lane; the last one of an epoch may be short."""
    places = np.arange(step * batch, min((step + 1) * batch, len(sequence)))
    result: Rows = sequence[places[np.argsort(places % lanes, kind="stable")]]
    return result


def share(count: int, rank: int, world: int) -> slice:
    """Returns the positions of a global batch that a rank takes; together the ranks take each once."""
    return slice(rank * count // world, (rank + 1) * count // world)

"""Measures how well an epoch is shuffled, at the default settings; reads nothing.

    python -m benchmarks.shuffle [--samples 131072] [--frames 48] [--shard 512] [--epochs 3]

A corpus of clips laid end to end in shards, as a build writes them. Two figures, the worst over epochs:

`entropy`: of the displacement of samples (place in the epoch minus place in the dataset), over that of a random
permutation of as many samples, both by histograms of the same bins. Displacements of a permutation have a
triangular distribution. Taken for several widths of the bins, down to one batch, and the lowest said.

`together`: how often two neighbouring frames of a clip lie in the same batch, beside a permutation's (B - 1) / (N - 1).
Neighbours lie in one window of one track unless an edge divides them, and a track gives a batch at most ceil(B / T)
samples of a window in random order: of its w - 1 pairs of neighbours, ceil(B / T) - 1 meet at most, on average.
`bound` is that average over the pairs of a track's span, and four standard deviations of what is counted.
`distance` is the median distance of neighbouring frames in the epoch over a permutation's, N (1 - 1/sqrt 2). The last
line is one JSON object.
"""

import argparse
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.store import Store
from schemas.training import Streaming
from trainers.corpus import Corpus, Shard
from trainers.data import SampleStream

BATCH = 64
_WIDTHS = (BATCH, 512, 4096)
"""Of the bins, in samples; finer than a batch, bins hold less than one sample each and say nothing."""

Ints = NDArray[np.int64]


def stream(samples: int, shard: int, batch: int = BATCH) -> SampleStream:
    """Returns a stream of that many samples at the default settings."""
    sizes = [min(shard, samples - first) for first in range(0, samples, shard)]
    shards = [
        Shard(store=Store("memory://none"), action_key=f"{i:08d}", rows=n, bytes=n, photos=False)
        for i, n in enumerate(sizes)
    ]
    return SampleStream(
        corpus=Corpus(dataset_ids=("shuffle",), split="train", shards=tuple(shards)),
        arrays=(),
        batch=batch,
        seed=0,
        options=Streaming(),
        last="keep",
    )


def entropy(order: Ints, width: int) -> float:
    """Returns the Shannon entropy, in bits, of samples' displacements in bins of `width` samples."""
    moved = np.arange(len(order)) - order
    counts = np.bincount((moved + len(order)) // width)
    shares = counts[counts > 0] / len(order)
    return float(-(shares * np.log2(shares)).sum())


def together(places: Ints, frames: int, batch: int) -> float:
    """Returns the share of neighbouring frames of a clip that lie in the same batch.

    Args:
        places: (n,) where each sample lies in the epoch.
        frames: of a clip; clips lie end to end.
        batch: samples in a batch.
    """
    steps = places // batch
    same = steps[1:] == steps[:-1]
    return float(same[_neighbours(len(places), frames)].mean())


def _neighbours(samples: int, frames: int) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.arange(1, samples) % frames != 0
    return result


def bound(samples: int, tracks: int, window: int) -> float:
    """Returns what `together` may be at most, by the order's construction; `window` is that of a track."""
    span = samples // tracks
    windows = math.ceil(span / window)
    share = (math.ceil(BATCH / tracks) - 1) * windows / (span - windows)
    return share + 4 * math.sqrt(share / samples)


def measure(samples: int, frames: int, shard: int, epochs: int) -> dict[str, Any]:
    """Returns the figures of the worst epoch."""
    source = stream(samples, shard)
    rng = np.random.default_rng(0)
    ratios, meetings, distances = [], [], []
    for epoch in range(epochs):
        steps = range(source.steps)
        order = np.concatenate([source.sequence.batch_rows(epoch, step) for step in steps])
        places = np.empty(samples, np.int64)
        places[order] = np.arange(samples)
        whole = rng.permutation(samples)
        ratios.append({w: entropy(order, w) / entropy(whole, w) for w in _WIDTHS})
        meetings.append(together(places, frames, BATCH))
        apart = np.abs(np.diff(places))[_neighbours(samples, frames)]
        distances.append(float(np.median(apart)) / (samples * (1 - math.sqrt(0.5))))
    (one,) = source.sequence.sources
    return {
        "entropy": min(min(r.values()) for r in ratios),
        "entropy_by_bin": {w: min(r[w] for r in ratios) for w in _WIDTHS},
        "together": max(meetings),
        "chance": (BATCH - 1) / (samples - 1),
        "bound": bound(samples, one.tracks, one.track_window),
        "distance": min(distances),
        "samples": samples,
        "tracks": one.tracks,
        "window": one.track_window,
    }


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=131_072)
    parser.add_argument("--frames", type=int, default=48, help="of a clip")
    parser.add_argument("--shard", type=int, default=512, help="samples in a shard")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(**vars(options))))


if __name__ == "__main__":
    main()

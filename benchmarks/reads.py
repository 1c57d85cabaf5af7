"""Measures what the ranks of one epoch read together, over the bytes of the dataset.

    OMP_NUM_THREADS=1 python -m benchmarks.reads [--samples 130000] [--batch 64] [--lanes 24] [--mix 1]
        [--worlds 1,2,3,…]

Every rank streams the whole epoch with a shelf of its own, cold, that keeps no more than the open windows need. The
shards lie in memory, behind a reader that counts, and hold one small picture over and over. Each epoch is proved to
show every sample once. The last line is one JSON object; its keys are numbers of ranks.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import simplejpeg

from schemas.training import Streaming
from trainers.corpus import Corpus, Shard
from trainers.data import SampleStream

Array = np.ndarray[Any, Any]
ROWS = 512
"""Samples per shard; the last one holds the rest."""
WORLDS = "1,2,3,4,5,6,7,8,12,13,16,18,23,24,48"


class Counted:
    """Shards of samples that say their own numbers."""

    def __init__(self, samples: int) -> None:
        self.samples, self.bytes = samples, 0
        self.jpeg = np.frombuffer(
            simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8), 50), np.uint8
        )

    def rows(self, number: int) -> int:
        """Returns the samples of a shard."""
        return min(ROWS, self.samples - number * ROWS)

    def read_arrays(
        self, action_key: str, names: Sequence[str], root: str | None = None
    ) -> dict[str, Array]:
        """Makes a shard's arrays and counts its pictures' bytes."""
        number = int(action_key)
        rows = self.rows(number)
        self.bytes += rows * len(self.jpeg)
        ids = np.arange(number * ROWS, number * ROWS + rows)
        return {
            "sample_id": ids,
            "group_id": ids,
            "image": np.tile(self.jpeg, rows),
            "image_offset": np.arange(rows + 1) * len(self.jpeg),
        }


def make_corpus(reader: Counted, mix: tuple[float, ...]) -> Corpus:
    """Returns all samples as one dataset, or as a mixture of one for each weight, sized in those proportions."""
    count = -(-reader.samples // ROWS)
    edges = np.cumsum(mix[:-1]) / sum(mix) * count
    shards = tuple(
        Shard(
            store=reader,
            action_key=str(i),
            rows=reader.rows(i),
            bytes=reader.rows(i) * len(reader.jpeg),
            photos=False,
            dataset=int(np.searchsorted(edges, i, side="right")),
        )
        for i in range(count)
    )
    names = tuple(f"reads-{i}" for i in range(len(mix)))
    return Corpus(
        dataset_ids=names, split="train", shards=shards, weights=mix if len(mix) > 1 else None
    )


def measure(samples: int, batch: int, lanes: int, mix: tuple[float, ...], world: int) -> float:
    """Returns the bytes that all ranks read over those of the dataset."""
    reader = Counted(samples)
    corpus = make_corpus(reader, mix)
    seen = np.zeros(samples, np.int64)
    for rank in range(world):
        stream = SampleStream(
            corpus=corpus,
            arrays=(),
            batch=batch,
            seed=0,
            options=Streaming(lanes=lanes, cache_mb=1),
            last="keep",
        )
        for _, ids in stream.batches(
            0, lambda b: np.asarray(b.arrays["sample_id"]), rank=rank, world=world
        ):
            seen[ids] += 1
    # A mixture's epoch may end within a round of one source, after more than a round of another.
    if seen.sum() != samples or (len(mix) == 1 and (seen != 1).any()):
        raise RuntimeError("not every sample was shown once")
    return reader.bytes / (samples * len(reader.jpeg))


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=130_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lanes", type=int, default=24)
    parser.add_argument("--mix", default="1", help="weights of datasets, as 3,1")
    parser.add_argument("--worlds", default=WORLDS, help="numbers of ranks")
    options = parser.parse_args()
    mix = tuple(map(float, options.mix.split(",")))
    found = {}
    for world in map(int, options.worlds.split(",")):
        ratio = measure(options.samples, options.batch, options.lanes, mix, world)
        found[world] = round(ratio, 3)
        print(f"{world} ranks: {found[world]}", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()

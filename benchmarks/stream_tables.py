"""Hugging Face datasets and Ray Data, both over the same Parquet files, for `benchmarks.stream`.

Runs in the peers' interpreter (`benchmarks/peers.txt`).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import BatchSampler, RandomSampler

from benchmarks.stream_peers import again, from_columns, loader, package
from benchmarks.stream_samples import BATCH, Ready, Row, Samples, ready

_COLUMNS = ("id", "jpeg", "keypoints", "box")
_ROWS = 512


def write_parquet(samples: Samples, folder: Path) -> None:
    """Writes files of 512 rows, one row group each; JPEGs do not compress."""
    folder.mkdir(parents=True)
    rows = list(samples.rows())
    kinds = [pa.int64(), pa.binary(), pa.binary(), pa.binary()]
    schema = pa.schema(list(zip(_COLUMNS, kinds, strict=True)))
    for first in range(0, len(rows), _ROWS):
        columns = [list(column) for column in zip(*rows[first : first + _ROWS], strict=True)]
        arrays = [pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
        table = pa.table(arrays, schema=schema)
        pq.write_table(table, folder / f"{first:08d}.parquet", compression="none")


def _files(url: str) -> list[str]:
    if "://" not in url:
        return sorted(map(str, Path(url).glob("*.parquet")))
    return sorted(
        f"s3://{name}" for name in package("s3fs").S3FileSystem().glob(f"{url}/*.parquet")
    )


def _load(url: str, cache: Path, streaming: bool) -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    datasets = package("datasets")
    datasets.disable_progress_bars()
    # It sleeps at the end of every epoch to let Arrow's threads end, and would lose most of a short one by that.
    package("datasets.config").SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    return datasets.load_dataset(
        "parquet",
        data_files=_files(url),
        split="train",
        streaming=streaming,
        cache_dir=str(cache),
    )


class HfStreaming:
    """datasets, streamed: an IterableDataset with a shuffle buffer."""

    settings = "streaming=True, shuffle(buffer_size=1000), Parquet of 512 rows"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes Parquet."""
        write_parquet(samples, folder)

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens and yields epochs; it keeps nothing."""
        dataset = _load(url, cache, streaming=True).shuffle(seed=0, buffer_size=1000)
        return again(loader(dataset, workers, from_columns, batch_size=BATCH))


class _Picked:
    """Rows of a memory-mapped Arrow table, by the batch."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, rows: list[int]) -> Ready:
        table = self.dataset[rows]
        return ready([Row(*row) for row in zip(*map(_values, _each(table)), strict=True)])


def _each(table: pa.Table) -> list[pa.ChunkedArray]:
    return [table.column(name) for name in _COLUMNS]


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


class HfMapped:
    """datasets, downloaded to its Arrow cache first, then read by index in a full permutation."""

    settings = "Arrow cache, RandomSampler (full permutation), rows fetched by the batch"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes Parquet."""
        write_parquet(samples, folder)

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Converts what is not in the cache yet, and yields epochs."""
        picked = _Picked(_load(url, cache, streaming=False))
        order = BatchSampler(RandomSampler(range(len(picked))), BATCH, drop_last=False)
        return again(loader(picked, workers, _same, sampler=order, batch_size=None))


def _same(batch: Ready) -> Ready:
    return batch


class RayData:
    """Ray Data; with workers the pictures are decoded in tasks, without in the consumer's collation threads."""

    settings = "read_parquet(shuffle='files'), local_shuffle_buffer_size=1000, object store 1 GiB"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes Parquet."""
        write_parquet(samples, folder)

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Starts a Ray of its own and yields epochs; Ray keeps nothing between them."""
        os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
        os.environ["PYTHONPATH"] = os.getcwd()
        ray = package("ray")
        ray.init(
            num_cpus=2,
            object_store_memory=2**30,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=str(cache.absolute()),
        )
        package("ray.data").DataContext.get_current().enable_progress_bars = False
        data = package("ray.data").read_parquet(
            _files(url), filesystem=_filesystem(url), shuffle="files"
        )
        if workers:
            data = data.map_batches(_decoded, batch_size=BATCH, concurrency=workers)
        while True:
            batches = data.iter_batches(
                batch_size=BATCH, prefetch_batches=4, local_shuffle_buffer_size=1000
            )
            yield map(_from_arrays if workers else _from_bytes, batches)


def _filesystem(url: str) -> Any:
    if "://" not in url:
        return None
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    return package("pyarrow.fs").S3FileSystem(
        endpoint_override=endpoint, scheme="http", region="us-east-1"
    )


def _decoded(batch: dict[str, Any]) -> dict[str, Any]:
    made = _from_bytes(batch)
    return {name: getattr(made, name).numpy() for name in Ready._fields}


def _from_bytes(batch: dict[str, Any]) -> Ready:
    rows = zip(*(batch[name] for name in _COLUMNS), strict=True)
    return ready([Row(int(i), *rest) for i, *rest in rows])


def _from_arrays(batch: dict[str, Any]) -> Ready:
    return Ready(
        **{name: torch.from_numpy(np.ascontiguousarray(batch[name])) for name in Ready._fields}
    )

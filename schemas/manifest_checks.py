"""Reads a manifest in part, or holds it against itself: for those who look after datasets."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.manifest import Dataset, manifest_path, readable
from schemas.receipts import PARQUET_LIMITS, SCHEMA, check_pages, merkle_root, records
from schemas.store import Store


class Named(NamedTuple):
    """What a manifest says of one shard, without its receipt."""

    action_key: str
    split: str
    digest: str
    skeleton: str


def read_names(url: str, dataset_id: str) -> list[Named]:
    """Reads which shards a manifest names: a small part of it, checked against its name all the same.

    Raises:
        InputError: it is not there, or is none, or is not what its name says.
    """
    with readable(url, f"manifests/{dataset_id}"):
        data = Store(url).get_bytes(manifest_path(dataset_id))
        file = pq.ParquetFile(pa.BufferReader(data), **PARQUET_LIMITS)
        check_pages(file.metadata, memoryview(data), set(Named._fields))
        table = file.read(list(Named._fields), use_threads=False)
        names = [Named(*row.values()) for row in table.select(Named._fields).to_pylist()]
        if merkle_root((n.action_key, n.split, n.digest) for n in names) != dataset_id:
            raise ValueError("its content is not what its name says")
        return names


def is_consistent(dataset: Dataset) -> bool:
    """Says whether the columns of a manifest, which other tools read, tell what its receipts tell."""
    path = manifest_path(dataset.dataset_id)
    with readable(dataset.url, path):
        data = dataset.store.get_bytes(path)
        file = pq.ParquetFile(pa.BufferReader(data), **PARQUET_LIMITS)
        if not file.schema_arrow.equals(SCHEMA):
            return False
        check_pages(file.metadata, memoryview(data), set(SCHEMA.names))
        return bool(file.read(use_threads=False).to_pylist() == records(dataset.shards))

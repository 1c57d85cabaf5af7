"""Shard receipts as JSON and as the Parquet rows of a manifest, and the dataset id that they add up to."""

import functools
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import parquet_pages, untrusted
from schemas.shards import Quarantined, ShardKey, ShardReceipt, Split, canonical_json
from schemas.spool import Spool
from schemas.statistics import Statistics

PARQUET_LIMITS: Any = {"thrift_string_size_limit": 2**20, "thrift_container_size_limit": 2**20}
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_RATIO, _MAX_SMALL = 40, 16 * 1024**2
_ROWS_PER_GROUP = 256
"""A reader holds one group at a time."""
SCHEMA = pa.schema(
    [
        ("action_key", pa.string()),
        ("digest", pa.string()),
        ("source", pa.string()),
        ("lot", pa.string()),
        ("split", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("skeleton", pa.string()),
        ("receipt", pa.string()),
    ]
)


def to_json(receipt: ShardReceipt) -> dict[str, Any]:
    """Returns plain JSON values."""
    key = receipt.key
    return {
        "action_key": receipt.action_key,
        "key": {
            "source": key.source,
            "lot": key.lot,
            "split": key.split,
            "members": [*key.members],
        },
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "root": receipt.root,
        "statistics": receipt.statistics.to_json(),
        "quarantine": [
            {"sample": q.sample, "reason": q.reason, "detail": q.detail} for q in receipt.quarantine
        ],
        "skeleton": receipt.skeleton,
        "inputs": receipt.inputs,
    }


def from_json(data: dict[str, Any], spool: Spool | None = None) -> ShardReceipt:
    """Reads what `to_json` wrote; with a spool its statistics wait there.

    Raises:
        KeyError, TypeError, ValueError: it did not write that; names become parts of paths and are looked at.
    """
    untrusted.check_depth(data)
    key = data["key"]
    # Manifests of before listed every object.
    root = data["root"] if "root" in data else data["digests"]["zarr.json"]
    if not 0 <= int(data["rows"]) <= untrusted.MAX_ROWS:
        raise ValueError(f"a shard of {data['rows']} samples")
    if key["split"] not in _SPLITS:
        raise ValueError(f"{key['split']!r} is no split")
    return ShardReceipt(
        action_key=checked_digest(data["action_key"]),
        key=ShardKey(
            source=sys.intern(key["source"]),
            lot=sys.intern(key["lot"]),
            split=_SPLITS[key["split"]],
            members=tuple(int(m) for m in key["members"]),
        ),
        rows=int(data["rows"]),
        bytes=int(data["bytes"]),
        root=checked_digest(root),
        statistics=Statistics.from_json(data["statistics"], spool),
        quarantine=tuple(Quarantined(**q) for q in data["quarantine"]),
        skeleton=sys.intern(checked_digest(data["skeleton"])) if data["skeleton"] else "",
        inputs=_shared(data.get("inputs", {})),
    )


def from_shard(attributes: dict[str, Any], split: str, root: str) -> ShardReceipt:
    """Reads the receipt that a shard carries, which leaves out its split (the recipe's matter) and its root's sha256.

    Raises:
        KeyError, TypeError, ValueError: it carries none.
    """
    stored = attributes["receipt"]
    return from_json(stored | {"key": stored["key"] | {"split": split}, "root": root})


def _shared(inputs: Any) -> dict[str, Any]:
    """Returns equal inputs as one dictionary: most shards of a lot are made of the same."""
    return _parsed(json.dumps(dict(inputs), sort_keys=True))


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def checked_digest(value: Any) -> str:
    """Returns a sha256 in hex as it is.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r:.80} is no digest")
    return value


def identity_of(receipts: Iterable[ShardReceipt]) -> str:
    """Returns the dataset id of a set of shards, independent of their order and of who made them."""
    return merkle_root((r.action_key, r.key.split, r.root) for r in receipts)


def merkle_root(shards: Iterable[tuple[str, str, str]]) -> str:
    """Returns the dataset id of shards, each told by its action key, split and root's sha256.

    The digest of the canonical JSON of the sorted list; a root holds the digests of its shard's other objects.
    """
    digest, before = hashlib.sha256(), "["
    for shard in sorted(shards):
        digest.update((before + canonical_json(shard)).encode())
        before = ","
    digest.update(b"[]" if before == "[" else b"]")
    return digest.hexdigest()


def spooled(receipt: ShardReceipt, spool: Spool) -> ShardReceipt:
    """Returns an equal receipt that takes as little memory as one that was read: for who holds many."""
    return from_json(to_json(receipt), spool)


def from_parquet(data: bytes | memoryview, spool: Spool | None = None) -> tuple[ShardReceipt, ...]:
    """Reads a manifest; with a spool its statistics wait there.

    Raises:
        KeyError, TypeError, ValueError, OSError, pyarrow.ArrowException: it is none.
    """
    return tuple(from_json(untrusted.json_object(text), spool) for text in _receipt_texts(data))


def _receipt_texts(data: bytes | memoryview) -> Iterator[str]:
    """Yields a manifest's receipts few at a time, so that the whole text never lies in memory."""
    # Not read_table, whose first call imports pandas (0.2 s).
    file = pq.ParquetFile(pa.BufferReader(data), **PARQUET_LIMITS)
    check_pages(file.metadata, memoryview(data), {"receipt"})
    for batch in file.iter_batches(256, columns=["receipt"], use_threads=False):
        yield from batch.column(0).to_pylist()


def check_pages(metadata: Any, data: memoryview, wanted: Set[str]) -> None:
    """Refuses columns that would unpack to far more than the file is: ours shrink tenfold, as digests do not shrink.

    Raises:
        ValueError: they would, or a wanted column is not there just once and flat: all of that name would be read.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    whole = 0
    for group in groups:
        columns = [group.column(i) for i in range(group.num_columns)]
        columns = [c for c in columns if c.path_in_schema.partition(".")[0] in wanted]
        if sorted(c.path_in_schema for c in columns) != sorted(wanted):
            raise ValueError(
                f"its columns are not those of a manifest: {', '.join(sorted(wanted))}"
            )
        for column in columns:
            start = column.dictionary_page_offset or column.data_page_offset
            pages = parquet_pages.plain_pages(data, start, column.total_compressed_size)
            if sum(page.values for page in pages) != group.num_rows:
                raise ValueError("its pages hold another number of shards than it says")
            whole += sum(page.unpacked for page in pages)
    if whole > _MAX_RATIO * len(data) + _MAX_SMALL:
        raise ValueError(f"{len(data)} bytes that would unpack to {whole}")


def to_parquet(rows: Sequence[ShardReceipt]) -> bytes:
    """Writes a manifest: its columns for other tools, each whole receipt as JSON in the last."""
    sink = io.BytesIO()
    # Group by group: the texts of all receipts at once are ten times the file.
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=False) as writer:
        for start in range(0, len(rows), _ROWS_PER_GROUP):
            group = records(rows[start : start + _ROWS_PER_GROUP])
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
    return sink.getvalue()


def records(rows: Iterable[ShardReceipt]) -> list[dict[str, Any]]:
    """Returns the rows of a manifest."""
    return [
        {
            "action_key": r.action_key,
            "digest": r.root,
            "source": r.key.source,
            "lot": r.key.lot,
            "split": r.key.split,
            "rows": r.rows,
            "bytes": r.bytes,
            "skeleton": r.skeleton,
            "receipt": json.dumps(to_json(r), sort_keys=True),
        }
        for r in rows
    ]

"""What a dataset consists of: a Parquet manifest of shard receipts, and a chain of commits that name one.

A commit is created exclusively under the next number; who loses the race reads again and tries the next.
The dataset id is the digest of the sorted shards, so equal content has an equal id on every machine.
"""

import importlib.metadata
import io
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.shards import Quarantined, ShardKey, ShardReceipt, canonical_digest
from schemas.statistics import Statistics, total
from schemas.store import Store

_TOOLS = ("numpy", "zarr", "opensim", "anny", "moderngl", "simplejpeg", "opencv-python-headless")
_SCHEMA = pa.schema(
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


def receipt_to_json(receipt: ShardReceipt) -> dict[str, Any]:
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
        "digests": receipt.digests,
        "statistics": receipt.statistics.to_json(),
        "quarantine": [
            {"sample": q.sample, "reason": q.reason, "detail": q.detail} for q in receipt.quarantine
        ],
        "skeleton": receipt.skeleton,
    }


def receipt_from_json(data: dict[str, Any]) -> ShardReceipt:
    """Reads what `receipt_to_json` wrote."""
    key = data["key"]
    return ShardReceipt(
        action_key=data["action_key"],
        key=ShardKey(
            source=key["source"],
            lot=key["lot"],
            split=key["split"],
            members=tuple(int(m) for m in key["members"]),
        ),
        rows=int(data["rows"]),
        bytes=int(data["bytes"]),
        digests=dict(data["digests"]),
        statistics=Statistics.from_json(data["statistics"]),
        quarantine=tuple(Quarantined(**q) for q in data["quarantine"]),
        skeleton=data["skeleton"],
    )


def dataset_id(receipts: Iterable[ShardReceipt]) -> str:
    """Returns the identity of a set of shards, independent of their order and of who made them."""
    return canonical_digest(sorted([r.action_key, r.digests["zarr.json"]] for r in receipts))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One published state of a dataset."""

    url: str
    number: int
    dataset_id: str
    parent: str | None
    created: str
    recipe: dict[str, Any]
    tools: dict[str, str]
    shards: tuple[ShardReceipt, ...]

    @property
    def store(self) -> Store:
        """Returns the store that the shards lie in."""
        return Store(self.url)

    @property
    def rows(self) -> int:
        """Returns the number of samples."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Returns the stored size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def statistics(self) -> Statistics:
        """Returns the merged statistics of all shards."""
        return total([shard.statistics for shard in self.shards])

    @property
    def skeletons(self) -> tuple[str, ...]:
        """Returns the fingerprints of the skeletons in use, sorted; COCO has none."""
        return tuple(sorted({shard.skeleton for shard in self.shards} - {""}))


def open_dataset(url: str) -> Dataset:
    """Opens the newest published state.

    Raises:
        InputError: nothing is published there, or it cannot be reached or read.
    """
    paths = Store(url).list_paths("commits")
    if not paths:
        raise InputError(url, "holds no published dataset", "Check the URL, or build it first")
    return _open(url, paths[-1])


def _open(url: str, path: str) -> Dataset:
    store = Store(url)
    try:
        commit = json.loads(store.get_bytes(path))
        table = pq.read_table(
            io.BytesIO(store.get_bytes(f"manifests/{commit['manifest']}.parquet"))
        )
        receipts = tuple(receipt_from_json(json.loads(r)) for r in table["receipt"].to_pylist())
        return Dataset(
            url=url,
            number=int(commit["number"]),
            dataset_id=commit["dataset_id"],
            parent=commit["parent"],
            created=commit["created"],
            recipe=commit["recipe"],
            tools=commit["tools"],
            shards=receipts,
        )
    except (KeyError, TypeError, ValueError, FileNotFoundError, pa.ArrowException) as error:
        raise InputError(
            f"{url}/{path}", f"is no readable commit ({error!r})", "Build the dataset again"
        ) from error


def find_dataset(url: str) -> Dataset | None:
    """Opens the newest published state, or returns None where nothing is published."""
    return open_dataset(url) if Store(url).list_paths("commits") else None


def publish(url: str, recipe: dict[str, Any], receipts: Iterable[ShardReceipt]) -> Dataset:
    """Makes a set of written shards the newest state of the dataset and returns it; the same state again is a no-op.

    A write whose acknowledgement was lost is recognised by the id inside the commit.
    """
    store = Store(url)
    rows = sorted(receipts, key=lambda r: (r.key, r.action_key))
    identity = dataset_id(rows)
    write_id = secrets.token_hex(16)
    store.create_bytes(f"manifests/{identity}.parquet", _parquet(rows))
    while True:
        head = find_dataset(url)
        if head is not None and head.dataset_id == identity and head.recipe == recipe:
            return head
        number = head.number + 1 if head else 0
        path = f"commits/{number:020d}.json"
        commit = {
            "number": number,
            "manifest": identity,
            "dataset_id": identity,
            "parent": head.dataset_id if head else None,
            "write_id": write_id,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "recipe": recipe,
            "tools": tool_versions(),
        }
        if store.create_bytes(path, json.dumps(commit, indent=1, sort_keys=True).encode()):
            return _open(url, path)
        if json.loads(store.get_bytes(path)).get("write_id") == write_id:
            return _open(url, path)


def tool_versions() -> dict[str, str]:
    """Returns the versions of what shapes a shard's bytes, for provenance."""
    return {name: importlib.metadata.version(name) for name in _TOOLS}


def _parquet(rows: list[ShardReceipt]) -> bytes:
    records = [
        {
            "action_key": r.action_key,
            "digest": r.digests["zarr.json"],
            "source": r.key.source,
            "lot": r.key.lot,
            "split": r.key.split,
            "rows": r.rows,
            "bytes": r.bytes,
            "skeleton": r.skeleton,
            "receipt": json.dumps(receipt_to_json(r), sort_keys=True),
        }
        for r in rows
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema=_SCHEMA), sink, compression="zstd")
    return sink.getvalue()

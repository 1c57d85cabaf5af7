"""A dataset of shards a few bytes long, with all that published ones have, for tests of what looks after it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tiny_skeleton import tiny_skeleton

from schemas import files, manifest, receipts
from schemas.manifest import Dataset
from schemas.shards import ShardKey, ShardReceipt, canonical_digest
from schemas.statistics import Statistics
from schemas.store import Store

MODEL = b"<OpenSimDocument/>"
SKELETON = tiny_skeleton()


def shard(
    url: str,
    number: int,
    version: int = 1,
    model: bytes = MODEL,
    forged: Mapping[str, str] | None = None,
) -> ShardReceipt:
    """Writes a shard of three objects, the root last, which lists those `forged`, too; returns its receipt."""
    inputs: dict[str, Any] = {
        "stages": {"pose": version},
        "files": {"model": files.digest(model)},
    }
    key = ShardKey(source="synth", lot="squat", split="train", members=(number, number + 1))
    action_key = canonical_digest([str(key), inputs])
    store = Store(url)
    store.put_skeleton(SKELETON)
    data = {
        "image/c/0": f"picture {number} {version}".encode() * 9,
        "q/c/0/0": f"{number} {version}".encode(),
    }
    receipt = ShardReceipt(
        action_key=action_key,
        key=key,
        rows=2,
        bytes=sum(map(len, data.values())),
        root="",
        statistics=Statistics(),
        quarantine=(),
        skeleton=SKELETON.fingerprint,
        inputs=inputs,
    )
    tables = {"model": store.put_model(model)}
    listed = {path: files.digest(content) for path, content in data.items()} | dict(forged or {})
    attributes = {"receipt": receipts.to_json(receipt) | {"digests": listed}, "tables": tables}
    root = json.dumps({"attributes": {"kineforge": attributes}}, sort_keys=True).encode()
    for path, content in data.items():
        store.put_bytes(f"shards/{action_key}/{path}", content)
    store.put_bytes(f"shards/{action_key}/zarr.json", root)
    return dataclasses.replace(receipt, root=files.digest(root))


def publish(
    url: str, *shards: tuple[int, int] | int, complete: bool = True, **recipe: Any
) -> Dataset:
    """Publishes shards by number, or by number and version."""
    made = [shard(url, *(s if isinstance(s, tuple) else (s,))) for s in shards]
    return manifest.publish(url, {"name": "tiny", **recipe}, made, complete=complete)


def every_object(url: str) -> dict[str, bytes]:
    """Reads the whole store."""
    store = Store(url)
    return {path: store.get_bytes(path) for path in store.list_paths("")}


def whole_shards_are_whole(url: str) -> bool:
    """Says whether every shard that has its root has all its objects."""
    held = every_object(url)
    for path, data in held.items():
        if path.endswith("/zarr.json"):
            receipt = json.loads(data)["attributes"]["kineforge"]["receipt"]
            base = path.removesuffix("/zarr.json")
            if any(f"{base}/{name}" not in held for name in receipt["digests"]):
                return False
    return True

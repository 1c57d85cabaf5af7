"""What a stranger may serve: forged commits, manifests, metadata, frames, pictures for tests of what refuses them."""

import dataclasses
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import manifest
from schemas.manifest import commit_path, manifest_path
from schemas.receipts import to_json
from schemas.store import Store
from schemas.training import Streaming
from trainers.corpus import open_corpus
from trainers.data import SampleStream
from workers import images

HEX = "f" * 64
MAX_SIDE = 65500
"""Of a picture, in libjpeg."""
DEEP = b'{"a":' * 100_000


def deep(levels: int) -> dict[str, Any]:
    """Nests as deep as JSON is still read, deeper than a walk through it may go."""
    document: dict[str, Any] = {}
    for _ in range(levels):
        document = {"a": document}
    return document


def shard_of(url: str) -> str:
    return sorted(Store(url).action_keys())[0]


def read(url: str, *names: str) -> None:
    Store(url).read_arrays(shard_of(url), names or ("image", "image_offset", "keypoints"))


def edit(url: str, array: str, **changes: Any) -> None:
    """Rewrites what a shard's metadata say of one array."""
    path = f"shards/{shard_of(url)}/zarr.json"
    root = json.loads(Store(url).get_bytes(path))
    root["consolidated_metadata"]["metadata"][array] |= changes
    Store(url).put_bytes(path, json.dumps(root).encode())


def put(url: str, path: str, data: bytes) -> None:
    """Writes past the guards, as whoever owns the server can."""
    place = Path(url, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def forge_commit(url: str, **changes: Any) -> None:
    document = json.loads(Store(url).get_bytes(commit_path(0)))
    put(url, commit_path(0), json.dumps(document | changes).encode())


def forge_manifest(url: str, data: bytes) -> None:
    forge_commit(url, dataset_id=HEX)
    put(url, manifest_path(HEX), data)


def receipts(url: str) -> list[dict[str, Any]]:
    return [to_json(r) for r in manifest.open_dataset(url).shards]


def parquet(texts: list[str], **options: Any) -> bytes:
    sink = io.BytesIO()
    settings = {"compression": "zstd", "use_dictionary": False} | options
    pq.write_table(pa.table({"receipt": pa.array(texts, pa.string())}), sink, **settings)
    return sink.getvalue()


def zstd_zeros(size: int, announced: int | None) -> bytes:
    """Makes a frame of zeros by hand, 4 bytes for each 128 kB (RFC 8878: blocks of type RLE)."""
    head = b"\x28\xb5\x2f\xfd"
    head += b"\x00\x38" if announced is None else b"\xc0\x38" + announced.to_bytes(8, "little")
    blocks, step = [], 2**17
    for start in range(0, size, step):
        count = min(step, size - start)
        word = count << 3 | 1 << 1 | int(start + count == size)
        blocks.append(word.to_bytes(3, "little") + b"\x00")
    return head + b"".join(blocks)


def jpeg_of(width: int, height: int) -> bytes:
    """Makes a JPEG of a few hundred bytes whose header announces that size."""
    data = bytearray(images.encode(np.zeros((16, 16, 3), np.uint8), 50))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def stream(url: str) -> None:
    """Reads every sample as training does; the stranger has forged every digest, too."""
    found = open_corpus([manifest.open_dataset(url)], "train")
    shards = tuple(dataclasses.replace(shard, root=None) for shard in found.shards)
    corpus = dataclasses.replace(found, shards=shards)
    options = Streaming(threads=1)
    batches = SampleStream(corpus=corpus, arrays=("box",), batch=1, seed=0, options=options)
    for _ in batches.batches(0, lambda batch: batch):
        pass


def raw_frame(data: bytes) -> bytes:
    """Makes a zstd frame of one uncompressed block (RFC 8878)."""
    head = b"\x28\xb5\x2f\xfd\xe0" + len(data).to_bytes(8, "little")
    return head + (len(data) << 3 | 1).to_bytes(3, "little") + data

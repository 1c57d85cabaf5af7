"""LitData, MosaicML Streaming and WebDataset at their own best settings, for `benchmarks.stream`.

Runs in the peers' interpreter (`benchmarks/peers.txt`). Each keeps samples as the same JPEG bytes, shuffles as its
makers recommend, decodes in its own workers by the same decoder, straight into the batch, and gives batches of 64.
"""

import importlib
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

from benchmarks.stream_samples import BATCH, JOINTS, Ready, Row, Samples, ready

_CHUNK = 12_000_000
"""Bytes: about 512 samples, as in our shards, so that two workers have many files each."""


def stand_in() -> Any:
    """Lets MosaicML Streaming import where torchvision has no CPU build and transformers fits no other package.

    Returns what must be kept: torchvision's schemas live as long as it. Neither package is used by what is measured.
    """
    library = cast(Any, torch.library.Library)("torchvision", "FRAGMENT")
    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    wanted = {
        "transformers": (),
        "transformers.feature_extraction_utils": ("BatchFeature",),
        "transformers.tokenization_utils_base": ("BatchEncoding",),
        "transformers.models": (),
        "transformers.models.auto": (),
        "transformers.models.auto.tokenization_auto": ("AutoTokenizer",),
    }
    for module, classes in wanted.items():
        made: Any = types.ModuleType(module)
        made.__path__ = []
        for name in classes:
            setattr(made, name, type(name, (), {}))
        sys.modules.setdefault(module, made)
    return library


def package(name: str) -> Any:
    """Imports a peer's module; only their interpreter has it, so that nothing here can check its types."""
    return importlib.import_module(name)


def ahead(workers: int) -> dict[str, Any]:
    """Returns what suits every loader of torch: workers that stay, four batches ahead of each."""
    kept = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    return {"num_workers": workers, **kept}


def loader(dataset: Any, workers: int, collate: Callable[[Any], Ready], **more: Any) -> Any:
    """Returns torch's loader."""
    return DataLoader(dataset, collate_fn=collate, **ahead(workers), **more)


def again(batches: Iterable[Ready]) -> Iterator[Iterator[Ready]]:
    """Yields one pass after the other."""
    while True:
        yield iter(batches)


def _columns(row: Row) -> dict[str, Any]:
    return {"id": row.number, "jpeg": row.jpeg, "keypoints": row.keypoints, "box": row.box}


def from_columns(rows: list[dict[str, Any]]) -> Ready:
    """Makes a batch of rows that are dicts."""
    return ready([Row(r["id"], r["jpeg"], r["keypoints"], r["box"]) for r in rows])


class LitData:
    """Lightning's StreamingDataset."""

    settings = "shuffle=True, chunks of 12 MB, max_pre_download=8, StreamingDataLoader"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes chunks through its Cache writer, as `optimize` does in each of its workers."""
        folder.mkdir(parents=True)
        writer = package("litdata.streaming.writer").BinaryWriter(str(folder), chunk_bytes=_CHUNK)
        for i, row in enumerate(samples.rows()):
            writer.add_item(i, _columns(row))
        writer.done()
        writer.merge()

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens and yields epochs; a remote dataset is cached in `cache`."""
        litdata = package("litdata")
        # Its S3 client refuses plain http, which a server on loopback speaks.
        package("litdata.streaming.downloader")._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
        remote = {"cache_dir": str(cache)} if "://" in url else {}
        dataset = litdata.StreamingDataset(
            url, shuffle=True, drop_last=False, max_pre_download=8, **remote
        )
        return again(
            litdata.StreamingDataLoader(
                dataset, batch_size=BATCH, collate_fn=from_columns, **ahead(workers)
            )
        )


class MosaicML:
    """MosaicML Streaming."""

    def __init__(self) -> None:
        self._kept = stand_in()

    settings = "shuffle=True (py1e), MDS shards of 12 MB, batch_size given, predownload 8 batches"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes MDS shards."""
        kinds = {"id": "int", "jpeg": "bytes", "keypoints": "bytes", "box": "bytes"}
        mds = package("streaming").MDSWriter
        with mds(out=str(folder), columns=kinds, size_limit=_CHUNK) as writer:
            for row in samples.rows():
                writer.write(_columns(row))

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens and yields epochs; a remote dataset is cached in `cache`."""
        os.environ["S3_ENDPOINT_URL"] = os.environ.get("AWS_ENDPOINT_URL", "")
        package("streaming.base.util").clean_stale_shared_memory()
        place = {"remote": url, "local": str(cache)} if "://" in url else {"local": url}
        dataset = package("streaming").StreamingDataset(
            **place, shuffle=True, batch_size=BATCH, predownload=8 * BATCH
        )
        return again(loader(dataset, workers, from_columns, batch_size=BATCH))


class WebDataset:
    """WebDataset over tar files."""

    settings = "shardshuffle, shuffle(1000), tars of 512, presigned URLs through curl, cache_dir"

    def write(self, samples: Samples, folder: Path) -> None:
        """Writes tar files."""
        webdataset = package("webdataset")
        folder.mkdir(parents=True)
        with webdataset.ShardWriter(f"{folder}/%05d.tar", maxcount=512, verbose=0) as sink:
            for row in samples.rows():
                targets = row.keypoints + row.box
                sink.write({"__key__": f"{row.number:08d}", "jpg": row.jpeg, "bin": targets})

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens and yields epochs; a remote dataset is cached in `cache`."""
        webdataset = package("webdataset")
        remote = {"cache_dir": str(cache)} if "://" in url else {}
        cache.mkdir(parents=True, exist_ok=True)
        urls = _presigned(url) if "://" in url else sorted(map(str, Path(url).glob("*.tar")))
        dataset = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0, **remote)
        pairs = dataset.shuffle(1000).to_tuple("__key__", "jpg", "bin")
        batches = pairs.batched(BATCH, collation_fn=_from_tar)
        return again(webdataset.WebLoader(batches, batch_size=None, **ahead(workers)))


def _from_tar(rows: list[tuple[str, bytes, bytes]]) -> Ready:
    size = 4 * JOINTS * 3
    return ready([Row(int(key), jpeg, t[:size], t[size:]) for key, jpeg, t in rows])


def _presigned(url: str) -> list[str]:
    """Returns a readable http URL of every tar under an s3:// URL, as its documentation advises for private data."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = package("boto3").client("s3")
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    keys = sorted(entry["Key"] for entry in found)
    return [
        client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=86_400
        )
        for key in keys
        if key.endswith(".tar")
    ]

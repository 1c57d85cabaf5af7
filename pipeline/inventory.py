"""Which objects a published state consists of, and work on many of them at once in bounded memory."""

import contextlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from schemas import files, receipts, untrusted
from schemas.errors import InputError
from schemas.shards import ShardReceipt
from schemas.store import Store, listed_digests

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Told how much is done, and how much there is in all: bytes of shards, or objects."""
THREADS = 16
_ROUNDS = 3
DIGEST = re.compile(r"[0-9a-f]{64}")
_INSIDE = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*(?:/zarr\.json)?|zarr\.json")


def shard_objects(action_key: str, root: bytes) -> dict[str, str]:
    """Returns the sha256 of a shard's objects but the root, by their paths in the dataset, as its root lists them.

    Raises:
        KeyError, TypeError, ValueError: it lists none, or places outside the shard, which ours never do.
    """
    return _listed(action_key, untrusted.json_object(root))


def _listed(action_key: str, document: Mapping[str, Any]) -> dict[str, str]:
    named = listed_digests(document)
    if not all(map(_INSIDE.fullmatch, named)):
        raise ValueError("it names places outside its shard")
    return {f"shards/{action_key}/{path}": digest for path, digest in named.items()}


def root_of(action_key: str) -> str:
    """Returns where the object lies that makes a shard whole."""
    return f"shards/{action_key}/zarr.json"


def model_in(root: bytes) -> str | None:
    """Returns the sha256 of the model that a shard's root metadata names, or None where it names none."""
    try:
        return _model(untrusted.json_object(root)["attributes"]["kineforge"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _model(attributes: Any) -> str | None:
    tables = attributes.get("tables", {})
    model = tables.get("model") if isinstance(tables, dict) else None
    return model if isinstance(model, str) and DIGEST.fullmatch(model) else None


class Contents(NamedTuple):
    """What a shard consists of, as its root metadata tells it."""

    objects: dict[str, str]
    """sha256 of all objects but the root, by their paths in the dataset."""
    model: str | None
    """sha256 of the model that it was made of."""


def contents(root: bytes, receipt: ShardReceipt) -> Contents | None:
    """Reads a shard's root metadata; None where it tells other than the receipt, or lists objects not its own.

    The dataset id covers roots alone, so what a manifest says beyond them holds only if they say it too.
    """
    try:
        document = untrusted.json_object(root)
        attributes = document["attributes"]["kineforge"]
        told = receipts.from_shard(attributes, receipt.key.split, receipt.root)
        found = Contents(_listed(receipt.action_key, document), _model(attributes))
    except untrusted.BROKEN:
        return None
    return found if _without_inputs(told) == _without_inputs(receipt) else None


def _without_inputs(receipt: ShardReceipt) -> dict[str, Any]:
    return receipts.to_json(receipt) | {"inputs": None}


def model_of(receipt: ShardReceipt) -> str | None:
    """Returns the sha256 of the model that a shard says it was made of, or None where it says none."""
    named = receipt.inputs.get("files")
    model = named.get("model") if isinstance(named, dict) else None
    return model if isinstance(model, str) and DIGEST.fullmatch(model) else None


def skeleton_path(fingerprint: str) -> str:
    """Returns where a skeleton lies.

    Raises:
        InputError: no fingerprint.
    """
    if not DIGEST.fullmatch(fingerprint):
        raise InputError(
            f"skeleton {fingerprint[:80]!r}", "is no fingerprint", "Do not trust this dataset"
        )
    return f"skeletons/{fingerprint}.json"


def model_path(digest: str) -> str:
    """Returns where a model lies."""
    return f"models/{digest}.osim"


def sizes(url: str, prefix: str) -> dict[str, int]:
    """Returns the bytes of every object under a folder by one listing."""
    return {found.path: found.size for found in Store(url).objects.listing(prefix)}


def concurrently(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS
) -> Iterator[Result]:
    """Maps by threads, in order; takes items only as fast as results are taken away."""
    window: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                window.append(pool.submit(function, item))
                if len(window) >= 4 * threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def inside(url: str, action_key: str) -> None:
    """Refuses a shard's folder that is a link to elsewhere on this machine's disk.

    Raises:
        InputError: it is.
    """
    folder = _on_disk(url)
    if folder is None:
        return
    place = folder / "shards" / action_key
    if place.resolve() != place:
        raise InputError(str(place), "is a link to elsewhere", "Remove the link by hand")


def _on_disk(url: str) -> Path | None:
    """Returns the folder of a dataset on this machine's disk, None for any other store."""
    if "://" in url and not url.startswith("file://"):
        return None
    return Path(files.absolute(url.removeprefix("file://"))).resolve()


def remove_shard(url: str, action_key: str) -> int:
    """Deletes a shard, the root first, so that it is at no time whole with objects missing; says how many.

    Raises:
        InputError: its folder is a link to elsewhere, or the store failed.
    """
    inside(url, action_key)
    store = Store(url).objects
    root = root_of(action_key)
    store.delete(root)
    removed = 1
    for _ in range(_ROUNDS):  # a listing may lag behind
        found = [f.path for f in store.listing(f"shards/{action_key}") if f.path != root]
        if not found:
            break
        removed += sum(1 for _ in concurrently(store.delete, found))
    if (folder := _on_disk(url)) is not None:
        _remove_empty_folders(folder / "shards" / action_key)
    return removed


def _remove_empty_folders(top: Path) -> None:
    """Removes what a file that was deleted by hand leaves: an empty folder, which would still be listed."""
    for place, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # not empty: someone writes it again
            os.rmdir(place)

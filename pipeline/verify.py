"""Checks every stored byte of a published state: the manifest holds the digests of roots, and those of all else."""

import functools
from collections.abc import Iterable
from typing import NamedTuple

from pipeline import inventory
from pipeline.inventory import Progress
from schemas import files, leases, manifest, untrusted
from schemas.errors import InputError
from schemas.manifest import Dataset
from schemas.manifest_checks import is_consistent
from schemas.shards import ShardReceipt
from schemas.skeleton import SkeletonSpec
from schemas.store import Store

_UNREADABLE = 8
"""So many unreadable shards in a row are the store's failure, not theirs."""


class Fault(NamedTuple):
    """One object that is not what it should be."""

    path: str
    problem: str
    remedy: str
    action_key: str = ""
    """The shard that must be made again, "" where there is none."""
    certain: bool = True
    """False where the store failed to read it: nothing is deleted for that."""


class _Checked(NamedTuple):
    """One shard."""

    faults: list[Fault]
    unreadable: InputError | None = None
    """Why the store could not be read; the rest of the shard was not looked at then."""
    model: str | None = None


def verify(url: str, *, quick: bool = False, progress: Progress | None = None) -> list[Fault]:
    """Checks one published state; [] where all is well.

    Args:
        url: the dataset, `URL@reference` for an older state.
        quick: trust what is listed: presence and sizes only, by one listing.
        progress: told of every shard, in bytes.

    Raises:
        InputError: nothing is published there, or the store cannot be read.
    """
    tell = progress or (lambda done, total: None)
    dataset = _open(url)
    if isinstance(dataset, Fault):
        return [dataset]
    return _quick(dataset, tell) if quick else _thorough(dataset, tell)


def _open(url: str) -> Dataset | Fault:
    try:
        dataset = manifest.open_dataset(url)
        if is_consistent(dataset):
            return dataset
        path, problem = dataset.dataset_id, "contradicts itself"
    except InputError as error:
        path, problem = error.value.partition("/manifests/")[2], error.reason
        if not path:
            raise
    return Fault(
        f"manifests/{path.removesuffix('.parquet')}.parquet",
        problem,
        "No build makes it again. Put it back from a copy of the dataset, or delete it and the commits "
        "that name it and build again: whole shards are kept",
    )


def _thorough(dataset: Dataset, tell: Progress) -> list[Fault]:
    seen: list[tuple[ShardReceipt, _Checked]] = []
    unreadable: list[ShardReceipt] = []
    total, done, failed = dataset.bytes, 0, 0
    most = min(_UNREADABLE, max(2, len(dataset.shards)))
    check = functools.partial(_check, dataset.store)
    checked = inventory.concurrently(check, dataset.shards)
    for receipt, found in zip(dataset.shards, checked, strict=True):
        failed = failed + 1 if found.unreadable else 0
        if found.unreadable and failed >= most:
            raise found.unreadable
        if found.unreadable:
            unreadable.append(receipt)
        elif found.faults or found.model:
            seen.append((receipt, found))
        done += receipt.bytes
        tell(done, total)
    # Once more: a store that failed for a moment says nothing of its objects, and what is bad may be deleted.
    seen += zip(unreadable, map(check, unreadable), strict=True)
    models: dict[str, str] = {}
    for receipt, found in seen:
        if found.model:
            models.setdefault(found.model, receipt.action_key)
    return [fault for _, found in seen for fault in found.faults] + _small(dataset, models)


def _check(store: Store, receipt: ShardReceipt) -> _Checked:
    """Compares a shard's root with its receipt, and all its other objects with what the root says of them."""
    key, path = receipt.action_key, inventory.root_of(receipt.action_key)
    faults: list[Fault] = []
    try:
        root, problem = _read(store, path, receipt.root)
        contents = inventory.contents(root, receipt)
        if problem is not None or contents is None:
            told = "tells other contents than the manifest does"
            return _Checked([_bad(path, problem or told, key)])
        for path, digest in contents.objects.items():
            _, problem = _read(store, path, digest)
            if problem is not None:
                faults.append(_bad(path, problem, key))
    except InputError as error:
        return _Checked([*faults, Fault(path, error.reason, "Verify again", key, False)], error)
    return _Checked(faults, model=contents.model)


def _read(store: Store, path: str, digest: str) -> tuple[bytes, str | None]:
    """Returns an object and what is wrong with it."""
    try:
        data = store.get_bytes(path)
    except FileNotFoundError:
        return b"", "is missing"
    if files.digest(data) != digest:
        return data, f"is not what was written ({len(data)} bytes)"
    return data, None


def _bad(path: str, problem: str, action_key: str) -> Fault:
    return Fault(
        path, problem, f"Delete shards/{action_key} (or --delete-bad), then build again", action_key
    )


def _small(dataset: Dataset, models: dict[str, str]) -> list[Fault]:
    """Checks the skeletons and models that the shards name."""
    faults = []
    users = {r.skeleton: r.action_key for r in reversed(dataset.shards) if r.skeleton}
    for fingerprint, action_key in sorted(users.items()):
        path = inventory.skeleton_path(fingerprint)
        if problem := _problem(dataset.store, path, fingerprint):
            faults.append(_remade(path, problem, action_key))
    for model, action_key in sorted(models.items()):
        path = inventory.model_path(model)
        if problem := _problem(dataset.store, path, model):
            faults.append(_remade(path, problem, action_key))
    return faults


def _problem(store: Store, path: str, name: str) -> str | None:
    """Says what is wrong with a skeleton or model, which its name tells."""
    try:
        data = store.get_bytes(path)
    except FileNotFoundError:
        return "is missing"
    if path.startswith("models/"):
        return None if files.digest(data) == name else "is not what its name says"
    try:
        spec = SkeletonSpec.from_json(data.decode())
    except (KeyError, TypeError, ValueError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:200]})"
    return None if spec.fingerprint == name else "is not what its name says"


def _remade(path: str, problem: str, action_key: str) -> Fault:
    return Fault(
        path,
        problem,
        f"Delete it and shards/{action_key}, which is made of it (or --delete-bad), then build again",
        action_key,
    )


def _quick(dataset: Dataset, tell: Progress) -> list[Fault]:
    listed: dict[str, dict[str, int]] = {}
    for path, size in inventory.sizes(dataset.url, "shards").items():
        listed.setdefault(path.split("/")[1], {})[path] = size
    faults, total, done = [], dataset.bytes, 0
    for receipt in dataset.shards:
        faults += _quick_shard(dataset.store, receipt, listed.get(receipt.action_key, {}))
        done += receipt.bytes
        tell(done, total)
    small = inventory.sizes(dataset.url, "skeletons") | inventory.sizes(dataset.url, "models")
    for path, action_key in sorted(_named_small(dataset.shards).items()):
        if not small.get(path) and not _size(dataset.store, path):
            faults.append(_remade(path, "is missing or empty", action_key))
    return faults


def _quick_shard(store: Store, receipt: ShardReceipt, listed: dict[str, int]) -> list[Fault]:
    key, path = receipt.action_key, inventory.root_of(receipt.action_key)
    if listed.get(path) and sum(listed.values()) - listed[path] == receipt.bytes:
        return []
    # A listing may lag behind: what it lacks is asked for by name, and the root knows the names.
    try:
        root = store.get_bytes(path)
    except FileNotFoundError:
        return [_bad(path, "is missing", key)]
    try:
        named = inventory.shard_objects(key, root)
    except untrusted.BROKEN:
        return [_bad(path, "lists no objects of its own" if root else "is empty", key)]
    sizes = {p: listed[p] if p in listed else _size(store, p) for p in named}
    missing = [_bad(p, "is missing", key) for p, size in sizes.items() if size is None]
    found = sum(size or 0 for size in sizes.values())
    if missing or found == receipt.bytes:
        return missing
    problem = f"holds {found} bytes, but {receipt.bytes} were written"
    return [_bad(f"shards/{key}", problem, key)]


def _size(store: Store, path: str) -> int | None:
    try:
        return len(store.objects.get(path))
    except FileNotFoundError:
        return None


def _named_small(shards: Iterable[ShardReceipt]) -> dict[str, str]:
    """Returns a shard by each skeleton and model that receipts name."""
    named: dict[str, str] = {}
    for receipt in shards:
        if receipt.skeleton:
            named.setdefault(inventory.skeleton_path(receipt.skeleton), receipt.action_key)
        if model := inventory.model_of(receipt):
            named.setdefault(inventory.model_path(model), receipt.action_key)
    return named


def delete_bad(url: str, faults: Iterable[Fault]) -> int:
    """Deletes what `verify` found to be bad, shards whole, so that the next build makes it again.

    Returns:
        The number of shards deleted.

    Raises:
        InputError: a running build wants one of them.
    """
    bad = [fault for fault in faults if fault.action_key and fault.certain]
    keys = sorted({fault.action_key for fault in bad})
    with leases.sweep(url):
        for lease in leases.held(url):
            if lease.alive and not lease.wanted.isdisjoint(keys):
                raise InputError(
                    url,
                    f"a build that runs on {lease.host} (process {lease.pid}) wants a shard that is bad",
                    "Let it end, then verify again",
                )
        for key in keys:
            inventory.remove_shard(url, key)
        for fault in bad:
            if not fault.path.startswith("shards/"):
                Store(url).objects.delete(fault.path)
        _forget(url, set(keys))
    return len(keys)


def _forget(url: str, keys: set[str]) -> None:
    """Publishes an unfinished state without the deleted shards, from which the next build goes on.

    Some stores go on listing the folder of a shard that is gone, so a build believes what the newest state says.
    """
    head = manifest.find_dataset(url)
    if head is None or keys.isdisjoint(r.action_key for r in head.shards):
        return
    left = [receipt for receipt in head.shards if receipt.action_key not in keys]
    manifest.publish(url, head.recipe, left, complete=False, build={"deleted": sorted(keys)})

"""Copies a published state to another store: only what is missing there, every byte checked on the way.

A shard's root metadata is written after its other objects, the manifest after all shards, the commit last; so a
copy that was stopped leaves nothing half visible, and the same command goes on where it stopped.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from pipeline import history, inventory
from pipeline.inventory import Progress
from schemas import files, leases, manifest, untrusted
from schemas.errors import InputError
from schemas.manifest import Dataset
from schemas.shards import ShardReceipt
from schemas.skeleton import SkeletonSpec
from schemas.store import Store


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What a copy did."""

    dataset: Dataset
    """The state at the target."""
    objects: int
    """Objects written now; the others were there."""
    bytes: int
    tags: tuple[str, ...]
    """Tags that the target has now."""


class _Moved(NamedTuple):
    objects: int
    bytes: int
    models: frozenset[str]


def copy(url: str, target: str, *, tags: bool = False, progress: Progress | None = None) -> Copied:
    """Copies one state, `URL@reference` for an older one; it becomes the newest of the target.

    Args:
        url: the dataset to read.
        target: the store to write to; other states there stay.
        tags: also copy every tagged state, with its tag.
        progress: told of every shard, in bytes, per state.

    Raises:
        InputError: a store failed, an object is not what was written, or a tag is taken at the target.
    """
    base, _ = manifest.split_reference(url)
    if manifest.split_reference(target)[1] is not None:
        raise InputError(target, "names a state, not a place to copy to", "Leave out @…")
    if files.absolute(base) == files.absolute(target):
        raise InputError(target, "is the dataset itself", "Name another place")
    source = manifest.open_dataset(url)
    wanted = _untagged_there(source, target) if tags else {}
    objects = size = 0
    for name in sorted(wanted, key=lambda name: (wanted[name].number, name)):
        state, moved = _copy_state(wanted[name], target, progress, newest=False)
        history.add_tag(target, name, str(state.number))
        objects, size = objects + moved.objects, size + moved.bytes
    dataset, moved = _copy_state(source, target, progress, newest=True)
    return Copied(
        dataset=dataset,
        objects=objects + moved.objects,
        bytes=size + moved.bytes,
        tags=tuple(history.tags(base)) if tags else (),
    )


def _untagged_there(source: Dataset, target: str) -> dict[str, Dataset]:
    """Returns the tagged states whose tags the target lacks, before anything is written."""
    there = history.tags(target)
    missing = {}
    for name, number in history.tags(source.url).items():
        state = manifest.open_dataset(f"{source.url}@{number}")
        if name not in there:
            missing[name] = state
        elif (found := manifest.read_commit(target, there[name]).dataset_id) != state.dataset_id:
            raise InputError(
                f"{target}@{name}",
                f"is taken: it names dataset {found[:12]}, not {state.dataset_id[:12]}",
                "Delete one of the two tags, or copy without tags",
            )
    return missing


def _copy_state(
    source: Dataset, target: str, progress: Progress | None, *, newest: bool
) -> tuple[Dataset, _Moved]:
    with leases.hold(target, [receipt.action_key for receipt in source.shards]):
        moved = _copy_shards(source, target, progress or (lambda done, total: None))
        for fingerprint in {r.skeleton for r in source.shards if r.skeleton}:
            _copy_small(source.url, target, inventory.skeleton_path(fingerprint), fingerprint)
        for model in moved.models:
            _copy_small(source.url, target, inventory.model_path(model), model)
        there = None if newest else _published(target, source)
        return there or _publish(source, target), moved


def _copy_shards(source: Dataset, target: str, tell: Progress) -> _Moved:
    there = inventory.sizes(target, "shards")
    here = inventory.sizes(source.url, "shards") if there else {}
    move = functools.partial(_copy_shard, source.store, Store(target), here, there)
    objects = size = done = 0
    total = source.bytes
    models: set[str] = set()
    for receipt, moved in zip(
        source.shards, inventory.concurrently(move, source.shards), strict=True
    ):
        objects, size, models = objects + moved.objects, size + moved.bytes, models | moved.models
        done += receipt.bytes
        tell(done, total)
    return _Moved(objects, size, frozenset(models))


def _copy_shard(
    source: Store,
    target: Store,
    here: Mapping[str, int],
    there: Mapping[str, int],
    receipt: ShardReceipt,
) -> _Moved:
    """Copies what is missing of one shard, the root last; whatever either listing lacks is copied."""
    path = inventory.root_of(receipt.action_key)
    inventory.inside(target.url, receipt.action_key)
    held = _root_at(target, receipt)
    if held is None:
        there = {}  # what lies there may be another build's: sizes say too little
    root = held or _checked(source, path, receipt.root)
    contents = inventory.contents(root, receipt)
    if contents is None:
        _refuse(source, path, "tells other contents than the manifest does")
    objects = size = 0
    for name, digest in contents.objects.items():
        if name not in there or there[name] != here.get(name):
            data = _checked(source, name, digest)
            target.put_bytes(name, data)
            objects, size = objects + 1, size + len(data)
    if held is None:
        target.put_bytes(path, root)
        objects, size = objects + 1, size + len(root)
    return _Moved(objects, size, frozenset({contents.model} if contents.model else ()))


def _root_at(target: Store, receipt: ShardReceipt) -> bytes | None:
    """Returns the shard's root, which lists all its other objects, where the target has it.

    Raises:
        InputError: it has a whole shard of that name with other bytes; states of the target may consist of it.
    """
    path = inventory.root_of(receipt.action_key)
    try:
        root = target.get_bytes(path)
        if files.digest(root) == receipt.root:
            return root
        attributes = untrusted.json_object(root)["attributes"]["kineforge"]
        whole = attributes["receipt"]["action_key"] == receipt.action_key
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError):  # cut short: the copy mends it
        return None
    if whole:
        raise InputError(
            f"{target.url}/{path}",
            "is of the same name as a shard of the source and holds other bytes",
            f"Run python -m pipeline verify {target.url}; if all is well there, copy to another place",
        )
    return None


def _checked(source: Store, path: str, digest: str) -> bytes:
    try:
        data = source.get_bytes(path)
    except FileNotFoundError:
        _refuse(source, path, "is missing")
    if files.digest(data) != digest:
        _refuse(source, path, "is not what was written")
    return data


def _refuse(source: Store, path: str, problem: str) -> NoReturn:
    remedy = f"Run python -m pipeline verify {source.url}; what was copied so far stays"
    raise InputError(f"{source.url}/{path}", problem, remedy)


def _copy_small(url: str, target: str, path: str, name: str) -> None:
    """Copies a skeleton or model whose name says what it must be."""
    try:
        data = Store(url).get_bytes(path)
        if path.startswith("skeletons/"):
            found = SkeletonSpec.from_json(data.decode()).fingerprint
        else:
            found = files.digest(data)
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{url}/{path}", f"cannot be read ({error!r})", "Build the dataset again"
        ) from error
    if found != name:
        raise InputError(f"{url}/{path}", "is not what its name says", "Build the dataset again")
    Store(target).create_bytes(path, data)


def _published(target: str, source: Dataset) -> Dataset | None:
    """Finds the state among the target's commits, so that a copy that goes on adds no second one."""
    for commit in manifest.read_commits(target, reversed(manifest.commit_numbers(target))):
        if _same(commit, source):
            return manifest.open_dataset(f"{target}@{commit.number}")
    return None


def _same(commit: manifest.Commit, source: Dataset) -> bool:
    wanted = source.commit
    return (commit.dataset_id, commit.recipe, commit.complete) == (
        wanted.dataset_id,
        wanted.recipe,
        wanted.complete,
    )


def _publish(source: Dataset, target: str) -> Dataset:
    commit = source.commit
    origin: dict[str, Any] = {
        "number": commit.number,
        "created": commit.created,
        "tools": commit.tools,
    }
    return manifest.publish(
        target,
        commit.recipe,
        source.shards,
        complete=commit.complete,
        build=commit.build | {"copy_of": origin},
    )
